"""One connection at work: a procedure called on it, its answer read to the end."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pyodbc

from database.deadline import Deadline, Watch, Watched
from database.dialects import dialect_of
from database.errors import DeadlineExceeded
from database.sockets import FoundSocket

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What a procedure answered. `json` is its text as it came, "" where it gave no row.

    etag: the representation's entity tag; replayed: a known key's stored answer; next: what to
    ask for as `after` to get the following page. None where the procedure does not say.
    """

    json: str
    etag: str | None = None
    replayed: bool | None = None
    next: str | None = None


class Session:
    """A pyodbc connection with the dialect of its engine; one thread at a time."""

    def __init__(
        self,
        connection: pyodbc.Connection,
        watch: Watch,
        *,
        found: FoundSocket | None = None,
        keep_cursors: bool = True,
    ) -> None:
        self._connection = connection
        self._dialect = dialect_of(connection)
        self._watch = watch
        self._abandon = found.shutdown if found else _nothing
        self._cursors: dict[str, pyodbc.Cursor] | None = {} if keep_cursors else None
        self._cancelled: Watched | None = None
        self._used = False

    @property
    def connection(self) -> pyodbc.Connection:
        return self._connection

    @property
    def engine(self) -> str:
        return self._dialect.name

    def call(self, procedure: str, document: str, deadline: Deadline) -> Answer:
        """Call `procedure` with one JSON document in one round trip.

        Raises pyodbc.Error as the driver did, DeadlineExceeded when the statement was cancelled.
        """
        cursor = self._begin(deadline, procedure)
        return self._watched(partial(self._execute, cursor, procedure, document), cursor, deadline)

    def _execute(self, cursor: pyodbc.Cursor, procedure: str, document: str) -> Answer:
        cursor.execute(self._dialect.call_text(procedure), document)
        return _read(cursor)

    def rows(self, procedure: str, document: str, deadline: Deadline) -> Iterator[list[str]]:
        """Call a procedure that gives a row an item: batches of JSON texts, the first one fetched.

        `deadline` is for the first batch; each later one may take as long as that had.
        Raises as call() does, then or while iterating; closing it early leaves the connection
        unusable.
        """
        allowed = deadline.remaining()
        cursor = self._begin(deadline)
        batches = self._dialect.rows(cursor, procedure, document)
        first = self._watched(lambda: next(batches, None), cursor, deadline)
        if first is None:
            return iter(())
        later = iter(
            lambda: self._watched(lambda: next(batches, None), cursor, Deadline(allowed)), None
        )
        return itertools.chain([first], later)

    def _watched(self, work: Callable[[], T], cursor: pyodbc.Cursor, deadline: Deadline) -> T:
        """What `work()` gives; DeadlineExceeded if it had to be cancelled."""
        with self._watch.guard(deadline, cursor.cancel, self._abandon) as watched:
            try:
                done = work()
            except pyodbc.Error:
                if not watched.fired:
                    raise
        # A cancelled statement may also end without an error, and short (odbc-facts).
        if watched.fired:
            self._cancelled = watched
            raise DeadlineExceeded("The statement was cancelled at the request's deadline.")
        return done

    def ping(self) -> bool:
        """Whether the server still answers; one round trip."""
        try:
            self._connection.execute("SELECT 1").close()
        except pyodbc.Error:
            return False
        return True

    def close(self) -> None:
        """Close the connection, now or when a cancel that is under way lets go of it."""
        if self._cancelled is not None:
            self._cancelled.when_cancelled(self._close)
        else:
            self._close()

    def _close(self) -> None:
        # A broken connection fails to close; there is nothing left to lose.
        with contextlib.suppress(pyodbc.Error):
            self._connection.close()

    def _begin(self, deadline: Deadline, procedure: str | None = None) -> pyodbc.Cursor:
        """A cursor for the next statement, on a session that remembers nothing of the last."""
        if self._used:
            self._dialect.reset(self._connection)
        self._used = True
        self._dialect.limit_statement(self._connection, deadline.remaining())
        if procedure is None or self._cursors is None:
            return self._new_cursor()
        cursor = self._cursors.get(procedure)
        if cursor is None:
            cursor = self._cursors[procedure] = self._new_cursor()
        return cursor

    def _new_cursor(self) -> pyodbc.Cursor:
        cursor = self._connection.cursor()
        self._dialect.bind(cursor)
        return cursor


def _nothing() -> None:
    """The socket is not known: the driver's own timeout has to do."""


def _read(cursor: pyodbc.Cursor) -> Answer:
    """Every result to its end: an error may come after the rows, and only nextset() shows it."""
    while cursor.description is None:
        if not cursor.nextset():
            return Answer("")
    names = [column[0] for column in cursor.description]
    rows = cursor.fetchall()
    while cursor.nextset():
        if cursor.description is not None:
            cursor.fetchall()
    if not rows:
        return Answer("")
    text = rows[0][0] if len(rows) == 1 else "".join([row[0] for row in rows if row[0]])
    if len(names) == 1:
        return Answer(text or "")
    more = dict(zip(names, rows[0], strict=True))
    replayed = more.get("Replayed")
    return Answer(
        text or "",
        etag=more.get("ETag"),
        replayed=None if replayed is None else bool(replayed),
        next=more.get("Next"),
    )
