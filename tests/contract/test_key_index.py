"""A key is found through its index, whatever VACUUM has found in the table of keys.

A plan is kept for the session. One that is made for an empty table would read the whole table in
each later write.
"""

from collections.abc import Iterator

import pyodbc
import pytest

from database.connect.drivers import Driver
from embedded.cluster import API_ROLE, EmbeddedCluster
from testkit.cluster import ROOT, fresh_cluster

CALLS = 3
CREATE = """SELECT web.put_customer('{"CustomerName": "Key index %s",
    "_request": {"key": "key index %s", "digest": "d"}}')"""
REQUIRE = "CALL web.require_request('key index %s', '2000-01-01')"
CLAIM = "SELECT procedures_api.claim('key index %s', 'd')"
KEEP = "SELECT procedures_api.keep_response('key index %s', 200, '{}', '[]')"
REQUIRE_KEY = "CALL procedures_api.require_key('key index %s', '2000-01-01')"


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedCluster]:
    """A cluster of its own: the tests empty its tables."""
    with fresh_cluster("key-index") as cluster:
        for script in sorted((ROOT / "sql" / "keys" / "postgresql").glob("*.sql")):
            cluster.run_sql(script.read_text().replace("$(AppName)", API_ROLE))
        yield cluster


@pytest.fixture
def session(cluster: EmbeddedCluster):
    """A connection as the owner, in a transaction that is rolled back."""
    connection = Driver(cluster.connection_string(), family="postgresql").connect(5)
    connection.autocommit = False
    yield connection
    connection.rollback()
    connection.close()


def scans(session: pyodbc.Connection, table: str) -> tuple[int, int]:
    """(sequential scans, index scans) of `table` in this transaction."""
    found = session.execute(
        f"SELECT seq_scan, idx_scan FROM pg_stat_xact_user_tables WHERE relid = '{table}'::regclass"
    ).fetchone()
    return tuple(found)


@pytest.mark.parametrize(
    ("table", "statements"),
    [
        ("web.requests", (CREATE, REQUIRE)),
        ("procedures_api.requests", (CLAIM, KEEP, REQUIRE_KEY)),
    ],
)
def test_keys_are_found_by_index_though_vacuum_found_the_table_empty(
    cluster: EmbeddedCluster, session: pyodbc.Connection, table: str, statements: tuple[str, ...]
):
    cluster.run_sql(f"TRUNCATE {table}")
    cluster.run_sql(f"VACUUM {table}")
    for call in range(CALLS):
        for statement in statements:
            session.execute(statement.replace("%s", str(call)))
    sequential, indexed = scans(session, table)
    assert sequential == 0
    assert indexed >= CALLS
