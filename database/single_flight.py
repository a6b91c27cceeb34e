"""Identical reads that wait at the same time are asked once, and none is answered with old data.

Whoever asks while the same read is under way does not join that one, which may have looked before
a change that its own client has already seen answered. It joins the next: one read for all who
wait. So an answer is always that of a read begun after it was asked for, a question that everybody
asks takes one connection instead of all, and nobody waits for more than the read before its own.
"""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from database.deadline import Deadline
from database.errors import DeadlineExceeded

T = TypeVar("T")
# A read that takes longer, or hangs, does not keep the next from beginning beside it.
LONGEST_WAIT_SECONDS = 0.05
# Who joins has about as long as the one that asks; a failure counts for those that do.
ABOUT_AS_LONG_SECONDS = 1.0


class _Read(Generic[T]):
    """One read for all that joined it before it began. until: its deadline's moment."""

    __slots__ = ("_ended", "answer", "failure", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.answer: T | None = None
        self.failure: Exception | None = None
        # A lock as a latch: an Event costs ten times as much to make, and one is made a read.
        self._ended = threading.Lock()
        self._ended.acquire()

    def end(self) -> None:
        self._ended.release()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within `seconds`."""
        if not self._ended.acquire(timeout=seconds):
            return False
        self._ended.release()
        return True


class SingleFlight(Generic[T]):
    """Answers by question: `question` holds all that an answer depends on, the caller included."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, _Read[T]] = {}
        self._next: dict[Hashable, _Read[T]] = {}

    def get(self, question: Hashable, ask: Callable[[], T], deadline: Deadline) -> tuple[T, bool]:
        """(what `ask` gave, which is never None; whether another asked it for this one).

        Raises what `ask` raised, DeadlineExceeded while waiting for it.
        """
        while True:
            with self._lock:
                joined = self._next.get(question)
                if joined is None:
                    before = self._under_way.get(question)
                    read = _Read[T](deadline.at)
                    (self._under_way if before is None else self._next)[question] = read
            if joined is None:
                return self._begin(question, read, before, ask), False
            if not joined.wait(deadline.remaining()):
                raise DeadlineExceeded("The deadline passed while another asked the same.")
            if joined.answer is not None:
                return joined.answer, True
            if joined.failure is not None and joined.until + ABOUT_AS_LONG_SECONDS > deadline.at:
                raise joined.failure

    def _begin(
        self, question: Hashable, read: _Read[T], before: _Read[T] | None, ask: Callable[[], T]
    ) -> T:
        try:
            if before is not None:
                before.wait(LONGEST_WAIT_SECONDS)
                with self._lock:  # from here on nobody joins it
                    self._under_way[question] = self._next.pop(question)
            read.answer = ask()
            return read.answer
        except DeadlineExceeded:
            raise  # its own; others may have longer
        except Exception as failure:
            read.failure = failure
            raise
        finally:
            with self._lock:
                for reads in (self._under_way, self._next):
                    if reads.get(question) is read:
                        del reads[question]
            read.end()
