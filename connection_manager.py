"""ConnectionManager: calls the stored procedures of one database for the resources."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary, WeakSet

import pyodbc

from database.circuit_breaker import CircuitBreaker, CircuitOpen
from database.connect.drivers import Driver
from database.connect.tokens import AccessToken, TokenSource, TokenUnavailable, pack
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
from database.statement import Guard, ResultColumn, ResultSet, Statement

P = ParamSpec("P")
T = TypeVar("T")
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
        self._driver = Driver(connection_string, family=family)
        self._tokens = tokens if self._driver.wants_token else None
        self._login_timeout = login_timeout
        self._acquire_timeout = acquire_timeout
        self._deadline_seconds = deadline_seconds
        self._retries = retries
        self._observe = observe
        self._engine = family  # until a connection has reported its engine
        self._watchdog = DeadlineWatchdog()
        self._breaker = CircuitBreaker()
        self._flights: SingleFlight[Answer] = SingleFlight(at_once=UNSHARED_READS)
        # Whether a statement prepared before a session reset can be executed after it: not
        # documented, so assumed until the server reports an unknown handle (8179).
        self._handles_survive_reset = True
        self._sessions: WeakSet[Session] = WeakSet()
        self._sessions_lock = threading.Lock()
        self._session_tokens: WeakKeyDictionary[Session, AccessToken] = WeakKeyDictionary()
        self._pool: Pool[Session] = Pool(
            self._connect,
            close=Session.close,
            ping=Session.ping,
            refused=_is_refusal,
            lifetime=self._lifetime,
            name=name,
            observe=None if observe is unobserved else self._on_pool_event,
            **pool,
        )
        if self._tokens is not None:
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
        """Call `schema.procedure` with one JSON document. Returns its answer, read to the end.

        caller: a JSON document of at most CALLER_MAX_CHARACTERS with the caller's identity; the
        procedure finds it in SESSION_CONTEXT(N'caller') or current_setting('request.caller', true).
        repeatable: the call is idempotent, that is a read or a write with a key. Otherwise an error
        after execution began is reported, not retried.
        Raises DatabaseError, Unavailable (with retry_after), DeadlineExceeded.
        """
        limit = deadline or Deadline(self._deadline_seconds)
        return self._run(
            procedure, limit, repeatable, Session.call, procedure, document, limit, caller
        )

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
        answer, flight = self._flights.join((procedure, document, caller, guard), limit)
        if flight is None:
            assert answer is not None
            self._observe(SharedRead("joined"))
            return answer
        with flight:
            if guard is None:
                answer = self._run(
                    procedure, limit, True, Session.call, procedure, document, limit, caller
                )
            else:
                work = partial(Session.guarded_call, guard=guard)
                answer = self._run(procedure, limit, True, work, procedure, document, limit, caller)
            flight.answer = answer
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
        """Run a statement that calls `procedure`. Returns every result set, read to the end.

        procedure: its name in logs and metrics. caller, repeatable, errors: as in call().
        """
        limit = deadline or Deadline(self._deadline_seconds)
        return self._run(procedure, limit, repeatable, Session.execute, statement, limit, caller)

    def execute_once(
        self, name: str, statement: Statement, *, deadline: Deadline
    ) -> list[ResultSet]:
        """execute() in a single attempt, which is neither logged nor counted as a call."""
        return self._attempt(name, deadline, True, Session.execute, statement, deadline)

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
        return self._stream(
            procedure,
            lambda session: (
                (),
                session.rows(procedure, document, limit, caller=caller, guard=guard),
            ),
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
        """Run a statement that only reads. Returns the rows of its first result set in batches.

        procedure: its name in logs and metrics. Otherwise as stream().
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
        """A pooled connection for a library such as SQLAlchemy; close() checks it in.

        Connecting is retried. Statements on it are not, and raise the driver's errors, which
        database.errors.classify translates. Raises as call() does.
        """
        deadline = deadline or Deadline(self._deadline_seconds)
        return self.retried(partial(self._checkout_connection, deadline), deadline)

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
        session = self._connect_once(self._login_timeout)
        try:
            if not session.ping(self._login_timeout):
                raise DatabaseError(Kind.LOST)
        finally:
            session.close()

    def cut(self) -> None:
        """Cut every connection: statements that wait for a frozen server fail with Kind.LOST."""
        with self._sessions_lock:
            sessions = list(self._sessions)
        for session in sessions:
            session.cut()

    @property
    def engine(self) -> str:
        """The database engine, as in database.dialects; before the first connection, the
        driver's."""
        return self._engine

    def stats(self) -> PoolStats:
        return self._pool.stats()

    def close(self, timeout: float = 0.0) -> bool:
        """Close the pool; True when every connection was checked in within `timeout` seconds."""
        drained = self._pool.close(timeout)
        self._watchdog.close()
        if self._tokens is not None:
            self._tokens.close()
        return drained

    def __repr__(self) -> str:
        return f"<ConnectionManager {self.name} {self._pool!r}>"

    def _run(
        self,
        procedure: str,
        deadline: Deadline,
        repeatable: bool,
        work: Callable[Concatenate[Session, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """`work(session, ...)` with retries, observed as one call of `procedure`."""
        began = time.monotonic()
        attempt = partial(self._attempt, procedure, deadline, repeatable, work, *args, **kwargs)
        try:
            # Call once outside tenacity, so that success skips its overhead.
            try:
                result = attempt()
            except DatabaseError as first:
                result = self._retry(attempt, first, deadline)
        except BaseException as failure:
            self._observe_call(procedure, began, failure, False)
            raise
        if self._observe is not unobserved:
            replayed = isinstance(result, Answer) and bool(result.replayed)
            self._observe_call(procedure, began, None, replayed)
        return result

    def _retry(self, attempt: Callable[[], T], first: DatabaseError, deadline: Deadline) -> T:
        """Retry after a first attempt that raised `first`. Raises as retried() does."""
        if not first.kind.transient or first.may_have_run:
            raise first
        if first.kind is Kind.STALE_HANDLE:
            self._handles_survive_reset = False
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
        repeatable: bool,
        work: Callable[Concatenate[Session, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Check out a session, run `work` on it once, check it in."""
        began = time.monotonic()
        try:
            lease = self._checkout(deadline)
            try:
                result = work(lease.connection, *args, **kwargs)
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
        return result

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
                # Its transaction is still open, whatever the error was.
                raise end_rows(lease, error) from None
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
                raise DeadlineExceeded(
                    "The deadline passed while waiting for a connection."
                ) from error
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
            no_answer = (Kind.UNREACHABLE, Kind.LOST)
            if isinstance(failure, DatabaseError) and failure.kind not in no_answer:
                # The server answered, even if it is resuming, throttling or refused the login.
                self._breaker.record_success()
            elif self._breaker.record_failure():
                self._observe(CircuitBreakerOpened(self.name))
            raise
        self._observe(Connect(self.name, began, time.monotonic() - began, None))
        self._breaker.record_success()
        return session

    def _connect_once(self, remaining: float) -> Session:
        ends = time.monotonic() + min(self._login_timeout, remaining)

        def left() -> float:
            """Seconds left for requesting a token and logging in together."""
            return max(0.0, ends - time.monotonic())

        if self._tokens is None:
            return self._open(left(), None)
        try:
            token = self._tokens.get(timeout=left())
            try:
                session = self._open(left(), pack(token.value))
            except DatabaseError as failure:
                if failure.kind is not Kind.LOGIN_REFUSED:
                    raise
                self._tokens.reject(token)
                token = self._tokens.get(timeout=left())
                session = self._open(left(), pack(token.value))
        except TokenUnavailable as error:
            raise Unavailable(str(error), retry_after=5) from error
        self._session_tokens[session] = token
        return session

    def _lifetime(self, session: Session) -> float:
        """Seconds for which a new session may be pooled: its access token must not expire."""
        token = self._session_tokens.get(session)
        return math.inf if token is None else token.connection_lifetime(time.time())

    def _open(self, timeout: float, token: bytes | None) -> Session:
        attempt = self._driver.connect_attempt(timeout, token=token)
        watched = self._watchdog.register()
        # Drivers ignore their login timeout if the network freezes after the login.
        watched.begin(Deadline(timeout), attempt.abandon, attempt.abandon)
        try:
            session = Session(
                attempt.connect(),
                watched,
                abandon=attempt.abandon,
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
        with self._sessions_lock:
            self._sessions.add(session)
        return session

    def _observe_call(
        self, procedure: str, began: float, failure: BaseException | None, replayed: bool
    ) -> None:
        if isinstance(failure, DatabaseError) and failure.kind is Kind.BEHIND:
            return  # no failed call: another database serves the read
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

    def __iter__(self) -> Iterator[list[Any]]:
        try:
            yield from self._batches
            self._lease.checkin()
        except pyodbc.Error as error:
            raise translate_error(error) from None
        finally:
            self.close()

    def close(self) -> None:
        """Stop the statement. Safe to call again, and after the end."""
        self._lease.evict()


def _is_refusal(error: Exception) -> bool:
    """Whether a failed connect may be due to a limit on connections, or to an outage that the
    pool's other connections may survive.

    psqlodbc reports 08001 for "too many clients" (53300) as well as for a refused port.
    """
    if isinstance(error, DatabaseError):
        return error.kind in (Kind.THROTTLED, Kind.UNREACHABLE)
    return isinstance(error, CircuitOpen)


def translate_error(error: BaseException) -> BaseException:
    """The DatabaseError for a driver's error; any other error unchanged."""
    return classify(error) if isinstance(error, pyodbc.Error) else error


def end_rows(lease: Lease[Session], error: BaseException) -> BaseException:
    """End a lease whose rows did not begin. Returns the translated error.

    Behind a guard that failed nothing has run, so a rollback makes the connection usable again.
    """
    failure = translate_error(error)
    if isinstance(failure, DatabaseError) and failure.kind is Kind.BEHIND:
        try:
            lease.connection.checkin()
        except pyodbc.Error:
            lease.evict()
        else:
            lease.checkin()
    else:
        lease.evict()
    return failure


def release(lease: Lease[Session], error: BaseException) -> BaseException:
    """End a lease whose work raised `error`. Returns the translated error.

    The connection is checked in only after a database error that leaves it usable. After
    DeadlineExceeded it is evicted: the cancel might otherwise hit the next statement.
    """
    failure = translate_error(error)
    if isinstance(failure, DatabaseError) and not failure.kind.spoils_connection:
        lease.checkin()
    else:
        lease.evict()
    return failure
