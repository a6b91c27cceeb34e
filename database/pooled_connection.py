"""A pooled connection lent to a library that wants one of its own, such as SQLAlchemy.

To the library it is a pyodbc connection (DB-API 2, PEP 249): statements of its own, the driver's
own errors. To the pool it is a lease that close() ends.
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pyodbc

from database.deadline import Deadline
from database.errors import DeadlineExceeded, classify
from database.pool.lease import Lease
from database.session import Session

log = logging.getLogger(__name__)

# The methods of a cursor in which the server can keep one waiting.
WAITING = frozenset(
    {"execute", "executemany", "fetchone", "fetchmany", "fetchall", "fetchval", "nextset"}
)


class PooledConnection:
    """A pyodbc connection until close(), which gives it back as it was lent: in autocommit, with
    nothing open and nothing set. What an error or the deadline has spoiled is evicted instead.

    Statements raise pyodbc.Error as the driver does, and DeadlineExceeded when they were
    cancelled at `deadline`. One thread at a time. Raises pyodbc.Error.
    """

    __slots__ = ("_cursors", "_deadline", "_lease", "_name", "_raw", "_session", "_spoiled")

    def __init__(self, lease: Lease[Session], deadline: Deadline, name: str) -> None:
        self._name = name
        self._lease = lease
        self._session = lease.connection
        self._deadline = deadline
        self._spoiled = False
        self._cursors: set[PooledCursor] = set()
        self._raw = self._session.lend(deadline)

    @property
    def autocommit(self) -> bool:
        return self._raw.autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self._raw.autocommit = value

    @property
    def spoiled(self) -> bool:
        """Whether close() will evict it."""
        return self._spoiled

    def cursor(self) -> "PooledCursor":
        if self._lease is None:
            raise pyodbc.ProgrammingError("HY000", "The connection has been given back.")
        cursor = PooledCursor(self, self._raw.cursor())
        self._cursors.add(cursor)
        return cursor

    def execute(self, sql: str, *parameters: Any) -> "PooledCursor":
        return self.cursor().execute(sql, *parameters)

    def commit(self) -> None:
        self._end_transaction(self._raw.commit)

    def rollback(self) -> None:
        self._end_transaction(self._raw.rollback)

    def close(self) -> None:
        """Give it back. Safe to call twice."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            if not self._spoiled:
                self._session.watched(self._return, self._deadline)
        except (pyodbc.Error, DeadlineExceeded):
            self._spoiled = True
        finally:
            if self._spoiled:
                lease.evict()
            else:
                lease.checkin()

    def watched(self, work: Callable[[], Any], cursor: pyodbc.Cursor | None = None) -> Any:
        """What `work()` on `cursor` gives, cancelled at the deadline; cut without a cursor."""
        try:
            return self._session.watched(work, self._deadline, cursor)
        except DeadlineExceeded:
            # The cancel may still be on its way to what would run next.
            self._spoiled = True
            raise
        except pyodbc.Error as error:
            failure = classify(error)
            log.error("failed statement on %s (borrowed): %s", self._name, failure.report)
            self._spoiled |= failure.kind.spoils_connection
            raise

    def forget(self, cursor: "PooledCursor") -> None:
        self._cursors.discard(cursor)

    def _end_transaction(self, end: Callable[[], None]) -> None:
        # A spoiled one ends with its connection, and in autocommit there is none.
        if not self._spoiled and not self._raw.autocommit:
            self.watched(end)

    def _return(self) -> None:
        # A session is reset with no statement open.
        for cursor in [*self._cursors]:
            cursor.close()
        self._session.take_back()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def __enter__(self) -> "PooledConnection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PooledCursor:
    """A pyodbc cursor whose statements end at the deadline."""

    __slots__ = ("_connection", "_raw")

    def __init__(self, connection: PooledConnection, raw: pyodbc.Cursor) -> None:
        self._connection = connection
        self._raw = raw

    def close(self) -> None:
        # A cancel that is under way still uses the statement's handle; it goes with its connection.
        if not self._connection.spoiled:
            self._connection.forget(self)
            self._raw.close()

    def _wait(self, method: Callable[..., Any], *arguments: Any) -> Any:
        result = self._connection.watched(partial(method, *arguments), self._raw)
        return self if result is self._raw else result

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._raw, name)
        return partial(self._wait, attribute) if name in WAITING else attribute

    def __iter__(self) -> Iterator[pyodbc.Row]:
        return iter(self.fetchone, None)
