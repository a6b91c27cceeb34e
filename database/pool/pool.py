"""A connection pool for threads: it pools whatever `connect()` returns.

Decisions are made under one lock (`database.pool.state`), I/O outside it. Idle connections are lent
last in, first out, so that a surplus idles out; waiters are served first in, first out.
All times are seconds on `clock`.
"""

from __future__ import annotations

import copy
import logging
import math
import os
import random as random_module
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from ctypes import py_object, pythonapi
from typing import Any, TypeVar

from database.pool.lease import CLOSED, GAVE_UP, PERMIT, Lease, Slot, Waiter, current_borrower
from database.pool.maintenance import Housekeeper
from database.pool.state import PoolState, PoolStats, refuse_unless

__all__ = ["Lease", "Pool", "PoolClosed", "PoolError", "PoolQueueFull", "PoolStats", "PoolTimeout"]

C = TypeVar("C")
logger = logging.getLogger(__name__)
_LONGEST_REST = 30.0  # of the housekeeper, in seconds
# For so long a pool with connections makes no more after one was refused; it waits for those.
_REFUSED_PAUSE = 1.0


class PoolError(Exception):
    """No connection was given."""


class PoolTimeout(PoolError):
    """None became free in time. `__cause__`: the last connect's failure, if it failed."""


class PoolQueueFull(PoolError):
    """`max_waiting` callers are waiting already."""


class PoolClosed(PoolError):
    """The pool was closed."""


class Pool(PoolState[C]):
    """Up to max_size connections, each lent to one borrower at a time.

    connect(remaining) makes a connection within the `remaining` seconds of a checkout, or raises.
    close(connection) is called once for each; what it raises is logged.
    ping(connection, remaining) tells, within the `remaining` seconds of a checkout, whether a
    connection that was idle for longer than bypass_window still lives; a dead one is replaced by a
    new one within the same checkout.
    refused(error) tells whether what connect() raised means that the database takes no more
    connections for now. While the pool has others, the checkout then waits for one of them.
    max_waiting callers may queue, each for acquire_timeout.
    max_lifetime is shortened for each connection by up to lifetime_jitter, a fraction, so that
    those made together do not end together. max_idle leaves min_size connections alone.
    leak_threshold: a lease out for longer is logged once, naming its borrower; costs a walk up the
    stack at each checkout.
    observe(event, seconds) hears "wait_seconds" of each lease granted, "usage_seconds" of each
    lease ended, "connect_seconds" of each connection made.
    housekeeper: `maintain()` runs in a daemon thread from the first checkout on; False leaves it
    to the owner.

    Raises ValueError for options that contradict each other.
    """

    def __init__(
        self,
        connect: Callable[[float], C],
        *,
        close: Callable[[C], None],
        ping: Callable[[C, float], bool] | None = None,
        refused: Callable[[Exception], bool] | None = None,
        name: str = "pool",
        min_size: int = 0,
        max_size: int = 8,
        max_waiting: int = 64,
        acquire_timeout: float = 10.0,
        max_lifetime: float = 1800.0,
        max_idle: float = 300.0,
        bypass_window: float = 0.5,
        leak_threshold: float | None = None,
        lifetime_jitter: float = 0.05,
        observe: Callable[[str, float], None] | None = None,
        housekeeper: bool = True,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random_module.random,
    ):
        super().__init__(
            name=name,
            min_size=min_size,
            max_size=max_size,
            max_waiting=max_waiting,
            max_idle=max_idle,
            leak_threshold=leak_threshold,
        )
        refuse_unless(
            (
                0 < acquire_timeout < math.inf,
                f"acquire_timeout must be positive and finite, not {acquire_timeout}.",
            ),
            (max_lifetime > 0, f"max_lifetime must be positive, not {max_lifetime}."),
            (bypass_window >= 0, f"bypass_window must not be negative, and is {bypass_window}."),
            (0 <= lifetime_jitter < 1, f"lifetime_jitter {lifetime_jitter} is not in [0, 1)."),
        )
        self._open_connection = connect
        self._close_connection = close
        self._ping = ping
        self._refused = refused
        self._acquire_timeout = acquire_timeout
        self._max_lifetime = max_lifetime
        self._bypass_window = math.inf if ping is None else bypass_window
        self._lifetime_jitter = lifetime_jitter
        self._observe = observe
        self._clock = clock
        self._random = random
        soonest = min(max_idle, max_lifetime, leak_threshold or math.inf)
        self._needs_housekeeper = housekeeper and (min_size > 0 or soonest < math.inf)
        self._rest = min(soonest / 2, _LONGEST_REST)
        _pools.add(self)

    def _begin(self) -> None:
        super()._begin()
        self._housekeeper: Housekeeper | None = None

    def checkout(self, timeout: float | None = None) -> Lease[C]:
        """A lease, within `timeout` seconds (None: acquire_timeout; 0: an idle connection or none).

        Raises PoolTimeout, PoolQueueFull, PoolClosed, or what connect() raised.
        """
        began = self._clock()
        slot = None
        with self._lock:
            idle = self._idle
            # An idle connection means that nobody waits and that the pool is open.
            if (
                idle
                and began < idle[-1].expires_at
                and began - idle[-1].since <= self._bypass_window
            ):
                slot = idle.pop()
                slot.since = began
                self._totals["checkouts_total"] += 1
        if slot is None:
            slot = self._acquire(began, timeout)
        lease = Lease(self, slot)
        if self._leak_threshold is not None:
            slot.reported = False
            slot.borrower = current_borrower()
        if self._lost:
            self._take_in_lost()
        if self._observe is not None:
            self._report("wait_seconds", self._clock() - began)
        return lease

    def invalidate(self) -> None:
        """Retire all connections made so far: the idle ones now, those out at their checkin."""
        with self._lock:
            doomed = self._retire_generation("invalidated_total")
        self._after(doomed)

    def maintain(self) -> None:
        """One pass of housekeeping: expire, report leaks, connect until min_size is reached."""
        now = self._clock()
        with self._lock:
            doomed = self._retire_expired(now)
            leaks = self._find_leaks(now)
        self._after(doomed)
        for (thread, stack), used in leaks:
            logger.warning(
                "%r: a connection has been out for %.1f s, checked out by thread %s at\n%s",
                *(self, used, thread, "".join(stack.format())),
            )
        self._fill()

    def close(self, timeout: float = 0.0) -> bool:
        """Refuse checkouts, fail the waiters, close what is idle now and the rest as it comes back.

        Waits up to `timeout` seconds for those out. True when nothing is left. May be repeated.
        """
        deadline = time.monotonic() + timeout

        def remaining(least: float = 0.0) -> float:
            return min(max(deadline - time.monotonic(), least), threading.TIMEOUT_MAX)

        with self._lock:
            self._closed = True
            doomed = self._retire_generation("closed_total")
            self._close_queue()
            housekeeper = self._housekeeper
        self._after(doomed)
        with self._lock:
            drained = self._drained.wait_for(
                lambda: not self._slots and not self._connecting, remaining()
            )
        self._after()
        if housekeeper is not None:
            # One at rest ends within a millisecond; one that is connecting may take longer.
            housekeeper.stop(remaining(least=0.1))
        return drained

    def stats(self) -> PoolStats:
        """All counts, read at one moment."""
        with self._lock:
            reading = self._reading()
        self._after()
        return reading

    def _acquire(self, began: float, timeout: float | None) -> Slot[C]:
        """The checkout that found no fresh idle connection."""
        if self._needs_housekeeper and self._housekeeper is None:
            with self._lock:
                if self._housekeeper is None and not self._closed:
                    self._housekeeper = Housekeeper(self, rest=self._rest, name=self.name)
        deadline = began + (self._acquire_timeout if timeout is None else timeout)
        waiter = self._enqueue(began)
        while (slot := self._complete(waiter, deadline)) is None:
            waiter = self._enqueue_first()
        with self._lock:
            slot.since = self._clock()
            self._totals["checkouts_total"] += 1
        return slot

    def _enqueue(self, now: float) -> Waiter:
        """A place in the queue, served already if something was free. Never waits."""
        waiter = Waiter()
        doomed: list[Slot[C]] = []
        with self._lock:
            closed, full = self._closed, False
            if not closed:
                self._waiters.append(waiter)
                doomed = self._assign(now)
                full = waiter.outcome is None and len(self._waiters) > self._max_waiting
            if full:
                self._waiters.pop()
                self._totals["rejected_total"] += 1
        try:
            self._after(doomed)
        except BaseException:
            self._hand_back(waiter)
            raise
        if closed:
            raise PoolClosed(f"{self!r} is closed.")
        if full:
            raise PoolQueueFull(f"{self!r}: {self._max_waiting} callers are waiting already.")
        return waiter

    def _enqueue_first(self) -> Waiter:
        """The first place in the queue, for a caller that has already had its turn."""
        waiter = Waiter()
        with self._lock:
            if self._closed:
                raise PoolClosed(f"{self!r} was closed.")
            self._waiters.appendleft(waiter)
            doomed = self._assign(self._clock())
        try:
            self._after(doomed)
        except BaseException:
            self._hand_back(waiter)
            raise
        return waiter

    def _complete(self, waiter: Waiter, deadline: float) -> Slot[C] | None:
        """Wait for what the queue gives, and make a living connection of it.

        None: the database refused another connection, and the pool has others to wait for.
        """
        try:
            outcome = waiter.wait(deadline - self._clock())
        except BaseException:
            self._hand_back(waiter)
            raise
        if outcome is CLOSED:
            raise PoolClosed(f"{self!r} was closed.")
        if outcome is GAVE_UP:
            self._hand_back(waiter)
            raise self._timed_out()
        dead: list[Slot[C]] = []
        if outcome is not PERMIT:
            dead = self._validate(outcome, deadline)
            if not dead:
                return outcome
        try:
            return self._connect(deadline, replaced=dead)
        except Exception as error:
            if self._refused is None or not self._refused(error):
                raise
            with self._lock:
                if not self._slots or self._clock() >= deadline:
                    raise
                self._refused_until = self._clock() + _REFUSED_PAUSE
            return None

    def _hand_back(self, waiter: Waiter) -> None:
        """Leave the queue, passing on what has been given in the meantime."""
        outcome = waiter.give_up()
        now = self._clock()
        doomed: list[Slot[C]] = []
        with self._lock:
            if outcome is GAVE_UP:
                # A giver whom it refused has taken it out of the queue already.
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
            elif outcome is PERMIT:
                self._connecting -= 1
                doomed = self._assign(now)
            elif outcome is not CLOSED:
                doomed = self._return(outcome, now)
        self._after(doomed)

    def _timed_out(self) -> PoolTimeout:
        with self._lock:
            self._totals["timeouts_total"] += 1
            now, cause = self._reading(), self._last_failure
        self._after()
        error = PoolTimeout(
            f"Pool {self.name!r}: no connection in time (total {now.size}, in use {now.in_use},"
            f" idle {now.idle}, connecting {now.connecting}, waiting {now.waiting})."
        )
        error.__cause__ = cause
        return error

    def _validate(self, slot: Slot[C], deadline: float) -> list[Slot[C]]:
        """Ping. The slot, when it is dead: retired, its place now the caller's permit."""
        if self._clock() - slot.since <= self._bypass_window:
            return []
        try:
            if self._ping(slot.connection, deadline - self._clock()):
                return []
        except Exception:
            logger.debug("%r: ping failed", self, exc_info=True)
        except BaseException:
            with self._lock:
                doomed = self._retire(slot, "evicted_total") + self._assign(self._clock())
            self._after(doomed)
            raise
        with self._lock:
            self._connecting += 1
            return self._retire(slot, "validation_failures_total")

    def _connect(self, deadline: float, *, replaced: Iterable[Slot[C]] = ()) -> Slot[C]:
        """Use a permit; whatever happens, it is used up. Closes those `replaced` first."""
        generation = self._generation  # of the credentials that connect() is about to read
        try:
            self._after(replaced)
            began = self._clock()
            if self._closed:
                raise PoolClosed(f"{self!r} was closed.")
            if began >= deadline:
                raise self._timed_out()
            connection = self._open_connection(deadline - began)
        except BaseException as error:
            failure = None
            if isinstance(error, Exception) and not isinstance(error, PoolError):
                failure = _without_frames(error)
            with self._lock:
                self._connecting -= 1
                if failure is not None:
                    self._last_failure = failure
                    self._totals["connect_failures_total"] += 1
                doomed = self._assign(self._clock())
            self._after(doomed)
            raise
        now = self._clock()
        lifetime = self._max_lifetime * (1 - self._lifetime_jitter * self._random())
        slot = Slot(connection, self._pid, generation, now + lifetime, now)
        with self._lock:
            self._connecting -= 1
            self._slots.add(slot)
            self._totals["connects_total"] += 1
            self._last_failure = None
            doomed = self._retire(slot, "closed_total") if self._closed else []
        self._after(doomed)
        if self._observe is not None:
            self._report("connect_seconds", now - began)
        if doomed:
            raise PoolClosed(f"{self!r} was closed.")
        return slot

    def _checkin(self, lease: Lease[C]) -> None:
        now = self._clock()
        with self._lock:
            slot = lease._slot
            if slot is None:
                return
            lease._slot = lease.connection = None
            used = now - slot.since
            slot.borrower = None
            doomed = self._return(slot, now)
        if doomed or self._lost:
            self._after(doomed)
        if self._observe is not None:
            self._report("usage_seconds", used)

    def _evict(self, lease: Lease[C]) -> None:
        now = self._clock()
        with self._lock:
            slot = lease._slot
            if slot is None:
                return
            lease._slot = lease.connection = None
            doomed = self._retire(slot, "evicted_total") + self._assign(now)
        self._after(doomed)
        if self._observe is not None:
            self._report("usage_seconds", now - slot.since)

    def _lose(self, slot: Slot[C]) -> None:
        """Called by the garbage collector, in any thread, even one that holds the lock."""
        self._lost.append(slot)
        self._take_in_lost()

    def _take_in_lost(self) -> None:
        # It gives way to a holder of the lock, who comes here after having released it.
        while self._lost and self._lock.acquire(blocking=False):
            found: list[Slot[C]] = []
            doomed: list[Slot[C]] = []
            try:
                while self._lost:
                    found.append(self._lost.popleft())
                    doomed += self._retire(found[-1], "lost_total")
                doomed += self._assign(self._clock())
            finally:
                self._lock.release()
            for slot in found:
                thread, stack = slot.borrower or ("unknown, for leak_threshold is off", None)
                logger.warning(
                    "%r: a lease was dropped without checkin; checked out by thread %s%s",
                    *(self, thread, " at\n" + "".join(stack.format()) if stack else ""),
                )
            self._after(doomed)

    def _after(self, doomed: Iterable[Slot[C]] = ()) -> None:
        """What follows the release of the lock: close the retired, take in what was lost."""
        for slot in doomed:
            try:
                self._close_connection(slot.connection)
            except Exception:
                logger.debug("%r: close failed", self, exc_info=True)
        if self._closed:
            with self._lock:
                self._drained.notify_all()
        if self._lost:
            self._take_in_lost()

    def _fill(self) -> None:
        while True:
            with self._lock:
                if self._closed or len(self._slots) + self._connecting >= self._min_size:
                    return
                self._connecting += 1
            try:
                slot = self._connect(self._clock() + self._acquire_timeout)
            except PoolClosed:
                return
            except Exception:
                logger.warning("%r: min_size is not reached", self, exc_info=True)
                return
            with self._lock:
                doomed = self._return(slot, self._clock())
            self._after(doomed)

    def _report(self, event: str, seconds: float) -> None:
        try:
            self._observe(event, seconds)
        except Exception:
            logger.exception("%r: observe(%r) failed", self, event)

    def _begin_in_child(self) -> None:
        """Set the parent's connections aside and begin anew, with new locks."""
        for slot in self._slots:
            # A reference that nobody drops, not even the interpreter at exit: a forked child that
            # deallocates a pyodbc connection disconnects its parent's.
            pythonapi.Py_IncRef(py_object(slot.connection))
        self._generation += 1
        self._begin()


def _without_frames(error: BaseException) -> BaseException:
    """A copy without traceback, which would keep the borrower's frames, and all in them, alive."""
    try:
        # Explicitly: a library may have taught exceptions to take their traceback along.
        return copy.copy(error).with_traceback(None)
    except Exception:
        return PoolError(f"{type(error).__name__}: {error}")


_pools: weakref.WeakSet[Pool[Any]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pool in list(_pools):
        pool._begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
