"""A server at its connection limit: the pool uses the connections that it has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from embedded.cluster import API_ROLE, EmbeddedCluster
from tests.chaos.conftest import Manage

LIMIT = 2
CLIENTS = 8
WAIT_MILLISECONDS = 10_000


@pytest.fixture
def limited(cluster: EmbeddedCluster):
    """The API's role may have LIMIT connections (53300, as at max_connections)."""
    cluster.run_sql(f'ALTER ROLE "{API_ROLE}" CONNECTION LIMIT {LIMIT}')
    # Connections of the last test may not have ended yet, and would count.
    cluster.run_sql(
        f"SELECT pg_terminate_backend(pid, {WAIT_MILLISECONDS}) FROM pg_stat_activity"
        f" WHERE usename = '{API_ROLE}'"
    )
    yield
    cluster.run_sql(f'ALTER ROLE "{API_ROLE}" CONNECTION LIMIT -1')


def test_calls_wait_for_the_connections_that_the_server_allows(limited: None, manage: Manage):
    manager = manage(max_size=CLIENTS)
    # A pool without any connection reports the refusal; one that has a connection waits for it.
    manager.call("web.sleep", '{"seconds":0}')
    with ThreadPoolExecutor(CLIENTS) as crowd:
        calls = [
            crowd.submit(manager.call, "web.sleep", '{"seconds":0.05}') for _ in range(5 * CLIENTS)
        ]
        assert {call.result().json for call in calls} == {"[]"}
    stats = manager.stats()
    assert stats.connects_total <= LIMIT + stats.evicted_total
    assert stats.connect_failures_total > 0, "the limit was not reached"
