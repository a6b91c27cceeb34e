"""The deadline of a request, and the watchdog that cancels a statement when it passes."""

import logging
import math
import threading
import time
from collections.abc import Callable

from database.errors import DeadlineExceeded

log = logging.getLogger(__name__)

# How late a cancel may be. Polling this often costs less than waking a thread for each statement,
# which took longer than the rest of a call.
TICK_SECONDS = 0.02
# A reachable server ends a cancelled statement sooner than this.
CANCEL_GRACE_SECONDS = 0.5


class Deadline:
    """A moment on the monotonic clock that queueing, connecting, retries and execution share."""

    __slots__ = ("_clock", "at")

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.at = clock() + seconds

    def remaining(self, now: float | None = None) -> float:
        """Seconds left, more than 0. Raises DeadlineExceeded. now: the present moment, if known."""
        left = self.at - (self._clock() if now is None else now)
        if left <= 0:
            raise DeadlineExceeded("The request's deadline has passed.")
        return left

    def passed(self) -> bool:
        return self._clock() >= self.at


class DeadlineWatchdog:
    """Cancels each watched call at its deadline, and abandons it if it is still running
    CANCEL_GRACE_SECONDS later.

    One daemon thread per watchdog polls the registered calls. Each cancel runs in a thread of its
    own, so that one that blocks on a frozen network does not delay the others.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._members: set[WatchedCall] = set()
        self._thread: threading.Thread | None = None
        self._closed = False

    def register(self) -> "WatchedCall":
        """Watch one connection, which makes one call at a time, until its release()."""
        watched = WatchedCall(self)
        with self._changed:
            self._members.add(watched)
            # A forked child inherits the members, but not the thread.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="deadline", daemon=True)
                self._thread.start()
            self._changed.notify()
        return watched

    def guard(
        self, deadline: Deadline, cancel: Callable[[], None], abandon: Callable[[], None]
    ) -> "WatchedCall":
        """Watch the body of a `with` statement."""
        watched = self.register()
        watched.begin(deadline, cancel, abandon)
        return watched

    def release(self, watched: "WatchedCall") -> None:
        with self._changed:
            self._members.discard(watched)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._members.clear()
            self._changed.notify()
            thread = self._thread
        # It ends within a tick; in a forked child it does not run.
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._members and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                now = time.monotonic()
                late = [watched for watched in self._members if watched.at <= now]
            for watched in sorted(late, key=lambda watched: watched.at):
                watched.fire()
            time.sleep(TICK_SECONDS)


class WatchedCall:
    """One connection's calls. `at`: the deadline of the running one, infinite between two calls."""

    __slots__ = (
        "_abandon",
        "_after_cancel",
        "_cancel",
        "_cancelling",
        "_fired",
        "_lock",
        "_watchdog",
        "at",
    )

    def __init__(self, watchdog: DeadlineWatchdog) -> None:
        self._watchdog = watchdog
        self._lock = threading.Lock()
        self._cancel: Callable[[], None] = _nothing
        self._abandon: Callable[[], None] = _nothing
        self._cancelling = False
        self._fired = False
        self._after_cancel: Callable[[], None] | None = None
        self.at = math.inf

    @property
    def watch(self) -> DeadlineWatchdog:
        return self._watchdog

    @property
    def fired(self) -> bool:
        """Whether a deadline has passed during a call."""
        return self._fired

    def __enter__(self) -> "WatchedCall":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self.release()

    def begin(
        self,
        deadline: Deadline,
        cancel: Callable[[], None],
        abandon: Callable[[], None],
    ) -> None:
        """Watch the work that follows, until end()."""
        self._cancel = cancel
        self._abandon = abandon
        self.at = deadline.at

    def end(self) -> bool:
        """Stop watching the call. True if its deadline passed: then evict the connection, because
        the cancel may still arrive and hit its next statement."""
        with self._lock:
            self.at = math.inf
            return self._fired

    def release(self) -> None:
        self._watchdog.release(self)

    def when_cancelled(self, work: Callable[[], None]) -> None:
        """Run `work()` now, or after a cancel that is running.

        The driver's cancel uses the statement's handle: freeing it during the cancel would crash.
        """
        with self._lock:
            if self._cancelling:
                self._after_cancel = work
                return
        work()

    def fire(self) -> None:
        """Cancel the call, and abandon it if that does not end it; each in a thread of its own."""
        with self._lock:
            if self.at == math.inf or self._fired:
                return
            self._fired = self._cancelling = True
        threading.Thread(target=self._run_cancel, name="cancel", daemon=True).start()
        threading.Thread(target=self._run_abandon, name="abandon", daemon=True).start()

    def _run_cancel(self) -> None:
        try:
            self._cancel()
        except Exception as error:  # the statement may have just ended
            log.debug("cancel failed: %s", type(error).__name__)
        with self._lock:
            self._cancelling = False
            work, self._after_cancel = self._after_cancel, None
        if work is not None:
            work()

    def _run_abandon(self) -> None:
        ended = time.monotonic() + CANCEL_GRACE_SECONDS
        while self.at != math.inf:
            if time.monotonic() > ended:
                self._abandon()
                return
            time.sleep(CANCEL_GRACE_SECONDS / 20)


def _nothing() -> None:
    """The cancel and abandon of a connection that makes no call."""
