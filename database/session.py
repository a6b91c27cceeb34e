"""One connection at work: a procedure called on it, its answer read to the end."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import pyodbc

from database.deadline import Deadline, WatchedCall
from database.dialects import dialect_of
from database.errors import DeadlineExceeded
from database.statement import ResultColumn, ResultSet, Statement, columns_of

T = TypeVar("T")
# Prepared statements that a connection keeps; the oldest leaves first.
CURSORS_KEPT = 64
CANCELLED = "The statement was cancelled at the request's deadline."
# A connection that was dropped on its way, without a word to either end, must leave time for a
# new one: the ping gets half of what is left, and this many seconds at most.
PING_SECONDS = 5.0
# Closing may send a rollback, which a frozen network does not answer.
CLOSE_SECONDS = 1.0


class Answer(NamedTuple):
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
        watched: WatchedCall,
        *,
        abandon: Callable[[], None],
        keep_cursors: bool = True,
    ) -> None:
        self._connection = connection
        self._dialect = dialect_of(connection)
        self._watched = watched
        self._abandon = abandon
        # By text, each with its query timeout: closing one costs SQL Server a round trip
        # (sp_unprepare).
        self._cursors: dict[str, tuple[pyodbc.Cursor, int]] | None = {} if keep_cursors else None
        self._used = False

    @property
    def connection(self) -> pyodbc.Connection:
        return self._connection

    @property
    def engine(self) -> str:
        return self._dialect.name

    def call(
        self, procedure: str, document: str, deadline: Deadline, caller: str | None = None
    ) -> Answer:
        """Call `procedure` with one JSON document in one round trip.

        caller: a JSON document that the procedure finds in its session, and nothing after it.
        Raises pyodbc.Error as the driver did, DeadlineExceeded when the statement was cancelled.
        """
        statement = self._dialect.call_text(procedure, with_caller=caller is not None)
        cursor = self._begin(deadline, statement, with_caller=caller is not None)
        watched = self._watched
        watched.begin(deadline, cursor.cancel, self._abandon)
        try:
            if caller is None:
                cursor.execute(statement, document)
            else:
                cursor.execute(statement, caller, document)
                for _ in range(self._dialect.caller_results):
                    cursor.nextset()
            answer = _read(cursor)
        except BaseException as error:
            raise _ended(watched, error) from None
        # A cancelled statement may also end without an error, and short (odbc-facts).
        if watched.end():
            raise DeadlineExceeded(CANCELLED)
        return answer

    def rows(
        self, procedure: str, document: str, deadline: Deadline, *, caller: str | None = None
    ) -> Iterator[list[str]]:
        """Call a procedure that gives a row an item: batches of JSON texts, the first one fetched.

        `deadline` is for the first batch; each later one may take as long as that had.
        Raises as call() does, then or while iterating; closing it early leaves the connection
        unusable.
        """
        allowed = deadline.remaining()
        cursor = self._begin(deadline, with_caller=caller is not None)
        batches = self._dialect.rows(cursor, procedure, document, caller)
        first = self.watched(lambda: next(batches, None), deadline, cursor)
        if first is None:
            return iter(())
        later = iter(
            lambda: self.watched(lambda: next(batches, None), Deadline(allowed), cursor), None
        )
        return itertools.chain([first], later)

    def execute(
        self, statement: Statement, deadline: Deadline, caller: str | None = None
    ) -> list[ResultSet]:
        """Run `statement` in one round trip; every result set, read to the end.

        Raises pyodbc.Error as the driver did, DeadlineExceeded when the statement was cancelled.
        """
        text, values, skip = self._dialect.with_session(statement, caller)
        cursor = self._begin(deadline, text, with_caller=None)
        self._dialect.bind_values(cursor, values)

        def run() -> list[ResultSet]:
            cursor.execute(text, *values)
            found = []
            while True:
                if cursor.description is not None:
                    found.append(ResultSet(columns_of(cursor.description), cursor.fetchall()))
                # An error may come after the rows, and only nextset() shows it.
                if not cursor.nextset():
                    return found[skip:]

        if not statement.alone:
            return self.watched(run, deadline, cursor)
        self.watched(lambda: self._dialect.before_alone(self._connection, caller), deadline)
        try:
            return self.watched(run, deadline, cursor)
        finally:
            with contextlib.suppress(pyodbc.Error):
                self.watched(lambda: self._dialect.after_alone(self._connection), deadline)

    def batches(
        self, statement: Statement, deadline: Deadline, *, caller: str | None = None
    ) -> tuple[tuple[ResultColumn, ...], Iterator[list[Any]]]:
        """Run `statement`; the columns of its first result set, and its rows in batches.

        The columns are empty where there is no result set. Deadlines and errors as in rows().
        """
        allowed = deadline.remaining()
        cursor = self._begin(deadline, with_caller=None)
        text, values, skip = self._dialect.with_session(statement, caller)
        self._dialect.bind_values(cursor, values)
        columns, batches = self.watched(
            lambda: self._dialect.open(cursor, text, values, skip, statement.fetch_from),
            deadline,
            cursor,
        )
        return columns, iter(
            lambda: self.watched(lambda: next(batches, None), Deadline(allowed), cursor), None
        )

    def watched(
        self, work: Callable[[], T], deadline: Deadline, cursor: pyodbc.Cursor | None = None
    ) -> T:
        """What `work()` on `cursor` gives; DeadlineExceeded if it had to be cancelled.

        Without a cursor there is nothing to cancel: at the deadline the connection is cut.
        """
        watched = self._watched
        cancel = self._abandon if cursor is None else cursor.cancel
        watched.begin(deadline, cancel, self._abandon)
        try:
            done = work()
        except BaseException as error:
            raise _ended(watched, error) from None
        if watched.end():
            raise DeadlineExceeded(CANCELLED)
        return done

    def lend(self, deadline: Deadline) -> pyodbc.Connection:
        """The connection itself, for statements of the borrower's own until take_back()."""
        self._forget()
        self._limit(self._dialect.statement_limit(deadline.remaining()))
        return self._connection

    def take_back(self) -> None:
        """End what the borrower began, and forget what it set. Raises pyodbc.Error."""
        if not self._connection.autocommit:
            self._connection.rollback()
            self._connection.autocommit = True
        self._dialect.discard(self._connection)

    def ping(self, remaining: float) -> bool:
        """Whether the server still answers, in well below `remaining` seconds; one round trip."""
        try:
            self.watched(self._ask, Deadline(min(PING_SECONDS, remaining / 2)))
        except (pyodbc.Error, DeadlineExceeded):
            return False
        return True

    def close(self) -> None:
        """Close the connection, now or when a cancel that is under way lets go of it."""
        self._watched.release()
        self._watched.when_cancelled(self._close)

    def _ask(self) -> None:
        self._connection.execute("SELECT 1").close()

    def _close(self) -> None:
        # A broken connection fails to close; there is nothing left to lose.
        guard = self._watched.watch.guard(Deadline(CLOSE_SECONDS), self._abandon, self._abandon)
        with guard, contextlib.suppress(pyodbc.Error):
            self._connection.close()

    def _begin(
        self, deadline: Deadline, statement: str | None = None, *, with_caller: bool | None = False
    ) -> pyodbc.Cursor:
        """A cursor for the next statement, on a session that remembers nothing of the last.

        with_caller: whether a document is called with one; None: the values bind themselves.
        """
        limit = self._dialect.statement_limit(deadline.remaining())
        kept = self._cursors.get(statement) if self._cursors else None
        # A session is reset with no statement open, so before the new cursor and after the old.
        if kept is not None and kept[1] < limit:
            self.watched(kept[0].close, deadline)
            kept = None
        if kept is None and statement is not None:
            self._drop_oldest_cursor(deadline)
        self._forget()
        if kept is not None:
            return kept[0]
        cursor = self._new_cursor(limit, with_caller)
        if statement is not None and self._cursors is not None:
            self._cursors[statement] = cursor, limit
        return cursor

    def _drop_oldest_cursor(self, deadline: Deadline) -> None:
        if self._cursors is not None and len(self._cursors) >= CURSORS_KEPT:
            cursor, _ = self._cursors.pop(next(iter(self._cursors)))
            self.watched(cursor.close, deadline)

    def _forget(self) -> None:
        if self._used:
            self._dialect.reset(self._connection)
        self._used = True

    def _limit(self, seconds: int) -> None:
        if seconds:
            self._connection.timeout = seconds

    def _new_cursor(self, limit: int, with_caller: bool | None) -> pyodbc.Cursor:
        # pyodbc copies it into the cursor now, and never again.
        self._limit(limit)
        cursor = self._connection.cursor()
        if with_caller is not None:
            self._dialect.bind(cursor, with_caller=with_caller)
        return cursor


def _ended(watched: WatchedCall, error: BaseException) -> BaseException:
    """What an `error` under watch is: the deadline's, where it passed before."""
    fired = watched.end()
    return DeadlineExceeded(CANCELLED) if fired and isinstance(error, pyodbc.Error) else error


def _read(cursor: pyodbc.Cursor) -> Answer:
    """Every result to its end: an error may come after the rows, and only nextset() shows it."""
    while cursor.description is None:
        if not cursor.nextset():
            return Answer("")
    description = cursor.description
    rows = cursor.fetchall()
    while cursor.nextset():
        if cursor.description is not None:
            cursor.fetchall()
    if not rows:
        return Answer("")
    first = rows[0]
    text = first[0] if len(rows) == 1 else "".join([row[0] for row in rows if row[0]])
    etag = replayed = following = None
    for position, column in enumerate(description):
        name = column[0]
        if name == "ETag":
            etag = first[position]
        elif name == "Replayed" and first[position] is not None:
            replayed = bool(first[position])
        elif name == "Next":
            following = first[position]
    return Answer(text or "", etag, replayed, following)
