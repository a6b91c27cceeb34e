"""Runs calls on the sessions of a pool: each within its deadline, retried, observed."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from database.connector import Connector
from database.deadline import PASSED, Deadline
from database.errors import DatabaseError, DeadlineExceeded, Kind, Unavailable
from database.events import Attempt, Call, Checkout, Observe, Retry, Usage
from database.pool import Lease, Pool, PoolError, PoolTimeout
from database.retry import retry
from database.rows import Begun, Rows
from database.session import Answer, Session, translated

T = TypeVar("T")


class Calls:
    """What a ConnectionManager does with its sessions. Arguments as there."""

    def __init__(
        self,
        pool: Pool[Session],
        connector: Connector,
        *,
        name: str,
        retries: bool,
        observe: Observe,
    ) -> None:
        self._pool = pool
        self._connector = connector
        self._name = name
        self._retries = retries
        self._observe = observe

    def run(
        self,
        procedure: str,
        deadline: Deadline,
        work: Callable[..., T],
        *args: Any,
        repeatable: bool = True,
    ) -> T:
        """`work(session, *args)` with retries, observed as one call of `procedure`."""
        began = time.monotonic()
        try:
            try:
                result = self.attempt(
                    procedure, deadline, work, args, began=began, repeatable=repeatable
                )
            except DatabaseError as first:
                result = self._repeat(
                    first, procedure, deadline, work, *args, repeatable=repeatable
                )
        except BaseException as failure:
            self._observe_call(procedure, began, failure)
            raise
        replayed = isinstance(result, Answer) and result.replayed is True
        engine, seconds = self._connector.engine, time.monotonic() - began
        self._observe(Call(self._name, engine, procedure, began, seconds, None, replayed))
        return result

    def attempt(
        self,
        procedure: str,
        deadline: Deadline,
        work: Callable[..., T],
        args: tuple[Any, ...],
        *,
        began: float,
        repeatable: bool,
    ) -> T:
        """Check out a session, run `work` on it once, check it in. `began`: the present moment."""
        pool, observe = self._pool, self._observe
        try:
            if began >= deadline.at:
                raise DeadlineExceeded(PASSED)
            try:
                slot = pool.take(began, deadline.at)
            except PoolError as error:
                raise _unavailable(error, deadline) from error
            evict = True
            try:
                taken = time.monotonic()
                observe(Checkout(self._name, began, taken - began))
                if taken >= deadline.at:
                    raise DeadlineExceeded(PASSED)
                result = work(slot.connection, *args)
                evict = False
            except BaseException as error:
                failure = translated(error)
                if isinstance(failure, DatabaseError):
                    # Other errors evict: after DeadlineExceeded the cancel might hit the next
                    # statement.
                    evict = failure.kind.spoils_connection
                    if failure.kind is not Kind.STALE_HANDLE:
                        failure.may_have_run = not repeatable
                raise failure from None
            finally:
                ended = time.monotonic()
                used = ended - slot.since
                pool.give_back(slot, ended, evict=evict)
                observe(Usage(self._name, used))
        except BaseException as failure:
            self._observe_attempt(procedure, began, failure)
            raise
        observe(Attempt(self._name, procedure, began, ended - began, None))
        return result

    def stream(self, procedure: str, begin: Callable[[Session], Begun], deadline: Deadline) -> Rows:
        """The rows of a statement that `begin` has run, observed as one call of `procedure`."""
        began = time.monotonic()
        try:
            rows = self.retried(lambda: self._begin_rows(procedure, begin, deadline), deadline)
        except BaseException as failure:
            self._observe_call(procedure, began, failure)
            raise
        self._observe_call(procedure, began, None)
        return rows

    def checkout(self, deadline: Deadline) -> Lease[Session]:
        """A lease, for more than one call. Raises DatabaseError, Unavailable, DeadlineExceeded."""
        try:
            return self._pool.checkout(deadline.remaining())
        except PoolError as error:
            raise _unavailable(error, deadline) from error

    def retried(self, attempt: Callable[[], T], deadline: Deadline) -> T:
        """The result of `attempt()`, repeated while it raises a transient DatabaseError.

        Raises the last attempt's error, Unavailable or DeadlineExceeded.
        """
        try:
            return attempt()
        except DatabaseError as first:
            return self._retry(attempt, first, deadline)

    def _repeat(
        self,
        first: DatabaseError,
        procedure: str,
        deadline: Deadline,
        work: Callable[..., T],
        *args: Any,
        repeatable: bool,
    ) -> T:
        def again() -> T:
            began = time.monotonic()
            return self.attempt(procedure, deadline, work, args, began=began, repeatable=repeatable)

        return self._retry(again, first, deadline)

    def _retry(self, attempt: Callable[[], T], first: DatabaseError, deadline: Deadline) -> T:
        """Retry after a first attempt that raised `first`. Raises as retried() does."""
        if not first.kind.transient or first.may_have_run:
            raise first
        if first.kind is Kind.STALE_HANDLE:
            self._connector.forget_handles()
            self._pool.invalidate()
        elif not self._retries:
            raise first
        return retry(
            attempt,
            first,
            deadline=deadline,
            observe=lambda failure: self._observe(Retry(self._name, failure)),
        )

    def _begin_rows(
        self, procedure: str, begin: Callable[[Session], Begun], deadline: Deadline
    ) -> Rows:
        began = time.monotonic()
        try:
            rows = Rows.begin(self.checkout(deadline), begin)
        except BaseException as failure:
            self._observe_attempt(procedure, began, failure)
            raise
        self._observe_attempt(procedure, began, None)
        return rows

    def _observe_call(self, procedure: str, began: float, failure: BaseException | None) -> None:
        if isinstance(failure, DatabaseError) and failure.kind is Kind.BEHIND:
            return  # no failed call: another database serves the read
        engine, seconds = self._connector.engine, time.monotonic() - began
        self._observe(Call(self._name, engine, procedure, began, seconds, failure, False))

    def _observe_attempt(self, procedure: str, began: float, failure: BaseException | None) -> None:
        seconds = time.monotonic() - began
        self._observe(Attempt(self._name, procedure, began, seconds, failure))


def _unavailable(error: PoolError, deadline: Deadline) -> DeadlineExceeded | Unavailable:
    """The error for a call that got no connection."""
    if not isinstance(error, PoolTimeout):
        return Unavailable(str(error))
    if deadline.passed():
        return DeadlineExceeded("The deadline passed while waiting for a connection.")
    cause = error.__cause__
    return Unavailable(str(error), failure=cause if isinstance(cause, DatabaseError) else None)
