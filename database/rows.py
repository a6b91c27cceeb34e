"""The rows of a running statement, in batches, and the connection that it uses until their end."""

from collections.abc import Callable, Iterator
from typing import Any

import pyodbc

from database.errors import DatabaseError, Kind
from database.pool import Lease
from database.session import Session, translated
from database.statement import ResultColumn

# The columns of a running statement, and its rows in batches.
Begun = tuple[tuple[ResultColumn, ...], Iterator[list[Any]]]


class Rows:
    """A running result, in batches: JSON texts, or rows of `columns`. For one thread, once.

    At its end the connection is checked in; close() before that evicts it, which stops the
    statement. Iterating may raise DatabaseError or DeadlineExceeded; the result is then incomplete.
    """

    def __init__(
        self,
        lease: Lease[Session],
        batches: Iterator[list[Any]],
        columns: tuple[ResultColumn, ...] = (),
    ) -> None:
        self.columns = columns
        self._lease = lease
        self._batches = batches

    @classmethod
    def begin(cls, lease: Lease[Session], begin: Callable[[Session], Begun]) -> "Rows":
        """Run `begin` on the lease's session. An error ends the lease, and is raised translated."""
        try:
            columns, batches = begin(lease.connection)
        except BaseException as error:
            failure = translated(error)
            # The transaction is still open, whatever the error was.
            if isinstance(failure, DatabaseError) and failure.kind is Kind.BEHIND:
                _roll_back(lease)
            else:
                lease.evict()
            raise failure from None
        return cls(lease, batches, columns)

    def __iter__(self) -> Iterator[list[Any]]:
        try:
            yield from self._batches
            self._lease.checkin()
        except pyodbc.Error as error:
            raise translated(error) from None
        finally:
            self.close()

    def close(self) -> None:
        """Stop the statement. Safe to call again, and after the end."""
        self._lease.evict()


def _roll_back(lease: Lease[Session]) -> None:
    """Check in a session in which only a guard has run, and failed."""
    try:
        lease.connection.checkin()
    except pyodbc.Error:
        lease.evict()
    else:
        lease.checkin()
