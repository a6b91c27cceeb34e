"""The one deadline of a request, and the watch that cancels a statement when it passes."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

from database.errors import DeadlineExceeded

log = logging.getLogger(__name__)


class Deadline:
    """A moment on the monotonic clock that queueing, connecting, retries and execution share."""

    __slots__ = ("_clock", "at")

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.at = clock() + seconds

    def remaining(self) -> float:
        """Seconds left; DeadlineExceeded when there are none."""
        left = self.at - self._clock()
        if left <= 0:
            raise DeadlineExceeded("The request's deadline has passed.")
        return left

    def passed(self) -> bool:
        return self._clock() >= self.at


# A server that is there ends a cancelled statement sooner than this.
CANCEL_GRACE_SECONDS = 0.5


class Watch:
    """Calls `cancel()` of each statement whose deadline passes before it is done, and `abandon()`
    if it is still not done CANCEL_GRACE_SECONDS later.

    One daemon thread a watch, started at the first statement. A cancel that itself blocks (a
    frozen network) must not keep the others waiting, so each runs in a thread of its own.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Watched]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._wakes_at = float("inf")

    def guard(
        self, deadline: Deadline, cancel: Callable[[], None], abandon: Callable[[], None]
    ) -> "Watched":
        """Watch a statement; use the result as a context around its execution."""
        watched = Watched(cancel, abandon)
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                self._wakes_at = float("inf")
                self._thread = threading.Thread(target=self._run, name="deadline", daemon=True)
                self._thread.start()
            while self._heap and self._heap[0][2].done:
                heapq.heappop(self._heap)
            heapq.heappush(self._heap, (deadline.at, next(self._order), watched))
            # Most requests have equal deadlines, so a later one need not wake the thread: a wake
            # a call would cost more than the rest of the call.
            if deadline.at < self._wakes_at:
                self._wakes_at = deadline.at
                self._changed.notify()
        return watched

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._heap.clear()
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                while self._heap and self._heap[0][2].done:
                    heapq.heappop(self._heap)
                if not self._heap:
                    self._wakes_at = float("inf")
                    self._changed.wait()
                    continue
                at, _, watched = self._heap[0]
                left = at - time.monotonic()
                if left > 0:
                    self._wakes_at = at
                    self._changed.wait(left)
                    continue
                heapq.heappop(self._heap)
                threading.Thread(target=watched.fire, name="cancel", daemon=True).start()


class Watched:
    """A statement under watch. `fired` says whether its deadline passed while it ran."""

    __slots__ = ("_abandon", "_cancel", "_cancelling", "_lock", "_then", "done", "fired")

    def __init__(self, cancel: Callable[[], None], abandon: Callable[[], None]) -> None:
        self._cancel = cancel
        self._abandon = abandon
        self._lock = threading.Lock()
        self._cancelling = False
        self._then: Callable[[], None] | None = None
        self.done = False
        self.fired = False

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *_: object) -> None:
        # Under the lock: either no cancel was sent, or `fired` is seen after this.
        with self._lock:
            self.done = True

    def when_cancelled(self, work: Callable[[], None]) -> None:
        """Do `work()` now, or after the cancel that is under way.

        The driver's cancel uses the statement's handle; freeing that meanwhile would crash.
        """
        with self._lock:
            if self._cancelling:
                self._then = work
                return
        work()

    def fire(self) -> None:
        """Cancel, and abandon what the cancel did not end. Runs in a thread of its own."""
        with self._lock:
            if self.done:
                return
            self.fired = self._cancelling = True
        threading.Thread(target=self._run_cancel, name="cancel", daemon=True).start()
        ended = time.monotonic() + CANCEL_GRACE_SECONDS
        while not self.done and time.monotonic() < ended:
            time.sleep(CANCEL_GRACE_SECONDS / 20)
        if not self.done:
            self._abandon()

    def _run_cancel(self) -> None:
        try:
            self._cancel()
        except Exception as error:  # the statement may end at this very moment
            log.debug("cancel failed: %s", type(error).__name__)
        with self._lock:
            self._cancelling = False
            work, self._then = self._then, None
        if work is not None:
            work()
