"""Loads TLC Parquet files into dbo.taxidata of a PostgreSQL database, all of them or none.

Uses COPY in one transaction: if this process ends before the COMMIT, the server rolls back.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from taxi.columns import TABLE_SCHEMA, LoadError
from taxi.file import TripFile

__all__ = ["LoadError", "LoadResult", "Progress", "load"]

# The key of the advisory lock of all loads: an arbitrary number.
LOAD_LOCK = 0x7A78


@dataclass(frozen=True, kw_only=True)
class Progress:
    """`rows` of the `total_rows` of all files have been sent; `file` is the current file."""

    file: Path
    rows: int
    total_rows: int


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """`rows` were loaded from the files `loaded`; the files `skipped` were loaded before.

    sample_removed: the shipped sample was deleted. seconds: the duration of the load.
    """

    rows: int
    loaded: tuple[Path, ...]
    skipped: tuple[Path, ...]
    sample_removed: bool
    seconds: float


def load(
    files: Iterable[str | os.PathLike[str]],
    *,
    conninfo: str,
    replace: bool = False,
    is_sample: bool = False,
    report: Callable[[Progress | str], None],
    batch_rows: int = 65_536,
) -> LoadResult:
    """Load the Parquet `files` into dbo.taxidata, all in one transaction.

    conninfo: libpq's connection string of a role that owns the tables.
    report: called with a Progress after each batch of `batch_rows` rows, and with a sentence for
    each converted column and each skipped file.
    replace: empty the table first; otherwise a file whose content is already loaded is skipped.
    is_sample: the trips are the shipped sample. The first load of real trips removes the sample,
    and a sample is skipped if real trips are loaded.

    Memory is limited to a few batches, for files and row groups of any size. Readers see the old
    rows until the COMMIT. Raises LoadError with one sentence; then nothing has changed.
    """
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        trip_files = [stack.enter_context(TripFile(Path(file))) for file in files]
        stack.enter_context(_database_errors())
        connection = stack.enter_context(psycopg.connect(conninfo))
        _wait_for_other_loads(connection, report)
        ledger = _read_ledger(connection)
        real = {digest: day for digest, is_sample_row, day in ledger if not is_sample_row}
        if replace:
            loaded: dict[str, str] = {}
        elif is_sample:
            loaded = {digest: day for digest, _, day in ledger}
        else:
            loaded = real
        fresh, skipped = _select(trip_files, loaded, report)
        if is_sample and real and not replace:
            report("Real trips are loaded already: skipping the sample.")
            fresh = []
        removes_rows = bool(fresh and ledger) and (replace or not real)
        if removes_rows:
            # DELETE and not TRUNCATE, whose lock would block all readers until the COMMIT.
            connection.execute("DELETE FROM dbo.taxidata; DELETE FROM dbo.taxidata_load")
        if fresh:
            _send(connection, fresh, is_sample=is_sample, report=report, batch_rows=batch_rows)
            connection.execute("ANALYZE dbo.taxidata")
        return LoadResult(
            rows=sum(file.rows for file in fresh),
            loaded=tuple(file.path for file in fresh),
            skipped=tuple(file.path for file in skipped),
            sample_removed=removes_rows and not real,
            seconds=time.monotonic() - began,
        )


@contextlib.contextmanager
def _database_errors() -> Iterator[None]:
    """Raise LoadError with the first line of what the database reports."""
    try:
        yield
    except psycopg.Error as error:
        reason = str(error).strip().partition("\n")[0]
        raise LoadError(f"The database ended the load: {reason}") from error


def _wait_for_other_loads(
    connection: psycopg.Connection, report: Callable[[Progress | str], None]
) -> None:
    if connection.execute(f"SELECT pg_try_advisory_xact_lock({LOAD_LOCK})").fetchone() != (True,):
        report("Waiting for another load to end …")
        connection.execute(f"SELECT pg_advisory_xact_lock({LOAD_LOCK})")


def _read_ledger(connection: psycopg.Connection) -> list[tuple[str, bool, str]]:
    """(digest, whether it is the sample, day of loading) of each loaded file."""
    return connection.execute(
        'SELECT "Digest", "IsSample", CAST(CAST("LoadedAt" AS date) AS text) FROM dbo.taxidata_load'
    ).fetchall()


def _select(
    files: list[TripFile], loaded: dict[str, str], report: Callable[[Progress | str], None]
) -> tuple[list[TripFile], list[TripFile]]:
    """(files to load, files to skip); a file is skipped if its content is loaded or listed before.

    loaded: {digest: day of loading}.
    """
    fresh: dict[str, TripFile] = {}
    skipped = []
    for file in files:
        if file.digest in loaded:
            skipped.append(file)
            report(
                f"{file.path}: already loaded on {loaded[file.digest]}, skipped;"
                " --replace loads it again."
            )
        elif file.digest in fresh:
            skipped.append(file)
            report(f"{file.path}: same content as {fresh[file.digest].path}, loaded once.")
        else:
            fresh[file.digest] = file
    return list(fresh.values()), skipped


def _send(
    connection: psycopg.Connection,
    files: list[TripFile],
    *,
    is_sample: bool,
    report: Callable[[Progress | str], None],
    batch_rows: int,
) -> None:
    total = sum(file.rows for file in files)
    sent = 0
    columns = ", ".join(f'"{name}"' for name in TABLE_SCHEMA.names)
    cursor = connection.cursor()
    for file in files:
        for note in file.columns.notes:
            report(f"{file.path.name}: {note}")
        with cursor.copy(f"COPY dbo.taxidata ({columns}) FROM STDIN (FORMAT csv)") as copy:
            for csv_rows, count in file.csv_batches(batch_rows):
                copy.write(csv_rows)
                sent += count
                report(Progress(file=file.path, rows=sent, total_rows=total))
        if cursor.rowcount != file.rows:
            raise LoadError(f"{file.path}: the database stored {cursor.rowcount} of its rows")
        for note in file.columns.late_notes():
            report(f"{file.path.name}: {note}")
        cursor.execute(
            'INSERT INTO dbo.taxidata_load ("FileName", "Digest", "RowsLoaded", "IsSample")'
            " VALUES (%s, %s, %s, %s)",
            (_printable(file.path.name), file.digest, file.rows, is_sample),
        )


def _printable(name: str) -> str:
    return name.encode(errors="replace").decode()
