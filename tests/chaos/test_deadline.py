"""One deadline covers the statement on the server and a network that drops everything."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pyodbc
import pytest

from database.connect.drivers import find_driver
from database.deadline import Deadline
from database.errors import DeadlineExceeded
from embedded.cluster import OWNER, EmbeddedCluster
from testkit.load_client import Reply
from testkit.proxy import Direction
from tests.chaos.conftest import Manage, Served

DEADLINE = 0.5
# Allowed beyond it: the grace period of a cancel, and a busy machine.
SLACK = 1.5
# Bytes from the server: during authentication, and during the driver's first queries.
LOGIN_OFFSETS = (1, 200, 400)
RUNNING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE usename = 'webapp' AND state = 'active' AND query LIKE '%web.%'"
)


def running(cluster: EmbeddedCluster) -> int:
    """The number of the API's statements that are running on the server."""
    return int(cluster.run_sql(RUNNING))


def eventually(holds: Callable[[], bool], *, within: float = 5.0) -> bool:
    give_up = time.monotonic() + within
    while not holds():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.01)
    return True


@contextlib.contextmanager
def customers_locked(cluster: EmbeddedCluster) -> Iterator[None]:
    """Lock the customers, so that reads of them wait."""
    text = f"DRIVER={find_driver('postgresql')};{cluster.connection_string(role=OWNER)}"
    with contextlib.closing(pyodbc.connect(text)) as connection:
        connection.execute("LOCK TABLE sales.customers IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


def timed(served: Served, path: str = "/customer/123") -> tuple[Reply, float]:
    began = time.monotonic()
    reply = served.ask("GET", path, timeout=DEADLINE)
    return reply, time.monotonic() - began


def assert_in_time(reply: Reply, seconds: float) -> None:
    assert reply.status == 504 or (reply.status == 503 and "retry-after" in reply.headers)
    assert seconds < DEADLINE + SLACK


def test_call_is_cancelled_on_the_server(cluster: EmbeddedCluster, manage: Manage):
    manager = manage()
    with pytest.raises(DeadlineExceeded):
        manager.call("web.sleep", '{"seconds":60}', deadline=Deadline(DEADLINE))
    assert eventually(lambda: running(cluster) == 0)


def test_request_past_its_deadline_is_504_and_cancelled(cluster: EmbeddedCluster, served: Served):
    with customers_locked(cluster), ThreadPoolExecutor() as pool:
        request = pool.submit(timed, served)
        assert eventually(lambda: running(cluster) == 1)
        reply, seconds = request.result()
        assert reply.status == 504
        assert seconds < DEADLINE + SLACK
        assert eventually(lambda: running(cluster) == 0)


def test_the_deadline_covers_the_queue(cluster: EmbeddedCluster, manage: Manage):
    manager = manage(max_size=1)
    with ThreadPoolExecutor() as pool:
        holder = pool.submit(
            manager.call, "web.sleep", '{"seconds":60}', deadline=Deadline(4 * DEADLINE)
        )
        assert eventually(lambda: running(cluster) == 1)
        with pytest.raises(DeadlineExceeded):
            manager.call("web.sleep", '{"seconds":0}', deadline=Deadline(DEADLINE))
        assert not holder.done()
        with pytest.raises(DeadlineExceeded):
            holder.result()


def test_connection_after_a_cancel_serves_the_next_call(manage: Manage):
    manager = manage(max_size=1)
    for _ in range(5):
        with pytest.raises(DeadlineExceeded):
            manager.call("web.sleep", '{"seconds":60}', deadline=Deadline(0.05))
        assert manager.call("web.sleep", '{"seconds":0}').json == "[]"


def test_network_frozen_before_the_call(served: Served):
    served.proxy.freeze()
    assert_in_time(*timed(served))


@pytest.mark.parametrize("direction", Direction)
def test_network_frozen_during_the_call(served: Served, direction: Direction):
    served.proxy.freeze_after(20, direction)
    assert_in_time(*timed(served))


def test_network_frozen_before_the_connect(served: Served):
    served.proxy.cut_all()
    served.proxy.freeze()
    assert_in_time(*timed(served))


@pytest.mark.parametrize("offset", LOGIN_OFFSETS)
def test_network_frozen_during_the_login(served: Served, offset: int):
    served.proxy.cut_all()
    served.proxy.freeze_after(offset, Direction.DOWN)
    assert_in_time(*timed(served))


def test_network_frozen_under_many_clients(served: Served):
    served.proxy.cut_all()
    served.proxy.freeze()
    # As many as the worker has threads: none may hang.
    with ThreadPoolExecutor(16) as pool:
        for answer in [pool.submit(timed, served) for _ in range(16)]:
            assert_in_time(*answer.result())


def test_requests_succeed_again_after_the_thaw(served: Served):
    served.proxy.freeze()
    timed(served)
    served.proxy.thaw()
    served.settle()
    for _ in range(20):
        assert served.ask("GET", "/customer/123").status == 200
