"""A database that freezes while connections are idle: every request ends by its deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pyodbc
import pytest

from connection_manager import ConnectionManager
from database.deadline import Deadline
from database.errors import DatabaseError, DeadlineExceeded, Unavailable
from database.session import Answer
from embedded.cluster import EmbeddedCluster
from testkit.cluster import socket_of
from testkit.proxy import Proxy

CONNECTIONS = 8
CLIENTS = 12
DEADLINE = 1.0
# Beyond it: the grace that a cancel has to be heard, and a busy machine.
SLACK = 1.5
SLEEP = '{"seconds":0.2}'


@pytest.fixture
def network(cluster: EmbeddedCluster) -> Iterator[Proxy]:
    with Proxy(socket_of(cluster)) as proxy:
        yield proxy


@pytest.fixture
def manager(network: Proxy) -> Iterator[ConnectionManager]:
    """Every idle connection is pinged before its use. At the end everything is back."""
    text = f"SERVER=127.0.0.1;PORT={network.port};DATABASE=app;UID=webapp"
    made = ConnectionManager(
        text, family="postgresql", max_size=CONNECTIONS, max_waiting=64, bypass_window=0.0
    )
    yield made
    stats = made.stats()
    assert (stats.in_use, stats.connecting, stats.waiting) == (0, 0, 0)
    assert made.close(timeout=5.0)


def fill(manager: ConnectionManager) -> None:
    """As many idle connections as the pool may have."""
    with ThreadPoolExecutor(CONNECTIONS) as crowd:
        list(crowd.map(lambda _: manager.call("web.sleep", SLEEP), range(CONNECTIONS)))
    assert manager.stats().idle == CONNECTIONS


def seconds_until_failed(manager: ConnectionManager) -> float:
    began = time.monotonic()
    with pytest.raises((DeadlineExceeded, Unavailable, DatabaseError)):
        manager.call("web.sleep", SLEEP, deadline=Deadline(DEADLINE))
    return time.monotonic() - began


def test_requests_on_idle_connections_to_a_frozen_database_end_by_their_deadline(
    manager: ConnectionManager, network: Proxy
):
    fill(manager)
    network.freeze()
    with ThreadPoolExecutor(CLIENTS) as crowd:
        waited = [crowd.submit(seconds_until_failed, manager) for _ in range(CLIENTS)]
        assert max(each.result(30) for each in waited) < DEADLINE + SLACK
    network.thaw()
    assert answered(lambda: manager.call("web.sleep", '{"seconds":0}')).json == "[]"
    fill(manager)


def answered(call: Callable[[], Answer]) -> Answer:
    """The answer after the breaker has let a connect through again."""
    give_up = time.monotonic() + 5
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)


def test_a_connection_that_was_dropped_on_its_way_is_replaced_within_the_request(
    manager: ConnectionManager, network: Proxy
):
    """What a firewall does to an idle connection: it stays, and nothing passes."""
    fill(manager)
    network.freeze_links()
    began = time.monotonic()
    assert manager.call("web.sleep", '{"seconds":0}', deadline=Deadline(4.0)).json == "[]"
    assert time.monotonic() - began < 4.0


def test_a_borrowed_connection_is_given_back_by_the_deadline(
    manager: ConnectionManager, network: Proxy
):
    borrowed = manager.borrow(deadline=Deadline(DEADLINE))
    borrowed.autocommit = False
    borrowed.execute("SELECT 1").fetchall()
    network.freeze()
    began = time.monotonic()
    with pytest.raises((DeadlineExceeded, pyodbc.Error)):
        borrowed.commit()
    borrowed.close()
    assert time.monotonic() - began < DEADLINE + SLACK


def test_a_borrower_that_never_commits_gives_back_by_the_deadline(
    manager: ConnectionManager, network: Proxy
):
    borrowed = manager.borrow(deadline=Deadline(DEADLINE))
    borrowed.autocommit = False
    borrowed.execute("SELECT 1").fetchall()
    network.freeze()
    began = time.monotonic()
    borrowed.close()
    assert time.monotonic() - began < DEADLINE + SLACK


def test_a_stream_that_is_dropped_while_the_database_is_frozen_is_closed(
    manager: ConnectionManager, network: Proxy
):
    rows = manager.stream("web.get_customers", '{"limit":600,"rows":true}')
    network.freeze()
    began = time.monotonic()
    rows.close()
    assert time.monotonic() - began < 1.0 + SLACK
