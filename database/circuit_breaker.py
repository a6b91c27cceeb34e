"""Stops connecting to a database that is down, except for one probe at a time."""

import threading
import time
from collections.abc import Callable
from typing import Literal

from database.errors import Unavailable

THRESHOLD = 3
FIRST_PAUSE = 0.05
# The longest time, in seconds, for which a recovered database goes unnoticed.
LONGEST_PAUSE = 0.25


class CircuitOpen(Unavailable):
    """The last connects failed, and the next probe is not due yet."""


class CircuitBreaker:
    """Closed until `THRESHOLD` connects in a row have failed; a successful connect closes it again.

    While it is open, `admit()` raises CircuitOpen. After each pause (seconds, doubled up to
    LONGEST_PAUSE) it is half-open: one caller may connect as a probe, the others are refused.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._probing = False
        self._next_probe = 0.0
        self._pause = FIRST_PAUSE

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        if self._failures < THRESHOLD:
            return "closed"
        return "half-open" if self._probing or self._clock() >= self._next_probe else "open"

    def admit(self) -> None:
        """Return if the caller may connect; raise CircuitOpen if not."""
        if self._failures < THRESHOLD:
            return
        with self._lock:
            if self.state == "closed":
                return
            if self._probing or self.state == "open":
                left = self._next_probe - self._clock()
                raise CircuitOpen(
                    "The database does not accept connections; the next attempt follows shortly.",
                    retry_after=left,
                )
            self._probing = True

    def record_success(self) -> None:
        with self._lock:
            self._failures, self._probing, self._pause = 0, False, FIRST_PAUSE

    def record_failure(self) -> bool:
        """Count a failure; True if it opened the circuit."""
        with self._lock:
            self._failures += 1
            if self._failures >= THRESHOLD:
                self._next_probe = self._clock() + self._pause
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
            self._probing = False
            return self._failures == THRESHOLD
