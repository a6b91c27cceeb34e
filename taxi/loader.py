"""Loads TLC Parquet files into dbo.taxidata of a PostgreSQL database, all of them or none.

psql does the talking, for it comes with every PostgreSQL and its COPY is the fastest way in. One
psql is one session and one transaction: whatever ends this process ends psql's input before the
COMMIT, and the server rolls back.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from taxi.columns import TABLE_SCHEMA, LoadError
from taxi.file import TripFile

__all__ = ["LoadError", "LoadResult", "Progress", "load"]

# The first of PostgreSQL's two lock spaces is the key; any number that all loads share will do.
LOAD_LOCK = 0x7A78
END_OF_ANSWER = "-- end of answer --"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """`rows` of the `total_rows` of all files to be loaded are sent; `file` is under way."""

    file: Path
    rows: int
    total_rows: int


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What a load did: `rows` added from `loaded` files; `known` files were there already."""

    rows: int
    loaded: tuple[Path, ...]
    known: tuple[Path, ...]
    sample_removed: bool
    seconds: float


def load(
    files: Iterable[str | os.PathLike],
    *,
    psql: Sequence[str],
    replace: bool = False,
    is_sample: bool = False,
    report: Callable[[Progress | str], None],
    batch_rows: int = 65_536,
) -> LoadResult:
    """Load the Parquet `files` into dbo.taxidata, all in one transaction.

    `psql` is the argv of a psql that connects as the owner of the tables. `report` is called with
    a Progress after each batch of `batch_rows` rows, and with a sentence for each column that was
    converted and each file that was left alone. A file whose content is loaded already is not
    loaded again; `replace` empties the table first. The first load of real trips removes the
    sample; `is_sample` marks the trips as the sample, which is left out where real ones are.

    Memory is bounded by a few batches, whatever the size of the files and of their row groups.
    Readers see the old rows until the end. Raises LoadError with one sentence; then nothing has
    changed.
    """
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        trip_files = [stack.enter_context(TripFile(Path(file))) for file in files]
        session = stack.enter_context(_Session(psql))
        session.ask("BEGIN")
        _take_turns(session, report)
        ledger = _read_ledger(session)
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
            session.ask("DELETE FROM dbo.taxidata; DELETE FROM dbo.taxidata_load")
        if fresh:
            _send(session, fresh, is_sample=is_sample, report=report, batch_rows=batch_rows)
            session.ask("ANALYZE dbo.taxidata")
        session.ask("COMMIT")
        return LoadResult(
            rows=sum(file.rows for file in fresh),
            loaded=tuple(file.path for file in fresh),
            known=tuple(file.path for file in left_alone),
            sample_removed=makes_room and not real,
            seconds=time.monotonic() - began,
        )


def _take_turns(session: "_Session", report: Callable[[Progress | str], None]) -> None:
    if session.ask(f"SELECT pg_try_advisory_xact_lock({LOAD_LOCK})") == ["f"]:
        report("Waiting for another load to end …")
        session.ask(f"SELECT pg_advisory_xact_lock({LOAD_LOCK})")


def _read_ledger(session: "_Session") -> list[tuple[str, bool, str]]:
    """Digest, whether it is the sample, and the day of loading of each file that is loaded."""
    rows = session.ask(
        'SELECT "Digest", "IsSample", CAST("LoadedAt" AS date) FROM dbo.taxidata_load'
    )
    return [
        (digest, is_sample == "t", day)
        for digest, is_sample, day in (row.split("|") for row in rows)
    ]


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
                " --replace loads anew."
            )
        elif file.digest in fresh:
            left_alone.append(file)
            report(f"{file.path}: the same as {fresh[file.digest].path}, loaded once.")
        else:
            fresh[file.digest] = file
    return list(fresh.values()), left_alone


def _send(
    session: "_Session",
    files: list[TripFile],
    *,
    is_sample: bool,
    report: Callable[[Progress | str], None],
    batch_rows: int,
) -> None:
    total = sum(file.rows for file in files)
    sent = 0
    columns = ", ".join(f'"{name}"' for name in TABLE_SCHEMA.names)
    for file in files:
        for note in file.columns.notes:
            report(f"{file.path.name}: {note}")
        session.begin_copy(f"COPY dbo.taxidata ({columns}) FROM STDIN (FORMAT csv)")
        for csv_rows, count in file.csv_batches(batch_rows):
            session.write(csv_rows)
            sent += count
            report(Progress(file=file.path, rows=sent, total_rows=total))
        if session.end_copy() != file.rows:
            raise LoadError(f"{file.path}: the database did not take all of its rows")
        for note in file.columns.late_notes():
            report(f"{file.path.name}: {note}")
        session.ask(
            'INSERT INTO dbo.taxidata_load ("FileName", "Digest", "RowsLoaded", "IsSample")'
            f" VALUES ({_literal(file.path.name)}, '{file.digest}', {file.rows}, {is_sample})"
        )


class _Session:
    """One psql, spoken to through its input; leaving without a COMMIT rolls back."""

    def __init__(self, psql: Sequence[str]) -> None:
        # A file, so that psql never waits for somebody to read what it complains about.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        try:
            self._psql = subprocess.Popen(
                [*psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={**os.environ, "PGCLIENTENCODING": "UTF8", "PGOPTIONS": ""},
                # Ctrl-C is for this process: psql ends in order when its input does.
                start_new_session=True,
            )
        except OSError as error:
            self._errors.close()
            raise LoadError(f"{psql[0]} can't be started: {error.strerror}") from error

    def __enter__(self) -> "_Session":
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed:
            # psql passes it on, so that nobody waits for a long statement that is in vain.
            self._psql.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):
            self._psql.stdin.close()
        self._psql.wait()
        self._psql.stdout.close()
        self._errors.close()

    def ask(self, statement: str) -> list[str]:
        """Run `statement` and return the rows it answers, as text with | between columns."""
        self.write(f"{statement};\nSELECT '{END_OF_ANSWER}';\n".encode())
        return self._answer()

    def begin_copy(self, statement: str) -> None:
        self.write(f"{statement};\n".encode())

    def end_copy(self) -> int:
        """Returns the number of rows that the server took."""
        self.write(b"\\.\n")
        return int(self.ask("SELECT :ROW_COUNT")[0])

    def write(self, data: bytes | pa.Buffer) -> None:
        try:
            self._psql.stdin.write(data)
            self._psql.stdin.flush()
        except OSError as error:
            raise self._failure() from error

    def _answer(self) -> list[str]:
        rows = []
        for line in self._psql.stdout:
            row = line.decode().rstrip("\n")
            if row == END_OF_ANSWER:
                return rows
            rows.append(row)
        raise self._failure()

    def _failure(self) -> LoadError:
        self._psql.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        reason = next((line for line in said if "ERROR:" in line or "FATAL:" in line), None)
        return LoadError(f"The database ended the load: {reason or ' '.join(said) or 'no reason'}")


def _literal(text: str) -> str:
    printable = text.encode(errors="replace").decode()
    return "'" + printable.replace("'", "''") + "'"
