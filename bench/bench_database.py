"""The PostgreSQL that all contestants share: an embedded database with more trips."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from database.connect.drivers import find_driver
from databases import fingerprint
from embedded.cluster import API_ROLE, DATABASE, OWNER, PORT, EmbeddedCluster
from embedded.sample import deploy_and_fill

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".local" / "compare"

# Generated trips never cost what the sample's do, so that /taxidata/20 has the same 18 however
# many there are; every column varies as it does in the sample.
ADD_TRIPS = """
INSERT INTO dbo.taxidata ("VendorID", tpep_pickup_datetime, tpep_dropoff_datetime,
    passenger_count, trip_distance, "RatecodeID", store_and_fwd_flag, "PULocationID",
    "DOLocationID", payment_type, fare_amount, extra, mta_tax, tip_amount, tolls_amount,
    improvement_surcharge, total_amount, congestion_surcharge)
SELECT 1 + n % 2, timestamp '2019-02-01' + n * interval '3 s',
       timestamp '2019-02-01' + n * interval '3 s' + (n % 3600) * interval '1 s',
       1 + n % 6, (n % 2000) / 100.0, 1, n % 100 = 0, 1 + n % 265, 1 + (n * 7) % 265,
       1 + n % 4, (n % 10000) / 100.0, 0.5, 0.5, (n % 500) / 100.0, 0,
       0.3, 200.01 + (n % 50000) / 100.0, 2.5
  FROM generate_series({first}::bigint, {last}::bigint) n;
"""
KEEP_TRIPS = """
DELETE FROM dbo.taxidata WHERE id NOT IN (
    SELECT id FROM dbo.taxidata ORDER BY (total_amount = 20) DESC NULLS LAST, id LIMIT {rows});
"""
ADD_CUSTOMERS = """
INSERT INTO sales.customers ("CustomerID", "CustomerName", "PhoneNumber", "DeliveryPostalCode")
SELECT n, 'Growth ' || n, '(555) 555-0100', '90410'
  FROM generate_series({first}::int, {last}::int) n;
"""


@dataclass(frozen=True)
class Addresses:
    """The database's address in the form of each driver."""

    odbc: str
    odbc_without_driver: str
    sqlalchemy: str
    asyncpg: str


class BenchDatabase:
    """The shared cluster, its addresses for the contestants, and expected results."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self.cluster = cluster
        plain = cluster.connection_string()
        # The options that the product uses, so that the driver is the same to all.
        options = (
            "MaxVarcharSize=0;TextAsLongVarchar=0;UnknownsAsLongVarchar=0;UseServerSidePrepare=0"
        )
        host = quote(str(cluster.socket_directory), safe="")
        self.addresses = Addresses(
            odbc=f"DRIVER={find_driver('postgresql')};{plain};{options}",
            odbc_without_driver=plain,
            # An ORM reads and writes tables, which the API's role may not.
            sqlalchemy=f"postgresql+psycopg://{OWNER}@/{DATABASE}?host={host}&port={PORT}",
            asyncpg=f"postgresql://{API_ROLE}@/{DATABASE}?host={host}&port={PORT}",
        )

    @property
    def postmaster(self) -> int:
        """Its process id."""
        return int((self.cluster.data / "postmaster.pid").read_text().split()[0])

    def ask(self, procedure: str, document: dict) -> object:
        """The procedure's result, called directly without a contestant; None: no row."""
        schema, name = procedure.split(".")
        text = json.dumps(document).replace("'", "''")
        printed = self.cluster.run_sql(f'SELECT "Json" FROM {schema}."{name}"(\'{text}\')')
        return json.loads(printed) if printed.strip() else None

    def count(self, table: str, where: str = "TRUE") -> int:
        return int(self.cluster.run_sql(f"SELECT count(*) FROM {table} WHERE {where}"))

    def grow_trips(self, rows: int) -> None:
        """Add trips up to `rows`, in addition to the sample's."""
        present = self.count("dbo.taxidata")
        if present < rows:
            self.cluster.run_sql(ADD_TRIPS.format(first=present + 1, last=rows))
            self.settle("dbo.taxidata")

    def have_trips(self, rows: int) -> None:
        """Keep exactly `rows` trips, including those with total_amount 20."""
        if self.count("dbo.taxidata") > rows:
            self.cluster.run_sql(KEEP_TRIPS.format(rows=rows))
            self.settle("dbo.taxidata")
        self.grow_trips(rows)

    def grow_customers(self, rows: int) -> None:
        """Add customers up to `rows`."""
        present = self.count("sales.customers")
        if present < rows:
            top = int(self.cluster.run_sql('SELECT max("CustomerID") FROM sales.customers'))
            first = max(top + 1, 1_000_000)
            self.cluster.run_sql(ADD_CUSTOMERS.format(first=first, last=first + rows - present - 1))
            self.settle("sales.customers")

    def settle(self, table: str) -> None:
        """Statistics, visibility map and a checkpoint, so that none runs during a measurement."""
        self.cluster.run_sql(f"VACUUM ANALYZE {table}")
        self.cluster.run_sql("CHECKPOINT")

    def forget_created(self) -> None:
        """Delete the rows of the workloads: customers, their history, idempotency keys."""
        self.cluster.run_sql(
            "DELETE FROM sales.customers WHERE \"CustomerName\" LIKE 'bench %';"
            "TRUNCATE sales.customers_archive; TRUNCATE web.requests"
        )
        self.settle("sales.customers")


@contextlib.contextmanager
def bench_database(name: str) -> Iterator[BenchDatabase]:
    """The database in `.local/compare/<name>`, created at first use and kept."""
    cluster = EmbeddedCluster(
        HOME / name,
        prepare=deploy_and_fill,
        fingerprint=fingerprint(ROOT / "sql" / "postgresql", ROOT / "data"),
    )
    cluster.start()
    try:
        yield BenchDatabase(cluster)
    finally:
        cluster.stop()
