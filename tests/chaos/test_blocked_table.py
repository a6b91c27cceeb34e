"""A locked table: more clients than threads wait for it, and health checks do not."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter

from embedded.cluster import EmbeddedCluster
from testkit.cluster import socket_of
from testkit.load_client import ask, serve
from testkit.proxy import Proxy
from tests.chaos.test_deadline import customers_locked, eventually

# Of the median response; a busy machine may delay a single one.
AT_ONCE_SECONDS = 0.1
LONGEST_SECONDS = 1.0


def assert_at_once(seconds: list[float]) -> None:
    assert statistics.median(seconds) < AT_ONCE_SECONDS
    assert max(seconds) < LONGEST_SECONDS


CLIENTS = 60
DEADLINE = 4.0


def crowd(port: int, count: Counter[int], slowest: list[float]) -> list[threading.Thread]:
    """Each client reads another page, because identical reads share one call."""

    def one(number: int) -> None:
        began = time.monotonic()
        count[ask(port, "GET", f"/customers?limit={number}").status] += 1
        slowest.append(time.monotonic() - began)

    threads = [threading.Thread(target=one, args=(n + 1,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    return threads


def test_health_answers_at_once_and_a_full_queue_refuses_requests(cluster: EmbeddedCluster):
    with Proxy(socket_of(cluster)) as proxy:
        text = f"SERVER=127.0.0.1;PORT={proxy.port};DATABASE=app;UID=webapp"
        settings = {"pool_max_size": 4, "pool_max_waiting": 16}
        with serve(text, request_deadline_seconds=DEADLINE, **settings) as port:
            assert eventually(lambda: ask(port, "GET", "/health/ready").status == 200)
            count: Counter[int] = Counter()
            slowest: list[float] = []
            with customers_locked(cluster):
                threads = crowd(port, count, slowest)
                # Four are in the database, 16 wait for a connection, the others are refused.
                assert eventually(lambda: count[503] == CLIENTS - 20)
                health: list[float] = []
                for path in ("/health/live", "/health/ready") * 10:
                    began = time.monotonic()
                    assert ask(port, "GET", path).status == 200
                    health.append(time.monotonic() - began)
                assert_at_once(health)
                for thread in threads:
                    thread.join()
            assert set(count) <= {503, 504}
            assert max(slowest) < DEADLINE + 1.0


def test_readiness_does_not_wait_for_a_database_that_is_frozen(cluster: EmbeddedCluster):
    with Proxy(socket_of(cluster)) as proxy:
        text = f"SERVER=127.0.0.1;PORT={proxy.port};DATABASE=app;UID=webapp"
        with serve(text, login_timeout_seconds=2) as port:
            assert eventually(lambda: ask(port, "GET", "/health/ready").status == 200)
            proxy.freeze()
            statuses, taken = [], []
            give_up = time.monotonic() + 15.0
            while time.monotonic() < give_up and (not statuses or statuses[-1] == 200):
                began = time.monotonic()
                statuses.append(ask(port, "GET", "/health/ready").status)
                taken.append(time.monotonic() - began)
            assert_at_once(taken)
            assert statuses[-1] == 503
            proxy.thaw()


def test_the_deadline_includes_the_wait_for_a_thread(cluster: EmbeddedCluster):
    with Proxy(socket_of(cluster)) as proxy:
        text = f"SERVER=127.0.0.1;PORT={proxy.port};DATABASE=app;UID=webapp"
        # By default there is a thread for each request that can wait.
        settings = {"gunicorn_cmd_args": "--threads 4", "request_deadline_seconds": 2}
        with serve(text, **settings) as port:
            assert ask(port, "GET", "/customer/123").status == 200
            count: Counter[int] = Counter()
            slowest: list[float] = []
            with customers_locked(cluster):
                for thread in crowd(port, count, slowest):
                    thread.join()
            assert set(count) == {504}
            assert max(slowest) < 3.0
