"""Loads TLC Parquet files into dbo.taxidata of a PostgreSQL database, all of them or none.

Rows go in by COPY, in one transaction: when this process ends before the COMMIT, for whatever
reason, the server rolls back.
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

# The key of an advisory lock that all loads share; any number serves.
LOAD_LOCK = 0x7A78


@dataclass(frozen=True, kw_only=True)
class Progress:
    """`rows` of the `total_rows` of all files are sent; `file` is being sent."""

    file: Path
    rows: int
    total_rows: int


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """`rows` were added from `loaded` files; `known` files had been loaded before."""

    rows: int
    loaded: tuple[Path, ...]
    known: tuple[Path, ...]
    sample_removed: bool
    seconds: float


def load(
    files: Iterable[str | os.PathLike],
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
    replace: empty the table first; without it a file whose content is loaded already is skipped.
    is_sample: the trips are the shipped sample. The first load of real trips removes the sample,
    and a sample is skipped where real trips are.

    Memory is bounded by a few batches, whatever the size of the files and of their row groups.
    Readers see the old rows until the end. Raises LoadError with one sentence; then nothing has
    changed.
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
            known = {}
        elif is_sample:
            known = {digest: day for digest, _, day in ledger}
        else:
            known = real
        fresh, left_alone = _sort_out(trip_files, known, report)
        if is_sample and real and not replace:
            report("Real trips are loaded: the sample is left out.")
            fresh = []
        makes_room = bool(fresh and ledger) and (replace or not real)
        if makes_room:
            # DELETE and not TRUNCATE, whose lock would keep every reader waiting for the COMMIT.
            connection.execute("DELETE FROM dbo.taxidata; DELETE FROM dbo.taxidata_load")
        if fresh:
            _send(connection, fresh, is_sample=is_sample, report=report, batch_rows=batch_rows)
            connection.execute("ANALYZE dbo.taxidata")
        return LoadResult(
            rows=sum(file.rows for file in fresh),
            loaded=tuple(file.path for file in fresh),
            known=tuple(file.path for file in left_alone),
            sample_removed=makes_room and not real,
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
    """(digest, whether it is the sample, day of loading) of each file that is loaded."""
    return connection.execute(
        'SELECT "Digest", "IsSample", CAST(CAST("LoadedAt" AS date) AS text) FROM dbo.taxidata_load'
    ).fetchall()


def _sort_out(
    files: list[TripFile], known: dict[str, str], report: Callable[[Progress | str], None]
) -> tuple[list[TripFile], list[TripFile]]:
    """The files that are to be loaded, and those whose content is there or came before."""
    fresh: dict[str, TripFile] = {}
    left_alone = []
    for file in files:
        if file.digest in known:
            left_alone.append(file)
            report(
                f"{file.path}: already loaded on {known[file.digest]}, left alone;"
                " --replace loads it again."
            )
        elif file.digest in fresh:
            left_alone.append(file)
            report(f"{file.path}: the same as {fresh[file.digest].path}, loaded once.")
        else:
            fresh[file.digest] = file
    return list(fresh.values()), left_alone


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
