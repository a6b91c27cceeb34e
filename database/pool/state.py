"""A pool's places: who has which connection, who waits, and who is next. No I/O here."""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

from database.pool.lease import CLOSED, PERMIT, Borrower, Slot, Waiter

C = TypeVar("C")


@dataclass(frozen=True)
class PoolStats:
    """One consistent reading. `size` is idle + in_use + connecting, never above `max_size`.

    `connects_total` is idle + in_use + evicted + lost + expired + validation failures +
    invalidated + closed: every connection ever made is in one of these places.
    """

    size: int
    idle: int
    in_use: int
    connecting: int
    waiting: int
    max_size: int
    checkouts_total: int = 0
    connects_total: int = 0
    connect_failures_total: int = 0
    timeouts_total: int = 0
    rejected_total: int = 0  # by a full queue
    evicted_total: int = 0  # by their borrowers
    lost_total: int = 0  # the lease was garbage-collected before its checkin
    expired_total: int = 0  # max_lifetime or max_idle
    validation_failures_total: int = 0
    invalidated_total: int = 0
    closed_total: int = 0  # with the pool
    leaks_total: int = 0  # leases reported by the leak detector


_TOTALS = tuple(field.name for field in fields(PoolStats) if field.name.endswith("_total"))


def refuse_unless(*rules: tuple[bool, str]) -> None:
    """Raise ValueError with the sentence of the first rule that does not hold (NaN holds none)."""
    for holds, sentence in rules:
        if not holds:
            raise ValueError(sentence)


class PoolState(Generic[C]):
    """The state of a pool, and every decision about it.

    Each method is called with `_lock` held. Those that retire connections return their slots, to be
    closed once the lock is free.
    """

    def __init__(
        self,
        *,
        name: str,
        min_size: int,
        max_size: int,
        max_waiting: int,
        max_idle: float,
        leak_threshold: float | None,
    ):
        refuse_unless(
            (max_size >= 1, f"max_size must be at least 1, not {max_size}."),
            (min_size >= 0, f"min_size must not be negative, and is {min_size}."),
            (min_size <= max_size, f"min_size {min_size} is above max_size {max_size}."),
            (max_waiting >= 0, f"max_waiting must not be negative, and is {max_waiting}."),
            (max_idle > 0, f"max_idle must be positive, not {max_idle}."),
            (
                leak_threshold is None or leak_threshold > 0,
                f"leak_threshold must be positive or None, not {leak_threshold}.",
            ),
        )
        self.name = name
        self._min_size = min_size
        self._max_size = max_size
        self._max_waiting = max_waiting
        self._max_idle = max_idle
        self._leak_threshold = leak_threshold
        self._closed = False
        self._generation = 0
        self._begin()

    def _begin(self) -> None:
        """The state without connections, in this process."""
        # Whenever the lock is free:
        #   idle + in_use + connecting <= max_size, where in_use is len(_slots) - len(_idle);
        #   a waiter in the queue means no idle connection and no free place, except that a
        #   database that has just refused a connection leaves places free;
        #   a closed pool has no idle connection and no waiter.
        # Fields are written only while it is held, except _lost, which is appended to at any time.
        self._lock = threading.Lock()
        self._drained = threading.Condition(self._lock)
        self._slots: set[Slot[C]] = set()  # every connection owned, idle or out
        self._idle: list[Slot[C]] = []  # a stack, the longest idle at the bottom
        self._connecting = 0  # places reserved by permits
        self._waiters: deque[Waiter] = deque()
        self._lost: deque[Slot[C]] = deque()  # their leases were garbage-collected
        self._totals = dict.fromkeys(_TOTALS, 0)
        self._last_failure: BaseException | None = None  # of connect(), until it succeeds
        self._refused_until = -math.inf  # when connections are made again, if there are others
        self._pid = os.getpid()

    def _assign(self, now: float) -> list[Slot[C]]:
        """Serve the queue, in order, from what is free. The only place that serves it."""
        doomed: list[Slot[C]] = []
        while self._waiters:
            if self._idle:
                if now >= self._idle[-1].expires_at:
                    doomed += self._retire(self._idle.pop(), "expired_total")
                elif self._waiters.popleft().set(self._idle[-1]):
                    self._idle.pop()
            elif self._may_connect(now):
                if self._waiters.popleft().set(PERMIT):
                    self._connecting += 1
            else:
                break
        return doomed

    def _may_connect(self, now: float) -> bool:
        # Each connection that is out comes back and serves the queue, so nobody waits for the
        # pause alone to end.
        resting = bool(self._slots) and now < self._refused_until
        return not resting and len(self._slots) + self._connecting < self._max_size

    def _return(self, slot: Slot[C], now: float) -> list[Slot[C]]:
        """Take a healthy connection back, or retire it when its time has passed."""
        if slot.generation != self._generation:
            reason = "closed_total" if self._closed else "invalidated_total"
        elif now >= slot.expires_at:
            reason = "expired_total"
        else:
            slot.since = now
            self._idle.append(slot)
            return self._assign(now) if self._waiters else []
        return self._retire(slot, reason) + self._assign(now)

    def _retire(self, slot: Slot[C], reason: str) -> list[Slot[C]]:
        if slot.pid != self._pid:
            return []  # the parent's; set aside when this process was forked
        self._slots.remove(slot)
        self._totals[reason] += 1
        return [slot]

    def _retire_generation(self, reason: str) -> list[Slot[C]]:
        """The idle ones now; the others when `_return` sees that they are of the past."""
        self._generation += 1
        doomed, self._idle = self._idle, []
        for slot in doomed:
            self._retire(slot, reason)
        return doomed

    def _retire_expired(self, now: float) -> list[Slot[C]]:
        doomed: list[Slot[C]] = []
        kept: list[Slot[C]] = []
        surplus = len(self._slots) + self._connecting - self._min_size
        for slot in self._idle:
            unused = surplus > 0 and now - slot.since >= self._max_idle
            if unused or now >= slot.expires_at:
                doomed += self._retire(slot, "expired_total")
                surplus -= 1
            else:
                kept.append(slot)
        self._idle = kept
        return doomed

    def _close_queue(self) -> None:
        while self._waiters:
            self._waiters.popleft().set(CLOSED)

    def _find_leaks(self, now: float) -> list[tuple[Borrower, float]]:
        """Who has had a connection for how many seconds, above leak_threshold; each told once."""
        leaks: list[tuple[Borrower, float]] = []
        for slot in self._slots if self._leak_threshold is not None else ():
            used = now - slot.since
            if slot.borrower and not slot.reported and used >= self._leak_threshold:
                leaks.append((slot.borrower, used))
                slot.reported = True
        self._totals["leaks_total"] += len(leaks)
        return leaks

    def _reading(self) -> PoolStats:
        return PoolStats(
            size=len(self._slots) + self._connecting,
            idle=len(self._idle),
            in_use=len(self._slots) - len(self._idle),
            connecting=self._connecting,
            waiting=len(self._waiters),
            max_size=self._max_size,
            **self._totals,
        )

    def __repr__(self) -> str:
        # Without the lock: it is called while holding it, and from debuggers.
        idle = len(self._idle)
        return (
            f"<Pool {self.name!r} {'closed ' if self._closed else ''}max_size={self._max_size}"
            f" in_use={len(self._slots) - idle} idle={idle}"
            f" connecting={self._connecting} waiting={len(self._waiters)}>"
        )
