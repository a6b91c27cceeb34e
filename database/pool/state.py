"""The state of a pool and every decision about it. No I/O and no waiting here."""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

from database.pool.lease import Holder, Slot
from database.pool.waiter import Signal, Waiter

C = TypeVar("C")


@dataclass(frozen=True)
class PoolStats:
    """One consistent snapshot. `size` is idle + in_use + connecting, never above `max_size`.

    Every connection ever opened is counted in exactly one place: `connects_total` is idle + in_use
    + evicted + lost + expired + validation failures + invalidated + closed.
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
    rejected_total: int = 0  # checkouts refused because the queue was full
    evicted_total: int = 0  # by their leases
    lost_total: int = 0  # the lease was garbage-collected before its checkin
    expired_total: int = 0  # max_lifetime or max_idle
    validation_failures_total: int = 0
    invalidated_total: int = 0
    closed_total: int = 0  # with the pool
    leaks_total: int = 0  # leases held longer than leak_threshold


_TOTALS = tuple(field.name for field in fields(PoolStats) if field.name.endswith("_total"))


def require(*rules: tuple[bool, str]) -> None:
    """Raise ValueError with the message of the first rule that is false."""
    for holds, message in rules:
        if not holds:
            raise ValueError(message)


class PoolState(Generic[C]):
    """What a pool owns, who waits, and who is served next.

    Hold `lock` while calling a method or writing a field. Methods that retire connections return
    their slots: close those after releasing the lock.
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
        require(
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
        self.min_size = min_size
        self.max_size = max_size
        self.max_waiting = max_waiting
        self.max_idle = max_idle
        self.leak_threshold = leak_threshold
        self.closed = False
        self.generation = 0
        self.reset()

    def reset(self) -> None:
        """Start without connections and with new locks, also in a forked child."""
        # Whenever the lock is free:
        #   idle + in_use + connecting <= max_size, where in_use is len(slots) - len(idle);
        #   while a waiter is queued there is no idle connection and no free place, except that
        #   places stay free for a while after the database has refused a connection;
        #   a closed pool has no idle connection and no waiter.
        self.lock = threading.Lock()
        self.drained = threading.Condition(self.lock)
        self.slots: set[Slot[C]] = set()  # every connection owned, idle or in use
        self.idle: list[Slot[C]] = []  # a stack, the longest idle at the bottom
        self.connecting = 0  # places reserved by permits
        self.waiters: deque[Waiter[C]] = deque()
        self.totals = dict.fromkeys(_TOTALS, 0)
        self.last_failure: BaseException | None = None  # of connect(), until one succeeds
        self.refused_until = -math.inf  # no new connections until then, while there are others
        self.pid = os.getpid()

    def take_idle(self, now: float, bypass_window: float) -> Slot[C] | None:
        """The most recently used connection, if it needs no validation."""
        # An idle connection implies that the queue is empty and the pool is open.
        idle = self.idle
        if not idle or now >= idle[-1].expires_at or now - idle[-1].since > bypass_window:
            return None
        slot = idle.pop()
        slot.since = now
        self.totals["checkouts_total"] += 1
        return slot

    def checked_out(self, slot: Slot[C], now: float) -> None:
        slot.since = now
        self.totals["checkouts_total"] += 1

    def enqueue(self, waiter: Waiter[C], now: float, *, first: bool = False) -> list[Slot[C]]:
        """Add a waiter to the end of the queue, or to its front, and serve the queue."""
        if first:
            self.waiters.appendleft(waiter)
        else:
            self.waiters.append(waiter)
        return self.assign(now)

    def leave_queue(self, waiter: Waiter[C]) -> bool:
        """Remove a waiter that timed out; False if it has been served."""
        if waiter.outcome is not None:
            return False
        self.waiters.remove(waiter)
        return True

    def assign(self, now: float) -> list[Slot[C]]:
        """Serve the queue, in order, with what is free. The only place that serves it."""
        retired: list[Slot[C]] = []
        while self.waiters:
            if self.idle:
                slot = self.idle.pop()
                if now >= slot.expires_at:
                    retired += self.retire(slot, "expired_total")
                else:
                    self.waiters.popleft().serve(slot)
            elif self._may_connect(now):
                self.connecting += 1
                self.waiters.popleft().serve(Signal.PERMIT)
            else:
                break
        return retired

    def _may_connect(self, now: float) -> bool:
        # Each connection in use serves the queue at its checkin, so no waiter depends on the end
        # of the pause.
        pausing = bool(self.slots) and now < self.refused_until
        return not pausing and len(self.slots) + self.connecting < self.max_size

    def checkin(self, slot: Slot[C], now: float) -> list[Slot[C]]:
        """Make a healthy connection available again, or retire it if its time is over."""
        slot.holder = None
        if slot.generation != self.generation:
            reason = "closed_total" if self.closed else "invalidated_total"
        elif now >= slot.expires_at:
            reason = "expired_total"
        else:
            slot.since = now
            self.idle.append(slot)
            return self.assign(now) if self.waiters else []
        return self.retire(slot, reason) + self.assign(now)

    def evict(self, slot: Slot[C], now: float) -> list[Slot[C]]:
        """Retire a connection in use, and serve the queue with its place."""
        return self.retire(slot, "evicted_total") + self.assign(now)

    def retire(self, slot: Slot[C], reason: str) -> list[Slot[C]]:
        """Disown a connection that is not idle; `reason`: the total that counts it."""
        if slot.pid != self.pid:
            return []  # the parent's, set aside when this process was forked
        self.slots.remove(slot)
        self.totals[reason] += 1
        return [slot]

    def retire_generation(self, reason: str) -> list[Slot[C]]:
        """Retire the idle connections now and those in use at their checkin."""
        self.generation += 1
        retired, self.idle = self.idle, []
        for slot in retired:
            self.retire(slot, reason)
        return retired

    def retire_expired(self, now: float) -> list[Slot[C]]:
        retired: list[Slot[C]] = []
        kept: list[Slot[C]] = []
        surplus = len(self.slots) + self.connecting - self.min_size
        for slot in self.idle:
            unused = surplus > 0 and now - slot.since >= self.max_idle
            if unused or now >= slot.expires_at:
                retired += self.retire(slot, "expired_total")
                surplus -= 1
            else:
                kept.append(slot)
        self.idle = kept
        return retired

    def retire_dropped(self) -> list[Slot[C]]:
        """Retire the connections whose leases were garbage-collected without checkin or evict."""
        dropped = [slot for slot in self.slots if slot.lease is not None and slot.lease() is None]
        for slot in dropped:
            self.retire(slot, "lost_total")
        return dropped

    def fail_waiters(self) -> None:
        while self.waiters:
            self.waiters.popleft().serve(Signal.CLOSED)

    def find_leaks(self, now: float) -> list[tuple[Holder, float]]:
        """Leases held longer than leak_threshold, with their seconds; each is returned once."""
        leaks: list[tuple[Holder, float]] = []
        if self.leak_threshold is not None:
            for slot in self.slots:
                held = now - slot.since
                if slot.holder and not slot.reported and held >= self.leak_threshold:
                    leaks.append((slot.holder, held))
                    slot.reported = True
        self.totals["leaks_total"] += len(leaks)
        return leaks

    def stats(self) -> PoolStats:
        return PoolStats(
            size=len(self.slots) + self.connecting,
            idle=len(self.idle),
            in_use=len(self.slots) - len(self.idle),
            connecting=self.connecting,
            waiting=len(self.waiters),
            max_size=self.max_size,
            **self.totals,
        )

    def __repr__(self) -> str:
        # Without the lock: log lines and debuggers may call it while a thread holds it.
        idle = len(self.idle)
        return (
            f"<Pool {self.name!r} {'closed ' if self.closed else ''}max_size={self.max_size}"
            f" in_use={len(self.slots) - idle} idle={idle}"
            f" connecting={self.connecting} waiting={len(self.waiters)}>"
        )
