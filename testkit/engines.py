"""The engines that the contract is held on: the embedded default, and a SQL Server where one is.

TEST_SQLSERVER_CONNSTR is an ODBC connection string of an empty database. The scripts of
sql/azure-sql/ and the procedures of sql/synapse/ go into it, the latter over an ordinary table
dbo.taxidata, and the shipped sample. A database that a run has filled may be given again.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from database.connect.drivers import Driver
from embedded.cluster import EmbeddedCluster
from embedded.sample import deploy_and_fill
from settings import ROOT
from testkit.server import bare_environment

CONNECTION_STRING = os.environ.get("TEST_SQLSERVER_CONNSTR", "")
ENGINES = ["postgresql", *(["sqlserver"] if CONNECTION_STRING else [])]
LOGIN_TIMEOUT_SECONDS = 60

TAXIDATA = """
IF OBJECT_ID(N'dbo.taxidata') IS NULL
    CREATE TABLE dbo.taxidata (
        VendorID smallint, tpep_pickup_datetime datetime2(7), tpep_dropoff_datetime datetime2(7),
        passenger_count smallint, trip_distance float, RatecodeID smallint, store_and_fwd_flag bit,
        PULocationID smallint, DOLocationID smallint, payment_type smallint, fare_amount float,
        extra float, mta_tax float, tip_amount float, tolls_amount float,
        improvement_surcharge float, total_amount float, congestion_surcharge float)
"""

# 1 where both ways to read a string out of JSON give its characters, not its escapes.
UNESCAPED = """
SELECT COUNT(*)
FROM OPENJSON(N'{"a":"x\\"y"}') WITH (a nvarchar(10) '$.a') AS j
WHERE j.a = N'x"y' AND JSON_VALUE(N'{"a":"x\\"y"}', '$.a') = N'x"y'
"""


@functools.cache
def reads_escapes(engine: str) -> bool:
    """Whether a procedure on `engine` can read JSON strings that need escapes; one query a run."""
    if engine == "postgresql":
        return True
    connection = Driver(CONNECTION_STRING, family="sqlserver").connect(LOGIN_TIMEOUT_SECONDS)
    try:
        return connection.execute(UNESCAPED).fetchval() == 1
    finally:
        connection.close()


def environment_of(engine: str, run_folder: Path) -> dict[str, str]:
    """The settings that make the product serve from `engine`, which is made ready first."""
    if engine == "postgresql":
        return {}
    settings = {f"SQLAZURECONNSTR_{target}": CONNECTION_STRING for target in ("WWIF", "TAXI")}
    # The workers of pytest-xdist share the database: one fills it, the others wait for that.
    with (run_folder / "sqlserver.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        marker = run_folder / "sqlserver.ready"
        if not marker.exists():
            _deploy(settings, "WWIF", "--sample")
            _load_trips()
            # No external table here, and no other login to grant to.
            skipped = ("010_*", "020_*", "090_*")
            _deploy(settings, "TAXI", *(word for name in skipped for word in ("--skip", name)))
            marker.touch()
    return settings


@contextlib.contextmanager
def changed_sample(
    directory: Path, script: str
) -> Iterator[tuple[EmbeddedCluster, dict[str, str]]]:
    """A cluster of one's own whose procedures `script` has changed; and the settings by which the
    product serves from it."""

    def prepare(cluster: EmbeddedCluster) -> None:
        deploy_and_fill(cluster)
        cluster.run_sql(script)

    cluster = EmbeddedCluster(directory, prepare=prepare)
    cluster.start()
    try:
        text = cluster.connection_string()
        yield cluster, {f"POSTGRESQLCONNSTR_{target}": text for target in ("WWIF", "TAXI")}
    finally:
        cluster.stop()


def _deploy(settings: dict[str, str], target: str, *options: str) -> None:
    command = [sys.executable, "-m", "flask", "--app", "app", "sql", "deploy", "--target", target]
    subprocess.run([*command, *options], cwd=ROOT, env=bare_environment(**settings), check=True)


def _load_trips() -> None:
    trips = pq.read_table(ROOT / "data" / "taxidata.parquet").to_pylist()
    marks = ", ".join("?" * len(trips[0]))
    connection = Driver(CONNECTION_STRING, family="sqlserver").connect(LOGIN_TIMEOUT_SECONDS)
    try:
        with connection.cursor() as cursor:
            cursor.execute(TAXIDATA)
            cursor.execute("DELETE FROM dbo.taxidata")
            cursor.executemany(
                f"INSERT INTO dbo.taxidata ({', '.join(trips[0])}) VALUES ({marks})",
                [list(trip.values()) for trip in trips],
            )
    finally:
        connection.close()
