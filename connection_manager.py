"""ConnectionManager: what stands between a resource and the stored procedures of one database."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import pyodbc

from database.breaker import Breaker
from database.deadline import Deadline, Watch
from database.dialects import Driver
from database.errors import DatabaseError, DeadlineExceeded, Kind, Unavailable, classify
from database.pool import Lease, Pool, PoolClosed, PoolQueueFull, PoolStats, PoolTimeout
from database.retry import again
from database.session import Answer, Session
from database.tokens import TokenSource, TokenUnavailable, pack

T = TypeVar("T")
log = logging.getLogger(__name__)


class ConnectionManager:
    """Calls procedures of one database: pooled, retried, inside a deadline, writes done once.

    connection_string: ODBC; family: which driver completes it, "sqlserver" or "postgresql".
    tokens: asked for an access token at each connect when the string names no user.
    pool: keyword options of database.pool.Pool. deadline_seconds: for a call that brings none.
    Knows nothing of Flask; make as many as you like, and close() each.
    """

    def __init__(
        self,
        connection_string: str,
        *,
        family: str,
        name: str = "database",
        tokens: TokenSource | None = None,
        login_timeout: float = 15.0,
        acquire_timeout: float = 10.0,
        deadline_seconds: float = 30.0,
        observe: Callable[[DatabaseError], None] | None = None,
        **pool: float,
    ) -> None:
        self.name = name
        self._driver = Driver(connection_string, family=family)
        self._tokens = tokens if self._driver.wants_token else None
        self._login_timeout = login_timeout
        self._acquire_timeout = acquire_timeout
        self._deadline_seconds = deadline_seconds
        self._observe = observe or self._log_retry
        self._watch = Watch()
        self._breaker = Breaker()
        # Whether a statement prepared before a session's reset may be executed after it: not
        # documented, so believed until the server says otherwise (8179).
        self._handles_survive_reset = True
        self._pool: Pool[Session] = Pool(
            self._connect, close=Session.close, ping=Session.ping, name=name, **pool
        )
        if self._tokens is not None:
            # Connections go with the token that made them, before the server finds it expired.
            self._tokens.on_refresh(lambda generation: self._pool.invalidate())

    def call(
        self,
        procedure: str,
        document: str = "{}",
        *,
        deadline: Deadline | None = None,
        repeatable: bool = True,
    ) -> Answer:
        """Call `schema.procedure` with one JSON document; its answer, read to the end.

        repeatable: asking twice is asking once, as for a read or a write with a key. Without it
        a failure in the midst of execution is reported, not retried.
        Raises DatabaseError, Unavailable (with retry_after), DeadlineExceeded.
        """
        deadline = deadline or Deadline(self._deadline_seconds)
        attempt = partial(self._attempt, procedure, document, deadline)
        return self._retried(attempt, deadline, repeatable=repeatable)

    def stream(self, procedure: str, document: str, *, deadline: Deadline | None = None) -> "Rows":
        """Call a procedure that reads and gives a row an item; the rows as they come.

        The first are here when this returns, so what fails before them raises as call() does.
        """
        deadline = deadline or Deadline(self._deadline_seconds)
        return self._retried(partial(self._begin_rows, procedure, document, deadline), deadline)

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

    def _retried(
        self, attempt: Callable[[], T], deadline: Deadline, *, repeatable: bool = True
    ) -> T:
        try:
            return attempt()
        except DatabaseError as first:
            if not first.kind.transient or not (repeatable or first.kind is not Kind.LOST):
                raise
            if first.kind is Kind.STALE_HANDLE:
                self._handles_survive_reset = False
                self._pool.invalidate()
            return again(attempt, first, deadline=deadline, observe=self._observe)

    def _attempt(self, procedure: str, document: str, deadline: Deadline) -> Answer:
        with _Care(self._checkout(deadline)) as session:
            return session.call(procedure, document, deadline)

    def _begin_rows(self, procedure: str, document: str, deadline: Deadline) -> "Rows":
        lease = self._checkout(deadline)
        try:
            return Rows(lease, lease.connection.rows(procedure, document, deadline))
        except BaseException as error:
            # In the midst of a transaction, so not fit to be lent again whatever it was.
            lease.evict()
            if isinstance(error, pyodbc.Error):
                raise classify(error) from None
            raise

    def _checkout(self, deadline: Deadline) -> Lease[Session]:
        try:
            return self._pool.checkout(min(self._acquire_timeout, deadline.remaining()))
        except PoolTimeout as error:
            if deadline.passed():
                raise DeadlineExceeded("The deadline passed in the queue.") from error
            raise Unavailable(str(error)) from error
        except (PoolQueueFull, PoolClosed) as error:
            raise Unavailable(str(error)) from error

    def _connect(self, remaining: float) -> Session:
        self._breaker.admit()
        try:
            session = self._connect_once(remaining)
        except DatabaseError as failure:
            if failure.kind in (Kind.UNREACHABLE, Kind.LOST):
                self._breaker.failed()
            else:
                # It answers, if only to say that it is resuming, busy or not for us.
                self._breaker.succeeded()
            raise
        except BaseException:
            self._breaker.failed()
            raise
        self._breaker.succeeded()
        return session

    def _connect_once(self, remaining: float) -> Session:
        timeout = min(self._login_timeout, remaining)
        if self._tokens is None:
            return self._open(timeout, None)
        try:
            token = self._tokens.get(timeout=timeout)
            try:
                return self._open(timeout, pack(token.value))
            except DatabaseError as failure:
                if failure.kind is not Kind.LOGIN_REFUSED:
                    raise
                self._tokens.reject(token)
                return self._open(timeout, pack(self._tokens.get(timeout=timeout).value))
        except TokenUnavailable as error:
            raise Unavailable(str(error), retry_after=5) from error

    def _open(self, timeout: float, token: bytes | None) -> Session:
        try:
            connection, found = self._driver.connect(timeout, token=token)
            return Session(
                connection, self._watch, found=found, keep_cursors=self._handles_survive_reset
            )
        except pyodbc.Error as error:
            raise classify(error) from None

    def _log_retry(self, failure: DatabaseError) -> None:
        log.warning("%s: %s; trying again", self.name, failure)


class Rows:
    """A result under way: batches of JSON texts, one text an item. One thread, once.

    Exhausted, the connection is checked in; close() before that evicts it, which stops the
    statement. Raises DatabaseError or DeadlineExceeded in the midst; then the result is short.
    """

    def __init__(self, lease: Lease[Session], batches: Iterator[list[str]]) -> None:
        self._lease = lease
        self._batches = batches

    def __iter__(self) -> Iterator[list[str]]:
        try:
            yield from self._batches
            self._lease.checkin()
        except pyodbc.Error as error:
            raise classify(error) from None
        finally:
            self.close()

    def close(self) -> None:
        """Safe to call twice, and after the end."""
        self._lease.evict()


class _Care:
    """Evicts what is not fit to be lent again, and gives the driver's error its meaning."""

    __slots__ = ("_lease",)

    def __init__(self, lease: Lease[Session]) -> None:
        self._lease = lease

    def __enter__(self) -> Session:
        return self._lease.connection

    def __exit__(self, kind: type[BaseException] | None, error: object, _: object) -> None:
        if kind is None:
            self._lease.checkin()
        elif isinstance(error, pyodbc.Error):
            failure = classify(error)
            if failure.kind.spoils_connection:
                self._lease.evict()
            else:
                self._lease.checkin()
            raise failure from None
        else:
            # Among them DeadlineExceeded: the cancel may still be on its way to what runs next.
            self._lease.evict()
