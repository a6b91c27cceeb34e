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
# Allowed beyond it: the grace period of a cancel, and a busy machine.
SLACK = 1.5
SLEEP = '{"seconds":0.2}'


@pytest.fixture
def network(cluster: EmbeddedCluster) -> Iterator[Proxy]:
    with Proxy(socket_of(cluster)) as proxy:
        yield proxy


@pytest.fixture
def manager(network: Proxy) -> Iterator[ConnectionManager]:
    """It pings every idle connection before its use. At the end, none may be in use."""
    text = f"SERVER=127.0.0.1;PORT={network.port};DATABASE=app;UID=webapp"
    made = ConnectionManager(
        text, family="postgresql", max_size=CONNECTIONS, max_waiting=64, bypass_window=0.0
    )
    yield made
    stats = made.stats()
    assert (stats.in_use, stats.connecting, stats.waiting) == (0, 0, 0)
    assert made.close(timeout=5.0)


def fill(manager: ConnectionManager) -> None:
    """Open as many connections as the pool may have."""
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
    """The answer, once the circuit breaker has admitted a probe."""
    give_up = time.monotonic() + 5
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)


def test_a_connection_that_a_firewall_dropped_is_replaced_within_the_request(
    manager: ConnectionManager, network: Proxy
):
    """A firewall drops an idle connection silently: it stays open, and no packet passes."""
    fill(manager)
    network.freeze_links()
    began = time.monotonic()
    assert manager.call("web.sleep", '{"seconds":0}', deadline=Deadline(4.0)).json == "[]"
    assert time.monotonic() - began < 4.0


def test_a_checked_out_connection_is_checked_in_by_the_deadline(
    manager: ConnectionManager, network: Proxy
):
    connection = manager.checkout(deadline=Deadline(DEADLINE))
    connection.autocommit = False
    connection.execute("SELECT 1").fetchall()
    network.freeze()
    began = time.monotonic()
    with pytest.raises((DeadlineExceeded, pyodbc.Error)):
        connection.commit()
    connection.close()
    assert time.monotonic() - began < DEADLINE + SLACK


def test_a_connection_with_an_open_transaction_is_checked_in_by_the_deadline(
    manager: ConnectionManager, network: Proxy
):
    connection = manager.checkout(deadline=Deadline(DEADLINE))
    connection.autocommit = False
    connection.execute("SELECT 1").fetchall()
    network.freeze()
    began = time.monotonic()
    connection.close()
    assert time.monotonic() - began < DEADLINE + SLACK


def test_closing_a_stream_of_a_frozen_database_does_not_hang(
    manager: ConnectionManager, network: Proxy
):
    rows = manager.stream("web.get_customers", '{"limit":600,"rows":true}')
    network.freeze()
    began = time.monotonic()
    rows.close()
    assert time.monotonic() - began < 1.0 + SLACK
