"""A pooled connection in use: runs one statement at a time and reads every result to its end."""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import pyodbc

from database.deadline import Deadline, WatchedCall
from database.dialects import dialect_of
from database.errors import DeadlineExceeded, classify
from database.statement import (
    Guard,
    ResultColumn,
    ResultSet,
    Statement,
    columns_of,
    reach_result,
)

T = TypeVar("T")
# Prepared statements that a connection keeps; the least recently used one is closed first.
CURSORS_KEPT = 64
CANCELLED = "The statement was cancelled at the request's deadline."
# A connection that a firewall dropped silently must leave time for a new one: the ping gets half
# of what is left, and at most this many seconds.
PING_SECONDS = 5.0
# A kept cursor holds a text of at most this many characters until its next statement.
LONGEST_HELD_RESULT = 65_536
# Closing may send a rollback, which a frozen network does not answer.
CLOSE_SECONDS = 1.0


class Answer(NamedTuple):
    """The result of a procedure. json: its text unchanged, "" without a row.

    etag: the representation's entity tag; replayed: whether this is the stored response of a
    known key; next: the value of `after` for the following page. None where the procedure returns
    no such column.
    """

    json: str
    etag: str | None = None
    replayed: bool | None = None
    next: str | None = None


class Session:
    """A pyodbc connection with the dialect of its engine; one thread at a time.

    lifetime: seconds for which it may be pooled, because its access token must not expire.
    """

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
        self._dialect.convert_values(connection)
        self._watched = watched
        self._abandon = abandon
        self._keeps_cursors = keep_cursors
        # By text, each with its query timeout, the most recently used one last. Closing one costs
        # SQL Server a round trip (sp_unprepare).
        self._cursors: dict[str, tuple[pyodbc.Cursor, int]] = {}
        self._used = False
        self.lifetime = math.inf

    @property
    def connection(self) -> pyodbc.Connection:
        return self._connection

    @property
    def engine(self) -> str:
        return self._dialect.name

    def call(
        self,
        procedure: str,
        document: str,
        deadline: Deadline,
        caller: str | None = None,
        guard: Guard | None = None,
    ) -> Answer:
        """Call `procedure` with one JSON document in one round trip.

        caller: a JSON document that this procedure, and no later one, finds in its session.
        guard: runs in front of the procedure, in the same batch.
        Raises pyodbc.Error as the driver did, DeadlineExceeded when the statement was cancelled.
        """
        if guard is not None:
            return self._guarded_call(procedure, document, deadline, caller, guard)
        dialect, watched = self._dialect, self._watched
        with_caller = caller is not None
        text, skip = dialect.call_text(procedure, with_caller)
        cursor = self._begin(deadline, text, with_caller)
        watched.begin(deadline, cursor.cancel, self._abandon)
        try:
            if with_caller:
                cursor.execute(text, caller, document)
            else:
                cursor.execute(text, document)
            for _ in range(skip):
                cursor.nextset()
            answer = self._read(cursor)
        except BaseException as error:
            raise _ended(watched, error) from None
        # A cancelled statement may also end without an error, and short (odbc-facts).
        if watched.end():
            raise DeadlineExceeded(CANCELLED)
        return answer

    def _guarded_call(
        self, procedure: str, document: str, deadline: Deadline, caller: str | None, guard: Guard
    ) -> Answer:
        statement = guard.before(self._dialect.call(procedure, document))
        text, values, skip = self._dialect.with_session(statement, caller)
        cursor = self._begin(deadline, text, None)
        self._dialect.bind_values(cursor, values, with_caller=caller is not None)

        def run() -> Answer:
            cursor.execute(text, *values)
            return self._read(cursor, skip)

        return self.watched(run, deadline, cursor)

    def rows(
        self,
        procedure: str,
        document: str,
        deadline: Deadline,
        *,
        caller: str | None = None,
        guard: Guard | None = None,
    ) -> Iterator[list[str]]:
        """Call a procedure that returns a row for each item: batches of JSON texts, the first one
        already fetched.

        deadline: for the first batch; each later one may take the same number of seconds.
        Raises as call() does, then or while iterating. Unless it is read to the end, the
        connection must be evicted.
        """
        allowed = deadline.remaining()
        cursor = self._begin_rows(deadline)
        batches = self._dialect.rows(cursor, procedure, document, caller, guard)
        first = self.watched(lambda: next(batches, None), deadline, cursor)
        later = self._later(batches, cursor, allowed)
        return later if first is None else itertools.chain([first], later)

    def execute(
        self, statement: Statement, deadline: Deadline, caller: str | None = None
    ) -> list[ResultSet]:
        """Run `statement` in one round trip; every result set, read to the end.

        Raises as call() does.
        """
        text, values, skip = self._dialect.with_session(statement, caller)
        cursor = self._begin(deadline, text, None)
        self._dialect.bind_values(cursor, values, with_caller=caller is not None)

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
        cursor = self._begin_rows(deadline)
        text, values, skip = self._dialect.with_session(statement, caller)
        self._dialect.bind_values(cursor, values, with_caller=caller is not None)
        columns, batches = self.watched(
            lambda: self._dialect.open(cursor, text, values, skip, statement.fetch_from),
            deadline,
            cursor,
        )
        return columns, self._later(batches, cursor, allowed)

    def _later(
        self, batches: Iterator[list[T]], cursor: pyodbc.Cursor, seconds: float
    ) -> Iterator[list[T]]:
        """The remaining batches, with `seconds` for each; then the cursor is closed."""
        while True:
            batch = self.watched(lambda: next(batches, None), Deadline(seconds), cursor)
            if batch is None:
                break
            yield batch
        # Not under a watch that cancels the cursor: a cancel uses the handle that this frees.
        self.watched(cursor.close, Deadline(seconds))

    def watched(
        self, work: Callable[[], T], deadline: Deadline, cursor: pyodbc.Cursor | None = None
    ) -> T:
        """The result of `work()` on `cursor`. Raises DeadlineExceeded if it had to be cancelled.

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

    def checkout(self, deadline: Deadline) -> pyodbc.Connection:
        """The connection itself, for a library's own statements until checkin()."""
        self._reset()
        self._limit(self._dialect.statement_limit(deadline.remaining()))
        return self._connection

    def checkin(self) -> None:
        """Roll back an open transaction and reset the session. Raises pyodbc.Error."""
        if not self._connection.autocommit:
            self._connection.rollback()
            self._connection.autocommit = True
        self._dialect.discard(self._connection)

    def ping(self, remaining: float) -> bool:
        """Whether the server still answers, in well below `remaining` seconds; one round trip."""
        try:
            self.watched(self._select_one, Deadline(min(PING_SECONDS, remaining / 2)))
        except (pyodbc.Error, DeadlineExceeded):
            return False
        return True

    def cut(self) -> None:
        """Shut its sockets down: a running statement ends as a lost connection. Any thread."""
        self._abandon()

    def close(self) -> None:
        """Close the connection, now or as soon as a running cancel has ended."""
        self._watched.release()
        self._watched.when_cancelled(self._close)

    def _select_one(self) -> None:
        self._connection.execute("SELECT 1").close()

    def _close(self) -> None:
        # A broken connection fails to close; there is nothing left to lose.
        guard = self._watched.watch.guard(Deadline(CLOSE_SECONDS), self._abandon, self._abandon)
        with guard, contextlib.suppress(pyodbc.Error):
            self._connection.close()

    def _begin(self, deadline: Deadline, text: str, with_caller: bool | None) -> pyodbc.Cursor:
        """The kept cursor of `text`, in a session without settings of the statement before.

        with_caller: whether call_text's document follows a caller; None: for bind_values().
        """
        dialect = self._dialect
        limit = dialect.statement_limit(deadline.remaining()) if dialect.limits_statements else 0
        kept = self._cursors.pop(text, None)
        if kept is None or kept[1] < limit:
            return self._replace_cursor(kept, deadline, text, limit, with_caller)
        # A cursor was kept, so the session has been used.
        if dialect.resets_sessions:
            dialect.reset(self._connection)
        self._cursors[text] = kept
        return kept[0]

    def _replace_cursor(
        self,
        old: tuple[pyodbc.Cursor, int] | None,
        deadline: Deadline,
        text: str,
        limit: int,
        with_caller: bool | None,
    ) -> pyodbc.Cursor:
        # A session is reset with no statement open: after an old cursor, before a new one.
        if old is not None:
            self.watched(old[0].close, deadline)
        elif len(self._cursors) >= CURSORS_KEPT:
            oldest, _ = self._cursors.pop(next(iter(self._cursors)))
            self.watched(oldest.close, deadline)
        self._reset()
        cursor = self._new_cursor(limit)
        if with_caller is not None:
            self._dialect.bind(cursor, with_caller=with_caller)
        if self._keeps_cursors:
            self._cursors[text] = cursor, limit
        return cursor

    def _begin_rows(self, deadline: Deadline) -> pyodbc.Cursor:
        """A cursor that is not kept, in a session without settings of the statement before."""
        self._reset()
        return self._new_cursor(self._dialect.statement_limit(deadline.remaining()))

    def _reset(self) -> None:
        if self._used:
            self._dialect.reset(self._connection)
        self._used = True

    def _limit(self, seconds: int) -> None:
        if seconds:
            self._connection.timeout = seconds

    def _new_cursor(self, limit: int) -> pyodbc.Cursor:
        # pyodbc copies it into the cursor now, and never again.
        self._limit(limit)
        return self._connection.cursor()

    def _read(self, cursor: pyodbc.Cursor, skip: int = 0) -> Answer:
        """The first result set after `skip`. All are read, because an error may follow the rows."""
        if (skip or cursor.description is None) and not reach_result(cursor, skip):
            return Answer("")
        description = cursor.description
        rows = cursor.fetchall()
        if not rows:
            text = ""
        elif len(rows) == 1:
            text = rows[0][0] or ""
        else:
            text = "".join([row[0] for row in rows if row[0]])
        # Only nextset() shows an error after rows; it also frees the result.
        if self._dialect.errors_after_rows or len(text) > LONGEST_HELD_RESULT:
            while cursor.nextset():
                if cursor.description is not None:
                    cursor.fetchall()
        return _answer(text, description, rows[0]) if rows else Answer("")


def _ended(watched: WatchedCall, error: BaseException) -> BaseException:
    """`error`, or DeadlineExceeded where the driver failed because of the deadline's cancel."""
    fired = watched.end()
    return DeadlineExceeded(CANCELLED) if fired and isinstance(error, pyodbc.Error) else error


def _answer(text: str, description: Any, row: pyodbc.Row) -> Answer:
    etag = replayed = following = None
    for position, column in enumerate(description):
        name = column[0]
        if name == "ETag":
            etag = row[position]
        elif name == "Replayed" and row[position] is not None:
            replayed = bool(row[position])
        elif name == "Next":
            following = row[position]
    return Answer(text, etag, replayed, following)


def translated(error: BaseException) -> BaseException:
    """The DatabaseError for a driver's error; any other error unchanged."""
    return classify(error) if isinstance(error, pyodbc.Error) else error
