"""A month's file of trips, loaded by the command and read through the API.

The file is the taxi commission's where this checkout has it beside it, else one of as many rows
made here, with the same numbers of trips of the requested amounts.
"""

import subprocess
import sys
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from settings import ROOT
from testkit.api_client import Api
from testkit.server import Server, bare_environment

REAL = ROOT.parent / "shared" / "data" / "taxidata" / "part-00005.snappy.parquet"
ROWS = 176_567
TRIPS_OF = {"7.8": 3_546, "20": 67}


@pytest.fixture
def file(tmp_path):
    if REAL.exists():
        return REAL
    return made(tmp_path / REAL.name)


def made(path):
    """ROWS trips, a second apart, of which so many cost what TRIPS_OF says."""
    amounts = [float(a) for a, count in TRIPS_OF.items() for _ in range(count)]
    amounts += [12.3] * (ROWS - len(amounts))
    start = datetime(2019, 1, 1)
    pickups = [start + timedelta(seconds=i) for i in range(ROWS)]
    small = dict.fromkeys(("VendorID", "passenger_count", "RatecodeID", "payment_type"), 1)
    places = dict.fromkeys(("PULocationID", "DOLocationID"), 236)
    amounts_of_all = ("trip_distance", "fare_amount", "extra", "mta_tax", "tip_amount")
    others = ("tolls_amount", "improvement_surcharge", "congestion_surcharge")
    table = pa.table(
        {
            "tpep_pickup_datetime": pickups,
            "tpep_dropoff_datetime": pickups,
            "store_and_fwd_flag": pa.array([False] * ROWS),
            "total_amount": amounts,
            **{k: pa.array([v] * ROWS, pa.int16()) for k, v in (small | places).items()},
            **{k: pa.array([1.5] * ROWS) for k in (*amounts_of_all, *others)},
        }
    )
    pq.write_table(table, path, row_group_size=50_000)
    return path


def test_a_real_months_trips_are_loaded_and_found(folder, file):
    loaded = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "taxi", "load", str(file)],
        cwd=ROOT,
        env=bare_environment(LOCAL_DIR=str(folder)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
    assert f"Loaded {ROWS:,} rows" in loaded.stdout
    with Server(folder) as server, Api(server.url) as api:
        for amount, count in TRIPS_OF.items():
            trips = api.get(f"/taxidataprice/{amount}?limit=5000").json()
            assert len(trips) == count
            assert {trip["total_amount"] for trip in trips} == {float(amount)}
        assert len(api.get("/taxidataall").json()) == 1000


def test_the_file_made_here_is_one_that_can_stand_in(tmp_path):
    schema = pq.read_schema(made(tmp_path / "made.parquet"))
    wanted = pq.read_schema(ROOT / "data" / "taxidata.parquet")
    assert set(schema.names) == set(wanted.names)
