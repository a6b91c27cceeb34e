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
    """One call. Its owner makes it in a `with`, and sets `answer`, which is never None."""

    __slots__ = ("_flights", "answer", "ended", "failure", "joined", "key", "start", "until")

    def __init__(self, flights: SingleFlight[T], key: Hashable, until: float) -> None:
        self._flights = flights
        self.key = key
        self.until = until  # the owner's deadline, on the monotonic clock
        self.answer: T | None = None
        self.failure: Exception | None = None
        self.joined = 0  # readers that wait for it
        self.start: _Latch | None = None
        self.ended: _Latch | None = None  # only where readers can join

    def __enter__(self) -> Flight[T]:
        return self

    def __exit__(self, _: object, failure: BaseException | None, __: object) -> None:
        # The owner's deadline is its own; readers that joined may have longer.
        if isinstance(failure, Exception) and not isinstance(failure, DeadlineExceeded):
            self.failure = failure
        self._flights.end(self)


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
        answer, flight = self.join(key, deadline)
        if answer is not None:
            return answer, True
        assert flight is not None
        with flight:
            flight.answer = own = call()
        return own, False

    def join(self, key: Hashable, deadline: Deadline) -> tuple[T | None, Flight[T] | None]:
        """(another reader's answer, None), or (None, the flight for the caller to make).

        Raises as get() does.
        """
        while True:
            with self._lock:
                flight = self._next.get(key)
                owned = flight is None
                if flight is None:
                    flight = Flight(self, key, deadline.at)
                    running = self._running.get(key, 0)
                    if running < self._at_once:
                        self._running[key] = running + 1
                        return None, flight
                    flight.start, flight.ended = _Latch(), _Latch()
                    self._next[key] = flight
                else:
                    flight.joined += 1
            assert flight.start is not None and flight.ended is not None
            if owned:
                flight.start.wait(LONGEST_WAIT_SECONDS)
                with self._lock:  # from here on no reader joins it
                    self._running[key] = self._running.get(key, 0) + 1
                    del self._next[key]
                return None, flight
            if not flight.ended.wait(deadline.remaining()):
                raise DeadlineExceeded("The deadline passed while waiting for an identical read.")
            if flight.answer is not None:
                return flight.answer, None
            similar = flight.until + SIMILAR_DEADLINE_SECONDS > deadline.at
            if flight.failure is not None and similar:
                raise flight.failure

    def end(self, flight: Flight[T]) -> None:
        """A flight was made, with an answer or a failure: start the next, wake who joined."""
        with self._lock:
            running = self._running.pop(flight.key) - 1
            if running:
                self._running[flight.key] = running
            following = self._next.get(flight.key)
            if following is not None and following.start is not None:
                following.start.open()
        if flight.ended is not None:
            flight.ended.open()
