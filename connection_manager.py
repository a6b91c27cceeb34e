"""ConnectionManager: calls the stored procedures of one database for the resources."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from database.connect.tokens import TokenSource
from database.connector import Connector, is_refusal
from database.deadline import Deadline
from database.errors import DatabaseError, DeadlineExceeded, Kind, Unavailable
from database.events import (
    Attempt,
    Call,
    Checkout,
    Observe,
    Retry,
    SharedRead,
    Usage,
    unobserved,
)
from database.pool import Lease, Pool, PoolError, PoolStats, PoolTimeout
from database.pooled_connection import PooledConnection
from database.retry import retry
from database.rows import Begun, Rows
from database.session import Answer, Session, translated
from database.single_flight import SingleFlight
from database.statement import Guard, ResultSet, Statement

__all__ = ["ConnectionManager", "Rows"]

T = TypeVar("T")
# Everything that the answer of a read depends on: procedure, document, caller, guard.
ReadKey = tuple[str, str, str | None, Guard | None]
# Identical reads that run side by side before further ones share a call. `python -m
# bench.shared_calls`: sharing from the second reader on made two readers slower and saved them a
# third of the calls; from the third on it costs two readers nothing, and doubles the rate of 16.
UNSHARED_READS = 2


class ConnectionManager:
    """Calls procedures of one database: pooled, retried, within a deadline, each write done once.

    connection_string: ODBC. family: the driver that completes it, "sqlserver" or "postgresql".
    tokens: the source of an access token for each connect, if the string names no user.
    pool: keyword options of database.pool.Pool. deadline_seconds: for calls without a deadline.
    retries: False where each call is one attempt, because another database can serve it.
    observe: receives the events of database.events; it must be fast and must not raise.
    Independent of Flask. An application may create several; close() each.
    """

    def __init__(
        self,
        connection_string: str,
        *,
        family: str,
        name: str = "database",
        tokens: TokenSource | None = None,
        login_timeout: float = 30.0,
        acquire_timeout: float = 10.0,
        deadline_seconds: float = 30.0,
        retries: bool = True,
        observe: Observe = unobserved,
        **pool: Any,
    ) -> None:
        self.name = name
        self._acquire_timeout = acquire_timeout
        self._deadline_seconds = deadline_seconds
        self._retries = retries
        self._observe = observe
        self._flights: SingleFlight[Answer] = SingleFlight(at_once=UNSHARED_READS)
        self._connector = Connector(
            connection_string,
            family=family,
            name=name,
            tokens=tokens,
            login_timeout=login_timeout,
            observe=observe,
        )
        self._pool: Pool[Session] = Pool(
            self._connector.connect,
            close=Session.close,
            ping=Session.ping,
            refused=is_refusal,
            lifetime=lambda session: session.lifetime,
            name=name,
            observe=self._observe_lease,
            **pool,
        )

    def call(
        self,
        procedure: str,
        document: str = "{}",
        *,
        caller: str | None = None,
        deadline: Deadline | None = None,
        repeatable: bool = True,
    ) -> Answer:
        """Call `schema.procedure` with one JSON document. Returns its answer, read to the end.

        caller: a JSON document of at most CALLER_MAX_CHARACTERS with the caller's identity; the
        procedure finds it in SESSION_CONTEXT(N'caller') or current_setting('request.caller', true).
        repeatable: the call is idempotent, that is a read or a write with a key. Otherwise an error
        after execution began is reported, not retried.
        Raises DatabaseError, Unavailable (with retry_after), DeadlineExceeded.
        """
        limit = deadline or Deadline(self._deadline_seconds)
        args = (procedure, document, limit, caller)
        return self._run(procedure, limit, Session.call, *args, repeatable=repeatable)

    def read(
        self,
        procedure: str,
        document: str = "{}",
        *,
        caller: str | None = None,
        deadline: Deadline | None = None,
        guard: Guard | None = None,
    ) -> Answer:
        """call() for a procedure that only reads. While UNSHARED_READS identical reads are running,
        further ones share one call, which starts after all of them arrived. Raises as call() does.

        guard: runs in front of the procedure; only reads with an equal guard share a call.
        """
        limit = deadline or Deadline(self._deadline_seconds)
        key = (procedure, document, caller, guard)
        if not self._flights.enter(key):
            return self._shared_read(key, limit)
        try:
            args = (procedure, document, limit, caller, guard)
            return self._run(procedure, limit, Session.call, *args)
        finally:
            self._flights.leave(key)

    def execute(
        self,
        procedure: str,
        statement: Statement,
        *,
        caller: str | None = None,
        deadline: Deadline | None = None,
        repeatable: bool = False,
    ) -> list[ResultSet]:
        """Run a statement that calls `procedure`. Returns every result set, read to the end.

        procedure: its name in logs and metrics. caller, repeatable, errors: as in call().
        """
        limit = deadline or Deadline(self._deadline_seconds)
        args = (statement, limit, caller)
        return self._run(procedure, limit, Session.execute, *args, repeatable=repeatable)

    def execute_once(
        self, name: str, statement: Statement, *, deadline: Deadline
    ) -> list[ResultSet]:
        """execute() in a single attempt, which is neither logged nor counted as a call."""
        work, args, began = Session.execute, (statement, deadline), time.monotonic()
        return self._attempt(name, deadline, work, args, began=began, repeatable=True)

    def stream(
        self,
        procedure: str,
        document: str,
        *,
        caller: str | None = None,
        deadline: Deadline | None = None,
        guard: Guard | None = None,
    ) -> "Rows":
        """Call a procedure that reads and returns one row per item. Returns the rows in batches.

        guard: runs in front of the procedure. The first batch has been fetched on return, so errors
        before it are raised as in call().
        """
        limit = deadline or Deadline(self._deadline_seconds)

        def begin(session: Session) -> Begun:
            return (), session.rows(procedure, document, limit, caller=caller, guard=guard)

        return self._stream(procedure, begin, limit)

    def stream_rows(
        self,
        procedure: str,
        statement: Statement,
        *,
        caller: str | None = None,
        deadline: Deadline | None = None,
    ) -> "Rows":
        """Run a statement that only reads. Returns the rows of its first result set in batches.

        procedure: its name in logs and metrics. Otherwise as stream().
        """
        limit = deadline or Deadline(self._deadline_seconds)
        return self._stream(
            procedure, lambda session: session.batches(statement, limit, caller=caller), limit
        )

    def checkout(self, *, deadline: Deadline | None = None) -> PooledConnection:
        """A pooled connection for a library such as SQLAlchemy; close() checks it in.

        Connecting is retried. Statements on it are not, and raise the driver's errors, which
        database.errors.classify translates. Raises as call() does.
        """
        limit = deadline or Deadline(self._deadline_seconds)
        return self.retried(lambda: self._checkout_connection(limit), limit)

    def retried(self, attempt: Callable[[], T], deadline: Deadline) -> T:
        """The result of `attempt()`, repeated while it raises a transient DatabaseError.

        Raises the last attempt's error, Unavailable or DeadlineExceeded.
        """
        try:
            return attempt()
        except DatabaseError as first:
            return self._retry(attempt, first, deadline)

    def served(self, attempt: "Callable[[ConnectionManager], T]", deadline: Deadline) -> T:
        """The result of `attempt(manager)` with this manager, as retried()."""
        return self.retried(lambda: attempt(self), deadline)

    def probe(self) -> None:
        """Connect to the database and ping it, bypassing the pool and the circuit breaker.

        Returns if the ping succeeded within the login timeout. Raises DatabaseError, or Unavailable
        without a token.
        """
        self._connector.probe()

    def cut(self) -> None:
        """Cut every connection: statements that wait for a frozen server fail with Kind.LOST."""
        self._connector.cut()

    @property
    def engine(self) -> str:
        """The database engine, as in database.dialects; before the first connection, the
        driver's."""
        return self._connector.engine

    def stats(self) -> PoolStats:
        return self._pool.stats()

    def close(self, timeout: float = 0.0) -> bool:
        """Close the pool; True when every connection was checked in within `timeout` seconds."""
        drained = self._pool.close(timeout)
        self._connector.close()
        return drained

    def __repr__(self) -> str:
        return f"<ConnectionManager {self.name} {self._pool!r}>"

    def _shared_read(self, key: ReadKey, deadline: Deadline) -> Answer:
        """A read that waits for identical ones, and shares a call with those that wait too."""
        procedure, document, caller, guard = key

        def read() -> Answer:
            args = (procedure, document, deadline, caller, guard)
            return self._run(procedure, deadline, Session.call, *args)

        answer, joined = self._flights.get(key, read, deadline)
        if joined:
            self._observe(SharedRead("joined"))
        return answer

    def _run(
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
                result = self._attempt(
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
        self._observe_call(procedure, began, None, replayed)
        return result

    def _repeat(
        self,
        first: DatabaseError,
        procedure: str,
        deadline: Deadline,
        work: Callable[..., T],
        *args: Any,
        repeatable: bool,
    ) -> T:
        def attempt() -> T:
            began = time.monotonic()
            return self._attempt(
                procedure, deadline, work, args, began=began, repeatable=repeatable
            )

        return self._retry(attempt, first, deadline)

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
            observe=lambda failure: self._observe(Retry(self.name, failure)),
        )

    def _attempt(
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
            left = deadline.remaining(began)
            try:
                slot = pool.take(began, min(self._acquire_timeout, left))
            except PoolError as error:
                raise _unavailable(error, deadline) from error
            evict = True
            try:
                observe(Checkout(self.name, began, time.monotonic() - began))
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
                observe(Usage(self.name, used))
        except BaseException as failure:
            self._observe_attempt(procedure, began, failure)
            raise
        observe(Attempt(self.name, procedure, began, ended - began, None))
        return result

    def _stream(
        self, procedure: str, begin: Callable[[Session], Begun], deadline: Deadline
    ) -> Rows:
        began = time.monotonic()
        try:
            rows = self.retried(lambda: self._begin_rows(procedure, begin, deadline), deadline)
        except BaseException as failure:
            self._observe_call(procedure, began, failure)
            raise
        self._observe_call(procedure, began, None)
        return rows

    def _begin_rows(
        self, procedure: str, begin: Callable[[Session], Begun], deadline: Deadline
    ) -> Rows:
        began = time.monotonic()
        try:
            rows = Rows.begin(self._checkout(deadline), begin)
        except BaseException as failure:
            self._observe_attempt(procedure, began, failure)
            raise
        self._observe_attempt(procedure, began, None)
        return rows

    def _checkout_connection(self, deadline: Deadline) -> PooledConnection:
        lease = self._checkout(deadline)
        try:
            return PooledConnection(lease, deadline, self.name)
        except BaseException as error:
            lease.evict()
            raise translated(error) from None

    def _checkout(self, deadline: Deadline) -> Lease[Session]:
        try:
            return self._pool.checkout(min(self._acquire_timeout, deadline.remaining()))
        except PoolError as error:
            raise _unavailable(error, deadline) from error

    def _observe_call(
        self, procedure: str, began: float, failure: BaseException | None, replayed: bool = False
    ) -> None:
        if isinstance(failure, DatabaseError) and failure.kind is Kind.BEHIND:
            return  # no failed call: another database serves the read
        seconds = time.monotonic() - began
        engine = self._connector.engine
        self._observe(Call(self.name, engine, procedure, began, seconds, failure, replayed))

    def _observe_attempt(self, procedure: str, began: float, failure: BaseException | None) -> None:
        seconds = time.monotonic() - began
        self._observe(Attempt(self.name, procedure, began, seconds, failure))

    def _observe_lease(self, event: str, seconds: float) -> None:
        if event == "usage_seconds":
            self._observe(Usage(self.name, seconds))
        elif event == "wait_seconds":
            self._observe(Checkout(self.name, time.monotonic() - seconds, seconds))


def _unavailable(error: PoolError, deadline: Deadline) -> DeadlineExceeded | Unavailable:
    """What a caller is told that got no connection."""
    if not isinstance(error, PoolTimeout):
        return Unavailable(str(error))
    if deadline.passed():
        return DeadlineExceeded("The deadline passed while waiting for a connection.")
    cause = error.__cause__
    return Unavailable(str(error), failure=cause if isinstance(cause, DatabaseError) else None)
