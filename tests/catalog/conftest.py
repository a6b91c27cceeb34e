"""A PostgreSQL of this suite's own, and a SQL Server where TEST_SQLSERVER_CONNSTR names one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from database.connect.drivers import Driver
from embedded.cluster import API_ROLE, EmbeddedCluster
from testkit.engines import CONNECTION_STRING, LOGIN_TIMEOUT_SECONDS


@pytest.fixture(scope="session")
def cluster(run_folder: Path) -> Iterator[EmbeddedCluster]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    cluster = EmbeddedCluster(
        run_folder / f"catalog-{worker}",
        prepare=lambda made: made.run_sql(f'CREATE ROLE "{API_ROLE}" LOGIN'),
    )
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
def postgresql(cluster: EmbeddedCluster):
    """query(sql, *parameters) as the API's role; and run(sql) as the owner."""
    cluster.run_sql(
        "DROP SCHEMA IF EXISTS api CASCADE; CREATE SCHEMA api;"
        f' GRANT USAGE ON SCHEMA api TO "{API_ROLE}"'
    )
    text = cluster.connection_string(role=API_ROLE)
    connection = Driver(text, family="postgresql").connect(LOGIN_TIMEOUT_SECONDS)
    try:
        yield lambda sql, *given: connection.execute(sql, *given).fetchall(), cluster.run_sql
    finally:
        connection.close()


@pytest.fixture
def sqlserver():
    """query(sql, *parameters) and run(sql), both by the login of TEST_SQLSERVER_CONNSTR."""
    if not CONNECTION_STRING:
        pytest.skip("TEST_SQLSERVER_CONNSTR names no server.")
    connection = Driver(CONNECTION_STRING, family="sqlserver").connect(LOGIN_TIMEOUT_SECONDS)
    try:
        yield (
            lambda sql, *given: connection.execute(sql, *given).fetchall(),
            lambda sql: connection.execute(sql).close(),
        )
    finally:
        connection.close()
