"""Taxi files go into a real PostgreSQL whole, once, or not at all."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app import create_app
from settings import read_settings
from taxi.loader import LoadError, Progress, load

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "taxidata.parquet"
SAMPLE_ROWS = 2_000


@pytest.fixture(scope="module")
def app(run_folder):
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    app = create_app(read_settings({"LOCAL_DIR": str(run_folder / f"taxi-load-{worker}")}))
    yield app
    app.extensions["databases"].close()


@pytest.fixture(scope="module")
def taxi_cluster(app):
    return app.extensions["databases"].cluster()


@pytest.fixture
def query(taxi_cluster):
    def run(statement):
        done = subprocess.run(
            [*taxi_cluster.psql(), "-A", "-t", "-c", statement],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    run("TRUNCATE dbo.taxidata, dbo.taxidata_load")
    return run


@pytest.fixture
def loading(taxi_cluster):
    """load() into the cluster; its sentences are in `said`."""

    def run(*files, **options):
        run.said = []
        return load(files, conninfo=taxi_cluster.conninfo(), report=run.said.append, **options)

    return run


@pytest.fixture
def trip_file(tmp_path):
    """Writes a file of `rows` different trips with the amount `total_amount`."""

    def write(name, *, rows=10, total_amount=12.5, row_group_size=None, **columns):
        start = datetime(2023, 5, 1)
        table = pa.table(
            {
                "VendorID": pa.array([2] * rows, pa.int64()),
                "tpep_pickup_datetime": [start + timedelta(seconds=i) for i in range(rows)],
                "tpep_dropoff_datetime": [start + timedelta(minutes=9)] * rows,
                "passenger_count": pa.array([1.0, None] * (rows // 2), pa.float64()),
                "trip_distance": [1.5] * rows,
                "RatecodeID": pa.array([1.0] * rows),
                "store_and_fwd_flag": ["N", "Y"] * (rows // 2),
                "PULocationID": pa.array([132] * rows, pa.int64()),
                "DOLocationID": pa.array([265] * rows, pa.int64()),
                "payment_type": pa.array([1] * rows, pa.int64()),
                **dict.fromkeys(("fare_amount", "extra", "mta_tax", "tip_amount"), [1.0] * rows),
                **dict.fromkeys(("tolls_amount", "improvement_surcharge"), [0.1] * rows),
                "total_amount": [total_amount] * rows,
                "congestion_surcharge": [2.5] * rows,
                "airport_fee": [1.25] * rows,
                **columns,
            }
        )
        path = tmp_path / name
        pq.write_table(table, path, row_group_size=row_group_size)
        return path

    return write


COUNT = "SELECT count(*) FROM dbo.taxidata"
LEDGER = 'SELECT "FileName", "RowsLoaded", "IsSample" FROM dbo.taxidata_load ORDER BY "LoadID"'


def test_every_value_of_the_sample_arrives(loading, query):
    result = loading(SAMPLE, is_sample=True)
    assert result.rows == SAMPLE_ROWS
    assert query(LEDGER) == [f"taxidata.parquet|{SAMPLE_ROWS}|t"]
    columns = ", ".join(f'"{name}"' for name in pq.read_schema(SAMPLE).names)
    stored = query(f"SELECT {columns} FROM dbo.taxidata ORDER BY id")
    expected = [
        "|".join(as_postgresql_prints(value) for value in trip.values())
        for trip in pq.read_table(SAMPLE).to_pylist()
    ]
    assert stored == expected


def as_postgresql_prints(value):
    if isinstance(value, bool):
        return "t" if value else "f"
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_a_file_of_other_types_is_loaded_with_a_note_for_each_column(loading, query, trip_file):
    loading(trip_file("may.parquet"))
    assert query(
        "SELECT passenger_count, store_and_fwd_flag, tpep_pickup_datetime FROM dbo.taxidata"
        " ORDER BY id LIMIT 2"
    ) == ["1|f|2023-05-01 00:00:00", "|t|2023-05-01 00:00:01"]
    assert [news for news in loading.said if isinstance(news, str)] == [
        "may.parquet: VendorID: int64 to smallint",
        "may.parquet: passenger_count: double to smallint",
        "may.parquet: RatecodeID: double to smallint",
        "may.parquet: store_and_fwd_flag: string to boolean",
        "may.parquet: PULocationID: int64 to integer",
        "may.parquet: DOLocationID: int64 to integer",
        "may.parquet: payment_type: int64 to smallint",
        "may.parquet: airport_fee: left out, the table has no such column",
    ]


def test_progress_counts_the_rows_of_all_files(loading, query, trip_file):
    first, second = trip_file("1.parquet", rows=10), trip_file("2.parquet", rows=6)
    loading(first, second, batch_rows=4)
    assert [news for news in loading.said if isinstance(news, Progress)] == [
        Progress(file=file, rows=rows, total_rows=16)
        for file, rows in [(first, 4), (first, 8), (first, 10), (second, 14), (second, 16)]
    ]
    assert query(COUNT) == ["16"]


def test_the_first_real_file_removes_the_sample_and_later_ones_append(loading, query, trip_file):
    loading(SAMPLE, is_sample=True)
    assert loading(trip_file("1.parquet")).sample_removed
    assert query(COUNT) == ["10"]
    assert not loading(trip_file("2.parquet", total_amount=3.0)).sample_removed
    assert query(COUNT) == ["20"]
    assert query(LEDGER) == ["1.parquet|10|f", "2.parquet|10|f"]


def test_the_sample_is_skipped_if_real_trips_are_loaded(loading, query, trip_file):
    loading(trip_file("1.parquet"))
    assert loading(SAMPLE, is_sample=True).rows == 0
    assert query(LEDGER) == ["1.parquet|10|f"]


def test_the_sample_is_loaded_once_and_a_newer_one_takes_its_place(loading, query, trip_file):
    loading(SAMPLE, is_sample=True)
    assert loading(SAMPLE, is_sample=True).skipped == (SAMPLE,)
    assert query(COUNT) == [str(SAMPLE_ROWS)]
    loading(trip_file("newer.parquet"), is_sample=True)
    assert query(LEDGER) == ["newer.parquet|10|t"]


def test_the_sample_given_by_hand_is_a_file_like_any_other(loading, query):
    loading(SAMPLE, is_sample=True)
    assert loading(SAMPLE).sample_removed
    assert query(LEDGER) == [f"taxidata.parquet|{SAMPLE_ROWS}|f"]


def test_the_same_content_is_not_loaded_twice_under_any_name(loading, query, trip_file):
    path = trip_file("may.parquet")
    loading(path)
    copy = path.with_name("copy.parquet")
    shutil.copy(path, copy)
    result = loading(copy)
    assert (result.rows, result.skipped) == (0, (copy,))
    assert "already loaded on " in loading.said[0]
    assert "--replace loads it again" in loading.said[0]
    assert query(COUNT) == ["10"]


def test_the_same_content_twice_in_one_command_is_loaded_once(loading, query, trip_file):
    path = trip_file("may.parquet")
    result = loading(path, path)
    assert (result.loaded, result.skipped) == ((path,), (path,))
    assert query(COUNT) == ["10"]


def test_replace_empties_the_table_and_loads_a_loaded_file_again(loading, query, trip_file):
    path = trip_file("1.parquet")
    loading(path, trip_file("2.parquet", total_amount=3.0))
    assert loading(path, replace=True).rows == 10
    assert query(COUNT) == ["10"]
    assert query(LEDGER) == ["1.parquet|10|f"]


def test_readers_see_the_old_trips_while_a_replacement_is_under_way(
    taxi_cluster, loading, query, trip_file
):
    loading(trip_file("old.parquet"))
    seen = []

    def report(news):
        if isinstance(news, Progress):
            seen.extend(query("SET statement_timeout = 5000; SELECT count(*) FROM dbo.taxidata"))

    # query() itself empties the tables only when it is made
    load(
        [trip_file("new.parquet", rows=20, total_amount=1.0)],
        conninfo=taxi_cluster.conninfo(),
        replace=True,
        report=report,
        batch_rows=10,
    )
    assert seen == ["10", "10"]
    assert query(COUNT) == ["20"]


def test_a_file_without_rows_is_loaded_as_such(loading, query, trip_file):
    assert loading(trip_file("none.parquet", rows=0)).rows == 0
    assert query(LEDGER) == ["none.parquet|0|f"]


def test_a_hostile_file_name_is_only_a_name(loading, query, trip_file):
    name = "'; DROP TABLE dbo.taxidata; -- \\ :x.parquet"
    loading(trip_file(name))
    assert query(LEDGER) == [f"{name}|10|f"]


def test_a_value_refused_in_the_second_file_leaves_nothing_of_the_first(loading, query, trip_file):
    loading(SAMPLE, is_sample=True)
    good = trip_file("good.parquet")
    counts = pa.array([1.0] * 5 + [1.5] * 5)
    bad = trip_file("bad.parquet", passenger_count=counts)
    with pytest.raises(LoadError) as refused:
        loading(good, bad, batch_rows=5)
    assert str(refused.value) == (
        f"{bad}: passenger_count has the value 1.5, which is not whole (after row 5)"
    )
    assert query(LEDGER) == [f"taxidata.parquet|{SAMPLE_ROWS}|t"]
    assert query(COUNT) == [str(SAMPLE_ROWS)]


def test_an_error_of_the_database_leaves_nothing(loading, query, trip_file):
    query("ALTER TABLE dbo.taxidata ADD CONSTRAINT cheap CHECK (total_amount < 100)")
    try:
        with pytest.raises(LoadError, match="violates check constraint"):
            loading(trip_file("dear.parquet", rows=20_000, total_amount=200.0), batch_rows=1_000)
    finally:
        query("ALTER TABLE dbo.taxidata DROP CONSTRAINT cheap")
    assert query(COUNT) == ["0"]
    assert query(LEDGER) == []


def damaged(path, how):
    content = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_bytes(b"VendorID,tpep_pickup_datetime\n")
    elif how == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif how == "footer":
        path.write_bytes(content[:-400] + b"\xff" * 392 + content[-8:])
    elif how == "pages":
        path.write_bytes(
            content[:4] + b"\xff" * (len(content) // 3) + content[4:][len(content) // 3 :]
        )
    elif how == "absent":
        path.unlink()
    elif how == "folder":
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("empty", "the file is empty"),
        ("text", "not a Parquet file, or a damaged one"),
        ("cut short", "not a Parquet file, or a damaged one"),
        ("footer", "not a Parquet file, or a damaged one"),
        ("pages", "damaged after row"),
        ("absent", "no such file"),
        ("folder", "not a file"),
    ],
)
def test_an_unreadable_file_is_one_sentence_and_loads_nothing(
    loading, query, trip_file, how, sentence
):
    good, bad = trip_file("good.parquet"), trip_file("bad.parquet", rows=5_000)
    damaged(bad, how)
    with pytest.raises(LoadError) as refused:
        loading(good, bad)
    assert str(refused.value).startswith(f"{bad}: {sentence}")
    assert "\n" not in str(refused.value)
    assert query(COUNT) == ["0"]


def test_a_database_that_cannot_be_reached_is_one_sentence(trip_file, tmp_path):
    conninfo = f"host={tmp_path} user=owner dbname=app"
    with pytest.raises(LoadError, match="The database ended the load: connection is bad: "):
        load([trip_file("1.parquet")], conninfo=conninfo, report=print)


LOADING_PROCESS = """
import sys
from taxi.loader import Progress, load

def report(news):
    if isinstance(news, Progress) and news.rows >= 500:
        print("under way", flush=True)
        sys.stdin.read()

load([sys.argv[1]], conninfo=sys.argv[2], report=report, batch_rows=100)
"""


@contextlib.contextmanager
def process_in_mid_load(path, conninfo):
    with subprocess.Popen(
        [sys.executable, "-c", LOADING_PROCESS, str(path), conninfo],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    ) as process:
        try:
            assert process.stdout.readline() == b"under way\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_load_killed_in_the_middle_leaves_nothing(taxi_cluster, loading, query, trip_file, by):
    loading(SAMPLE, is_sample=True)
    path = trip_file("killed.parquet", rows=1_000)
    with process_in_mid_load(path, taxi_cluster.conninfo()) as process:
        os.kill(process.pid, by)
        process.wait()
    # the next load takes its turn after whatever is left of the killed one
    assert loading(SAMPLE, is_sample=True).skipped == (SAMPLE,)
    assert query(LEDGER) == [f"taxidata.parquet|{SAMPLE_ROWS}|t"]
    assert query(COUNT) == [str(SAMPLE_ROWS)]
    assert loading(path).rows == 1_000


def test_a_second_load_reports_that_it_waits_and_then_runs(taxi_cluster, query, trip_file):
    first, second = trip_file("1.parquet", rows=1_000), trip_file("2.parquet", rows=4)
    waits = threading.Event()
    results = []

    def load_second():
        results.append(load([second], conninfo=taxi_cluster.conninfo(), report=report))

    def report(news):
        if news == "Waiting for another load to end …":
            waits.set()

    with process_in_mid_load(first, taxi_cluster.conninfo()) as process:
        thread = threading.Thread(target=load_second)
        thread.start()
        assert waits.wait(timeout=20)
        process.communicate(b"", timeout=20)
        assert process.returncode == 0
    thread.join(timeout=20)
    assert results[0].rows == 4
    assert query(LEDGER) == ["1.parquet|1000|f", "2.parquet|4|f"]


def test_the_command_prints_columns_rows_and_seconds(app, query, trip_file):
    result = app.test_cli_runner().invoke(args=["taxi", "load", str(trip_file("may.parquet"))])
    assert result.exit_code == 0, result.output
    assert "may.parquet: store_and_fwd_flag: string to boolean\n" in result.output
    assert "Loaded 10 rows in " in result.output
    assert "rows/s" in result.output
    assert query(COUNT) == ["10"]


def test_the_command_skips_a_loaded_file_and_succeeds(app, query, trip_file):
    path = str(trip_file("may.parquet"))
    app.test_cli_runner().invoke(args=["taxi", "load", path])
    result = app.test_cli_runner().invoke(args=["taxi", "load", path])
    assert result.exit_code == 0
    assert "already loaded" in result.output
    assert "Nothing to load." in result.output
    assert app.test_cli_runner().invoke(args=["taxi", "load", "--replace", path]).exit_code == 0
    assert query(COUNT) == ["10"]


def test_the_command_ends_with_one_sentence_and_status_1(app, query, tmp_path):
    result = app.test_cli_runner().invoke(args=["taxi", "load", str(tmp_path / "none.parquet")])
    assert result.exit_code == 1
    assert f"Error: {tmp_path / 'none.parquet'}: no such file\n" in result.output
    assert "Traceback" not in result.output
