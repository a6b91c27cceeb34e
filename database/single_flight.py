"""Identical concurrent reads share one database call that started after all of them arrived.

A read does not join a call that is already running: that call may have looked at the data before a
write whose response the reader has already seen. It joins the next call for the same key instead.
So every answer is at least as fresh as its request, and a reader waits for at most one call before
its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from database.deadline import Deadline
from database.errors import DeadlineExceeded

T = TypeVar("T")
# The next call starts after this many seconds even if the running one is slow or hangs.
LONGEST_WAIT_SECONDS = 0.05
# A failure counts for every reader whose deadline is at most this much later than the caller's.
SIMILAR_DEADLINE_SECONDS = 1.0


class _Latch:
    """Opens once. A plain lock: creating an Event takes ten times as long."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        if self._lock.locked():
            self._lock.release()

    def wait(self, seconds: float) -> bool:
        """Whether it was open within `seconds`."""
        if not self._lock.acquire(timeout=seconds):
            return False
        self._lock.release()
        return True


class Flight(Generic[T]):
    """A call that has an owner and has not begun, or runs: further readers wait for its answer."""

    __slots__ = ("answer", "ended", "failure", "joined", "start", "until")

    def __init__(self, until: float) -> None:
        self.until = until  # the owner's deadline, on the monotonic clock
        self.answer: T | None = None
        self.failure: Exception | None = None
        self.joined = 0  # readers that wait for it
        self.start = _Latch()
        self.ended = _Latch()


class SingleFlight(Generic[T]):
    """Shared calls by key. A key must contain everything that the answer depends on, such as the
    caller's identity.

    at_once: calls of one key that run side by side before further reads wait and share.
    """

    def __init__(self, *, at_once: int = 1) -> None:
        self._at_once = at_once
        self._lock = threading.Lock()
        self._running: dict[Hashable, int] = {}
        self._next: dict[Hashable, Flight[T]] = {}

    def get(self, key: Hashable, call: Callable[[], T], deadline: Deadline) -> tuple[T, bool]:
        """(the answer of `call`, which is never None; whether another reader made the call).

        Raises as `call` does, and DeadlineExceeded while waiting for another reader's call.
        """
        while not self.enter(key):
            with self._lock:
                flight = self._next.get(key)
                owned = flight is None
                if flight is not None:
                    flight.joined += 1
                elif self._running.get(key, 0) < self._at_once:
                    continue  # a running call has just ended
                else:
                    flight = self._next[key] = Flight(deadline.at)
            if owned:
                return self._make(key, flight, call), False
            if not flight.ended.wait(deadline.remaining()):
                raise DeadlineExceeded("The deadline passed while waiting for an identical read.")
            if flight.answer is not None:
                return flight.answer, True
            similar = flight.until + SIMILAR_DEADLINE_SECONDS > deadline.at
            if flight.failure is not None and similar:
                raise flight.failure
        try:
            return call(), False
        finally:
            self.leave(key)

    def enter(self, key: Hashable) -> bool:
        """Whether the caller makes a call of its own now, and leave()s afterwards.

        If not, get() shares one.
        """
        with self._lock:
            running = self._running.get(key, 0)
            if running >= self._at_once or key in self._next:
                return False
            self._running[key] = running + 1
            return True

    def leave(self, key: Hashable) -> None:
        """A call has ended: the next one for the same key starts."""
        with self._lock:
            running = self._running.pop(key) - 1
            if running:
                self._running[key] = running
            if key in self._next:
                self._next[key].start.open()

    def _make(self, key: Hashable, flight: Flight[T], call: Callable[[], T]) -> T:
        """The owner's part: wait for a running call, then make one for all who have joined."""
        flight.start.wait(LONGEST_WAIT_SECONDS)
        with self._lock:  # from here on no reader joins it
            self._running[key] = self._running.get(key, 0) + 1
            del self._next[key]
        try:
            flight.answer = answer = call()
            return answer
        except DeadlineExceeded:
            raise  # the owner's deadline is its own; readers that joined may have longer
        except Exception as failure:
            flight.failure = failure
            raise
        finally:
            self.leave(key)
            flight.ended.open()
