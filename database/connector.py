"""Opens the sessions of one database: driver, token, login timeout, circuit breaker."""

import threading
import time
from weakref import WeakSet

from database.circuit_breaker import CircuitBreaker, CircuitOpen
from database.connect.drivers import Driver
from database.connect.tokens import TokenSource, TokenUnavailable, pack
from database.deadline import Deadline, DeadlineWatchdog
from database.errors import DatabaseError, Kind, Unavailable
from database.events import CircuitBreakerOpened, Connect, Observe, TokenRequested
from database.session import Session, translated


class Connector:
    """Connects for a pool. Arguments as in ConnectionManager; thread-safe.

    engine: as in database.dialects; before the first connection, the driver's.
    """

    def __init__(
        self,
        connection_string: str,
        *,
        family: str,
        name: str,
        tokens: TokenSource | None,
        login_timeout: float,
        observe: Observe,
    ) -> None:
        self.engine = family
        self._name = name
        self._driver = Driver(connection_string, family=family)
        self._tokens = tokens if self._driver.wants_token else None
        self._login_timeout = login_timeout
        self._observe = observe
        self._watchdog = DeadlineWatchdog()
        self._breaker = CircuitBreaker()
        # Whether a statement prepared before a session reset can be executed after it: not
        # documented, so assumed until the server reports an unknown handle (8179).
        self._handles_survive_reset = True
        self._sessions: WeakSet[Session] = WeakSet()
        self._sessions_lock = threading.Lock()
        if self._tokens is not None:
            self._tokens.on_attempt(lambda failure: observe(TokenRequested(failure)))

    def connect(self, remaining: float) -> Session:
        """A session, within `remaining` seconds; refused while the circuit breaker is open.

        Raises CircuitOpen, and otherwise as open() does.
        """
        self._breaker.admit()
        began = time.monotonic()
        try:
            session = self.open(remaining)
        except BaseException as failure:
            self._observe(Connect(self._name, began, time.monotonic() - began, failure))
            no_answer = (Kind.UNREACHABLE, Kind.LOST)
            if isinstance(failure, DatabaseError) and failure.kind not in no_answer:
                # The server answered, even if it is resuming, throttling or refused the login.
                self._breaker.record_success()
            elif self._breaker.record_failure():
                self._observe(CircuitBreakerOpened(self._name))
            raise
        self._observe(Connect(self._name, began, time.monotonic() - began, None))
        self._breaker.record_success()
        return session

    def open(self, remaining: float) -> Session:
        """A session, within `remaining` seconds and the login timeout.

        A refused token is replaced once. Raises DatabaseError, or Unavailable without a token.
        """
        ends = time.monotonic() + min(self._login_timeout, remaining)

        def left() -> float:
            """Seconds left for requesting a token and logging in together."""
            return max(0.0, ends - time.monotonic())

        if self._tokens is None:
            return self._log_in(left(), None)
        try:
            token = self._tokens.get(timeout=left())
            try:
                session = self._log_in(left(), pack(token.value))
            except DatabaseError as failure:
                if failure.kind is not Kind.LOGIN_REFUSED:
                    raise
                self._tokens.reject(token)
                token = self._tokens.get(timeout=left())
                session = self._log_in(left(), pack(token.value))
        except TokenUnavailable as error:
            raise Unavailable(str(error), retry_after=5) from error
        session.lifetime = token.connection_lifetime(time.time())
        return session

    def probe(self) -> None:
        """open(), ping and close."""
        session = self.open(self._login_timeout)
        try:
            if not session.ping(self._login_timeout):
                raise DatabaseError(Kind.LOST)
        finally:
            session.close()

    def forget_handles(self) -> None:
        """Sessions opened from now on keep no prepared statement across a reset."""
        self._handles_survive_reset = False

    def cut(self) -> None:
        """Cut every open session."""
        with self._sessions_lock:
            sessions = list(self._sessions)
        for session in sessions:
            session.cut()

    def close(self) -> None:
        self._watchdog.close()
        if self._tokens is not None:
            self._tokens.close()

    def _log_in(self, timeout: float, token: bytes | None) -> Session:
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
            raise translated(error) from None
        if watched.end():
            session.close()
            raise DatabaseError(Kind.UNREACHABLE)
        self.engine = session.engine
        with self._sessions_lock:
            self._sessions.add(session)
        return session


def is_refusal(error: Exception) -> bool:
    """Whether a failed connect may be due to a limit on connections, or to an outage that the
    pool's other connections may survive.

    psqlodbc reports 08001 for "too many clients" (53300) as well as for a refused port.
    """
    if isinstance(error, DatabaseError):
        return error.kind in (Kind.THROTTLED, Kind.UNREACHABLE)
    return isinstance(error, CircuitOpen)
