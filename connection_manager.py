"""ConnectionManager: what stands between a resource and the stored procedures of one database."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import pyodbc

from database.circuit_breaker import BreakerOpen, CircuitBreaker
from database.connect.drivers import Driver
from database.connect.tokens import TokenSource, TokenUnavailable, pack
from database.deadline import Deadline, DeadlineWatchdog
from database.errors import DatabaseError, DeadlineExceeded, Kind, Unavailable, classify
from database.events import (
    Attempt,
    Call,
    Checkout,
    CircuitBreakerOpened,
    Connect,
    Observe,
    Retry,
    SharedRead,
    TokenRequested,
    Usage,
    unobserved,
)
from database.pool import Lease, Pool, PoolClosed, PoolQueueFull, PoolStats, PoolTimeout
from database.pooled_connection import PooledConnection
from database.retry import retry
from database.session import Answer, Session
from database.single_flight import SingleFlight
from database.statement import ResultColumn, ResultSet, Statement

T = TypeVar("T")


class ConnectionManager:
    """Calls procedures of one database: pooled, retried, inside a deadline, writes done once.

    connection_string: ODBC; family: which driver completes it, "sqlserver" or "postgresql".
    tokens: asked for an access token at each connect when the string names no user.
    pool: keyword options of database.pool.Pool. deadline_seconds: for a call that brings none.
    observe: hears what happens, see database.events; it must be quick and not raise.
    Knows nothing of Flask; make as many as you like, and close() each.
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
        observe: Observe = unobserved,
        **pool: float,
    ) -> None:
        self.name = name
        self._driver = Driver(connection_string, family=family)
        self._tokens = tokens if self._driver.wants_token else None
        self._login_timeout = login_timeout
        self._acquire_timeout = acquire_timeout
        self._deadline_seconds = deadline_seconds
        self._observe = observe
        self._engine = family  # until a connection has said what it is
        self._watch = DeadlineWatchdog()
        self._breaker = CircuitBreaker()
        self._reads: SingleFlight[Answer] = SingleFlight()
        # Whether a statement prepared before a session's reset may be executed after it: not
        # documented, so believed until the server says otherwise (8179).
        self._handles_survive_reset = True
        self._pool: Pool[Session] = Pool(
            self._connect,
            close=Session.close,
            ping=Session.ping,
            refused=_is_refusal,
            name=name,
            observe=None if observe is unobserved else self._on_pool_event,
            **pool,
        )
        if self._tokens is not None:
            # Connections go with the token that made them, before the server finds it expired.
            self._tokens.on_refresh(lambda generation: self._pool.invalidate())
            self._tokens.on_attempt(lambda failure: self._observe(TokenRequested(failure)))

    def call(
        self,
        procedure: str,
        document: str = "{}",
        *,
        caller: str | None = None,
        deadline: Deadline | None = None,
        repeatable: bool = True,
    ) -> Answer:
        """Call `schema.procedure` with one JSON document; its answer, read to the end.

        caller: a JSON document of at most CALLER_MAX_CHARACTERS that says who asks: in the
        procedure SESSION_CONTEXT(N'caller') or current_setting('request.caller', true).
        repeatable: asking twice is asking once, as for a read or a write with a key. Without it
        a failure in the midst of execution is reported, not retried.
        Raises DatabaseError, Unavailable (with retry_after), DeadlineExceeded.
        """
        if deadline is None:
            deadline = Deadline(self._deadline_seconds)
        began = time.monotonic()
        try:
            answer = self._execute(
                procedure,
                lambda session: session.call(procedure, document, deadline, caller),
                deadline,
                repeatable,
            )
        except BaseException as failure:
            self._observe_call(procedure, began, failure, False)
            raise
        if self._observe is not unobserved:
            self._observe_call(procedure, began, None, bool(answer.replayed))
        return answer

    def execute(
        self,
        procedure: str,
        statement: Statement,
        *,
        caller: str | None = None,
        deadline: Deadline | None = None,
        repeatable: bool = False,
    ) -> list[ResultSet]:
        """Run a statement that calls `procedure`; every result set, read to the end.

        procedure: its name in logs and metrics. caller, repeatable, errors: as in call().
        """
        limit = deadline or Deadline(self._deadline_seconds)
        began = time.monotonic()
        try:
            results = self._execute(
                procedure,
                lambda session: session.execute(statement, limit, caller),
                limit,
                repeatable,
            )
        except BaseException as failure:
            self._observe_call(procedure, began, failure, False)
            raise
        if self._observe is not unobserved:
            self._observe_call(procedure, began, None, False)
        return results

    def execute_once(
        self, name: str, statement: Statement, *, deadline: Deadline
    ) -> list[ResultSet]:
        """As execute(), in one attempt that is neither logged nor counted as a call."""
        return self._attempt(name, lambda session: session.execute(statement, deadline), deadline)

    def _execute(
        self,
        procedure: str,
        work: Callable[[Session], T],
        deadline: Deadline,
        repeatable: bool,
    ) -> T:
        # Call once outside tenacity, so that success skips its overhead.
        try:
            return self._attempt(procedure, work, deadline, repeatable)
        except DatabaseError as first:
            attempt = partial(self._attempt, procedure, work, deadline, repeatable)
            return self._retry(attempt, first, deadline)

    def read(
        self,
        procedure: str,
        document: str = "{}",
        *,
        caller: str | None = None,
        deadline: Deadline | None = None,
    ) -> Answer:
        """call() for a procedure that only reads: who asks the same at the same time shares one
        call, begun after each of them asked. Raises as call() does.
        """
        if deadline is None:
            deadline = Deadline(self._deadline_seconds)
        ask = partial(self.call, procedure, document, caller=caller, deadline=deadline)
        answer, shared = self._reads.get((procedure, document, caller), ask, deadline)
        if shared:
            self._observe(SharedRead("joined"))
        return answer

    def stream(
        self,
        procedure: str,
        document: str,
        *,
        caller: str | None = None,
        deadline: Deadline | None = None,
    ) -> "Rows":
        """Call a procedure that reads and gives a row an item; the rows as they come.

        The first are here when this returns, so what fails before them raises as call() does.
        """
        limit = deadline or Deadline(self._deadline_seconds)
        return self._stream(
            procedure,
            lambda session: ((), session.rows(procedure, document, limit, caller=caller)),
            limit,
        )

    def stream_rows(
        self,
        procedure: str,
        statement: Statement,
        *,
        caller: str | None = None,
        deadline: Deadline | None = None,
    ) -> "Rows":
        """Run a statement that only reads; the rows of its first result set as they come.

        procedure: its name in logs and metrics. As stream().
        """
        limit = deadline or Deadline(self._deadline_seconds)
        return self._stream(
            procedure, lambda session: session.batches(statement, limit, caller=caller), limit
        )

    def _stream(
        self,
        procedure: str,
        begin: Callable[[Session], tuple[tuple[ResultColumn, ...], Iterator[list[Any]]]],
        deadline: Deadline,
    ) -> "Rows":
        began = time.monotonic()
        try:
            rows = self.retried(partial(self._begin_rows, procedure, begin, deadline), deadline)
        except BaseException as failure:
            self._observe_call(procedure, began, failure, False)
            raise
        self._observe_call(procedure, began, None, False)
        return rows

    def checkout(self, *, deadline: Deadline | None = None) -> PooledConnection:
        """A pooled connection for a library that wants one of its own; close() gives it back.

        Connecting is retried; the statements are the borrower's, and raise as the driver does
        (database.errors.classify tells the meaning). Raises as call() does.
        """
        deadline = deadline or Deadline(self._deadline_seconds)
        return self.retried(partial(self._checkout_connection, deadline), deadline)

    def retried(self, attempt: Callable[[], T], deadline: Deadline) -> T:
        """What `attempt()` gives, made again while it raises a transient DatabaseError.

        As in call(); raises what the last attempt did, Unavailable where time ran out.
        """
        try:
            return attempt()
        except DatabaseError as first:
            return self._retry(attempt, first, deadline)

    def probe(self) -> None:
        """Connect to the database and ping it, past pool, queue and breaker.

        Returns if it answered within the login timeout. Raises DatabaseError, or Unavailable where
        no token was to be had.
        """
        session = self._connect_once(self._login_timeout)
        try:
            if not session.ping(self._login_timeout):
                raise DatabaseError(Kind.LOST)
        finally:
            session.close()

    @property
    def engine(self) -> str:
        """What the database is, as in database.dialects; before a connection, what its driver is
        made for."""
        return self._engine

    def stats(self) -> PoolStats:
        return self._pool.stats()

    def close(self, timeout: float = 0.0) -> bool:
        """Drain and close; True when every connection came back within `timeout` seconds."""
        drained = self._pool.close(timeout)
        self._watch.close()
        if self._tokens is not None:
            self._tokens.close()
        return drained

    def __repr__(self) -> str:
        return f"<ConnectionManager {self.name} {self._pool!r}>"

    def _retry(self, attempt: Callable[[], T], first: DatabaseError, deadline: Deadline) -> T:
        """After a first attempt that raised `first`: as retried()."""
        if not first.kind.transient or first.may_have_run:
            raise first
        if first.kind is Kind.STALE_HANDLE:
            self._handles_survive_reset = False
            self._pool.invalidate()
        return retry(
            attempt,
            first,
            deadline=deadline,
            observe=lambda failure: self._observe(Retry(self.name, failure)),
        )

    def _attempt(
        self,
        procedure: str,
        work: Callable[[Session], T],
        deadline: Deadline,
        repeatable: bool = True,
    ) -> T:
        began = time.monotonic()
        try:
            lease = self._checkout(deadline)
            try:
                answer = work(lease.connection)
            except BaseException as error:
                failure = release(lease, error)
                if isinstance(failure, DatabaseError) and failure.kind is not Kind.STALE_HANDLE:
                    failure.may_have_run = not repeatable
                raise failure from None
            lease.checkin()
        except BaseException as failure:
            self._observe_attempt(procedure, began, failure)
            raise
        if self._observe is not unobserved:
            self._observe_attempt(procedure, began, None)
        return answer

    def _begin_rows(
        self,
        procedure: str,
        begin: Callable[[Session], tuple[tuple[ResultColumn, ...], Iterator[list[Any]]]],
        deadline: Deadline,
    ) -> "Rows":
        began = time.monotonic()
        try:
            lease = self._checkout(deadline)
            try:
                columns, batches = begin(lease.connection)
            except BaseException as error:
                # In the midst of a transaction, so not fit to be lent again whatever it was.
                lease.evict()
                raise translate_error(error) from None
        except BaseException as failure:
            self._observe_attempt(procedure, began, failure)
            raise
        self._observe_attempt(procedure, began, None)
        return Rows(lease, batches, columns)

    def _checkout_connection(self, deadline: Deadline) -> PooledConnection:
        lease = self._checkout(deadline)
        try:
            return PooledConnection(lease, deadline, self.name)
        except BaseException as error:
            lease.evict()
            raise translate_error(error) from None

    def _checkout(self, deadline: Deadline) -> Lease[Session]:
        try:
            return self._pool.checkout(min(self._acquire_timeout, deadline.remaining()))
        except PoolTimeout as error:
            if deadline.passed():
                raise DeadlineExceeded("The deadline passed in the queue.") from error
            cause = error.__cause__
            failure = cause if isinstance(cause, DatabaseError) else None
            raise Unavailable(str(error), failure=failure) from error
        except (PoolQueueFull, PoolClosed) as error:
            raise Unavailable(str(error)) from error

    def _connect(self, remaining: float) -> Session:
        self._breaker.admit()
        began = time.monotonic()
        try:
            session = self._connect_once(remaining)
        except BaseException as failure:
            self._observe(Connect(self.name, began, time.monotonic() - began, failure))
            away = (Kind.UNREACHABLE, Kind.LOST)
            if isinstance(failure, DatabaseError) and failure.kind not in away:
                # It answers, if only to say that it is resuming, busy or not for us.
                self._breaker.succeeded()
            elif self._breaker.failed():
                self._observe(CircuitBreakerOpened(self.name))
            raise
        self._observe(Connect(self.name, began, time.monotonic() - began, None))
        self._breaker.succeeded()
        return session

    def _connect_once(self, remaining: float) -> Session:
        ends = time.monotonic() + min(self._login_timeout, remaining)

        def left() -> float:
            """Seconds that fetching a token and logging in share."""
            return max(0.0, ends - time.monotonic())

        if self._tokens is None:
            return self._open(left(), None)
        try:
            token = self._tokens.get(timeout=left())
            try:
                return self._open(left(), pack(token.value))
            except DatabaseError as failure:
                if failure.kind is not Kind.LOGIN_REFUSED:
                    raise
                self._tokens.reject(token)
                return self._open(left(), pack(self._tokens.get(timeout=left()).value))
        except TokenUnavailable as error:
            raise Unavailable(str(error), retry_after=5) from error

    def _open(self, timeout: float, token: bytes | None) -> Session:
        opening = self._driver.connect_attempt(timeout, token=token)
        watched = self._watch.register()
        # No driver keeps to its login timeout once the network is frozen after the login.
        watched.begin(Deadline(timeout), opening.abandon, opening.abandon)
        try:
            session = Session(
                opening.connect(),
                watched,
                abandon=opening.abandon,
                keep_cursors=self._handles_survive_reset,
            )
        except BaseException as error:
            watched.end()
            watched.release()
            raise translate_error(error) from None
        if watched.end():
            session.close()
            raise DatabaseError(Kind.UNREACHABLE)
        self._engine = session.engine
        return session

    def _observe_call(
        self, procedure: str, began: float, failure: BaseException | None, replayed: bool
    ) -> None:
        seconds = time.monotonic() - began
        self._observe(Call(self.name, self._engine, procedure, began, seconds, failure, replayed))

    def _observe_attempt(self, procedure: str, began: float, failure: BaseException | None) -> None:
        seconds = time.monotonic() - began
        self._observe(Attempt(self.name, procedure, began, seconds, failure))

    def _on_pool_event(self, event: str, seconds: float) -> None:
        if event == "usage_seconds":
            self._observe(Usage(self.name, seconds))
        elif event == "wait_seconds":
            self._observe(Checkout(self.name, time.monotonic() - seconds, seconds))


class Rows:
    """A result under way, in batches: JSON texts, or rows of `columns`. One thread, once.

    Exhausted, the connection is checked in; close() before that evicts it, which stops the
    statement. Raises DatabaseError or DeadlineExceeded in the midst; then the result is short.
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

    def __iter__(self) -> Iterator[list[Any]]:
        try:
            yield from self._batches
            self._lease.checkin()
        except pyodbc.Error as error:
            raise translate_error(error) from None
        finally:
            self.close()

    def close(self) -> None:
        """Safe to call twice, and after the end."""
        self._lease.evict()


def _is_refusal(error: Exception) -> bool:
    """Whether a connect that failed may be due to a limit on connections, or to an outage that
    the pool's other connections may survive.

    psqlodbc does not pass the SQLSTATE of a failed login on: "too many clients" (53300) has the
    same 08001 as a refused port.
    """
    if isinstance(error, DatabaseError):
        return error.kind in (Kind.THROTTLED, Kind.UNREACHABLE)
    return isinstance(error, BreakerOpen)


def translate_error(error: BaseException) -> BaseException:
    """A driver's error as the DatabaseError that it means; any other as it is."""
    return classify(error) if isinstance(error, pyodbc.Error) else error


def release(lease: Lease[Session], error: BaseException) -> BaseException:
    """End a lease that ended in `error`, and give the driver's errors their meaning.

    Evicted is what is not fit to be lent again. That it is after DeadlineExceeded too: the cancel
    may still be on its way to whatever runs next.
    """
    failure = translate_error(error)
    if isinstance(failure, DatabaseError) and not failure.kind.spoils_connection:
        lease.checkin()
    else:
        lease.evict()
    return failure
