"""Clients do not notice that an idle database connection was cut."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from testkit.proxy import How
from tests.chaos.conftest import Served

CLIENTS = 8


def read(served: Served, customer_id: int = 123) -> int:
    return served.ask("GET", f"/customer/{customer_id}").status


def idle_connections(served: Served) -> int:
    """Make the API open several connections; their number."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        # Different customers: identical reads share a call, and so a connection.
        statuses = list(pool.map(lambda n: read(served, n + 1), range(CLIENTS * 8)))
    assert set(statuses) == {200}
    return served.proxy.links()


@pytest.mark.parametrize("how", How)
def test_cut_idle_connections_go_unnoticed(served: Served, how: How):
    # With a delay, so that the clients need connections at the same time.
    served.proxy.delay(0.005)
    several = idle_connections(served)
    served.proxy.delay(0)
    assert several > 1
    assert served.proxy.cut_all(how) == several
    assert [read(served) for _ in range(2 * several)] == [200] * 2 * several


@pytest.mark.parametrize("how", How)
def test_cut_idle_connections_go_unnoticed_by_concurrent_clients(served: Served, how: How):
    served.proxy.delay(0.005)
    assert idle_connections(served) > 1
    served.proxy.delay(0)
    served.proxy.cut_all(how)
    with ThreadPoolExecutor(CLIENTS) as pool:
        statuses = list(pool.map(lambda n: read(served, n + 1), range(CLIENTS * 4)))
    assert statuses == [200] * CLIENTS * 4


def test_write_after_an_idle_cut_is_done_and_answered(served: Served):
    served.proxy.cut_all()
    reply = served.ask("POST", "/customer", {"CustomerName": "after an idle cut"})
    assert reply.status == 201
    assert served.ask("GET", reply.headers["location"]).json() == reply.json()
