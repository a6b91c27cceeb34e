"""Keeps a dead database from being hammered: one probe at a time while it is known to be down."""

import threading
import time
from collections.abc import Callable

from database.errors import Unavailable

THRESHOLD = 3
FIRST_PAUSE = 0.05
# A database that is back is found so soon.
LONGEST_PAUSE = 0.25


class BreakerOpen(Unavailable):
    """The last connects failed, and it is too soon for another."""


class CircuitBreaker:
    """Opens after `THRESHOLD` connects failed in a row; closes with the first that succeeds.

    While open, `admit()` raises BreakerOpen at once, except that one caller after each pause
    (seconds, doubled to LONGEST_PAUSE) is let through as the probe.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._probing = False
        self._next_probe = 0.0
        self._pause = FIRST_PAUSE

    @property
    def open(self) -> bool:
        return self._failures >= THRESHOLD

    def admit(self) -> None:
        """Let a caller try to connect, or raise BreakerOpen."""
        if not self.open:
            return
        with self._lock:
            if self.open:
                left = self._next_probe - self._clock()
                if self._probing or left > 0:
                    raise BreakerOpen("The database is known to be down.", retry_after=left)
                self._probing = True

    def succeeded(self) -> None:
        with self._lock:
            self._failures, self._probing, self._pause = 0, False, FIRST_PAUSE

    def failed(self) -> bool:
        """Note a failure; True if this one has opened it."""
        with self._lock:
            self._failures += 1
            if self._failures >= THRESHOLD:
                self._next_probe = self._clock() + self._pause
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
            self._probing = False
            return self._failures == THRESHOLD
