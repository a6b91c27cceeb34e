"""A pooled connection for a library that runs its own statements, such as SQLAlchemy.

The library sees a pyodbc connection (DB-API 2, PEP 249) with the driver's own errors. The pool
sees a lease that close() ends.
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

# The methods of a cursor that may wait for the server.
WAITING = frozenset(
    {"execute", "executemany", "fetchone", "fetchmany", "fetchall", "fetchval", "nextset"}
)


class PooledConnection:
    """A pyodbc connection until close(), which checks it in as it was checked out: in autocommit,
    with nothing open and nothing set. After an error or deadline that spoiled it, close() evicts.

    Statements raise pyodbc.Error as the driver does, and DeadlineExceeded when they were
    cancelled at `deadline`. One thread at a time. Raises pyodbc.Error.
    """

    __slots__ = ("_cursors", "_deadline", "_lease", "_name", "_raw", "_session", "_spoiled")

    def __init__(self, lease: Lease[Session], deadline: Deadline, name: str) -> None:
        self._name = name
        self._lease: Lease[Session] | None = lease
        self._session = lease.connection
        self._deadline = deadline
        self._spoiled = False
        self._cursors: set[PooledCursor] = set()
        self._raw: pyodbc.Connection = self._session.checkout(deadline)

    @property
    def autocommit(self) -> bool:
        return bool(self._raw.autocommit)

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self._raw.autocommit = value

    @property
    def spoiled(self) -> bool:
        """Whether close() will evict it."""
        return self._spoiled

    def cursor(self) -> "PooledCursor":
        if self._lease is None:
            raise pyodbc.ProgrammingError("HY000", "The connection is closed.")
        cursor = PooledCursor(self, self._raw.cursor())
        self._cursors.add(cursor)
        return cursor

    def execute(self, sql: str, *parameters: Any) -> "PooledCursor":
        cursor = self.cursor()
        cursor.execute(sql, *parameters)
        return cursor

    def commit(self) -> None:
        self._end_transaction(self._raw.commit)

    def rollback(self) -> None:
        self._end_transaction(self._raw.rollback)

    def close(self) -> None:
        """Check it in, or evict it. Safe to call twice."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            if not self._spoiled:
                self._session.watched(self._checkin, self._deadline)
        except (pyodbc.Error, DeadlineExceeded):
            self._spoiled = True
        finally:
            if self._spoiled:
                lease.evict()
            else:
                lease.checkin()

    def watched(self, work: Callable[[], Any], cursor: pyodbc.Cursor | None = None) -> Any:
        """The result of `work()` on `cursor`, cancelled at the deadline; cut without a cursor."""
        try:
            return self._session.watched(work, self._deadline, cursor)
        except DeadlineExceeded:
            # The cancel may still be under way, and would hit the next statement.
            self._spoiled = True
            raise
        except pyodbc.Error as error:
            failure = classify(error)
            log.error("failed statement on %s (checked out): %s", self._name, failure.report)
            self._spoiled |= failure.kind.spoils_connection
            raise

    def forget(self, cursor: "PooledCursor") -> None:
        self._cursors.discard(cursor)

    def _end_transaction(self, end: Callable[[], None]) -> None:
        # The transaction of a spoiled connection ends with it; in autocommit there is none.
        if not self._spoiled and not self._raw.autocommit:
            self.watched(end)

    def _checkin(self) -> None:
        # A session is reset with no statement open.
        for cursor in [*self._cursors]:
            cursor.close()
        self._session.checkin()

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
        # A running cancel still uses the statement's handle, which is freed with the connection.
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
