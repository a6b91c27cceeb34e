"""A connection pool for threads: it pools whatever `connect()` returns.

`PoolState` decides under one lock; `Queue` waits, and `Connections` connects, pings and closes,
outside it. Idle connections are checked out last in, first out, so that a surplus idles out;
waiters are served first in, first out. All times are seconds on `clock`.
"""

from __future__ import annotations

import logging
import math
import os
import random as random_module
import threading
import time
import weakref
from collections.abc import Callable
from ctypes import py_object, pythonapi
from typing import Any, Generic, TypeVar

from database.pool.connections import Connections
from database.pool.errors import PoolClosed
from database.pool.lease import Holder, Lease, Slot
from database.pool.maintenance import Housekeeper
from database.pool.queue import RECLAIM_INTERVAL, Queue
from database.pool.state import PoolState, PoolStats, require

C = TypeVar("C")
logger = logging.getLogger(__name__)
_LONGEST_INTERVAL = 30.0  # between two passes of the housekeeper, in seconds


class Pool(Generic[C]):
    """Up to max_size connections, each checked out by one thread at a time.

    connect(remaining): opens a connection within the `remaining` seconds of a checkout, or raises.
    close(connection): called once for each connection; its errors are logged.
    ping(connection, remaining): whether a connection that was idle for longer than bypass_window
    still works; the checkout replaces one that does not.
    refused(error): whether an error of connect() means that the database accepts no more
    connections for now. While the pool has others, the checkout then waits for one of them.
    lifetime(connection): seconds after which it must be replaced, such as the rest of its
    credential's validity; max_lifetime is the upper limit. Each connection's lifetime is shortened
    at random by up to the fraction lifetime_jitter, so that connections opened together do not
    expire together.
    max_idle: seconds after which an unused connection above min_size is closed.
    max_waiting: callers that may queue, each for up to acquire_timeout seconds.
    leak_threshold: log a lease held for longer once, with the stack of its checkout; None disables,
    which also saves each checkout the walk up its stack.
    observe(event, seconds): receives "wait_seconds" for each checkout, "usage_seconds" for each
    ended lease.
    housekeeper: call `maintain()` in a daemon thread from the first checkout on; False leaves the
    calls to the owner.

    Raises ValueError for options that contradict each other.
    """

    def __init__(
        self,
        connect: Callable[[float], C],
        *,
        close: Callable[[C], None],
        ping: Callable[[C, float], bool] | None = None,
        refused: Callable[[Exception], bool] | None = None,
        lifetime: Callable[[C], float] | None = None,
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
        self._state: PoolState[C] = PoolState(
            name=name,
            min_size=min_size,
            max_size=max_size,
            max_waiting=max_waiting,
            max_idle=max_idle,
            leak_threshold=leak_threshold,
        )
        require(
            (
                0 < acquire_timeout < math.inf,
                f"acquire_timeout must be positive and finite, not {acquire_timeout}.",
            ),
            (max_lifetime > 0, f"max_lifetime must be positive, not {max_lifetime}."),
            (bypass_window >= 0, f"bypass_window must not be negative, and is {bypass_window}."),
            (0 <= lifetime_jitter < 1, f"lifetime_jitter {lifetime_jitter} is not in [0, 1)."),
        )
        self.name = name
        self._acquire_timeout = acquire_timeout
        self._bypass_window = math.inf if ping is None else bypass_window
        self._connections = Connections(
            self._state,
            connect=connect,
            close=close,
            ping=ping,
            lifetime=lifetime,
            max_lifetime=max_lifetime,
            bypass_window=self._bypass_window,
            lifetime_jitter=lifetime_jitter,
            clock=clock,
            random=random,
        )
        self._queue = Queue(self._state, self._connections, refused=refused, clock=clock)
        self._records_holders = leak_threshold is not None
        self._observe = observe
        self._clock = clock
        soonest = min(max_idle, max_lifetime, leak_threshold or math.inf)
        self._needs_housekeeper = housekeeper and (min_size > 0 or soonest < math.inf)
        self._interval = min(soonest / 2, _LONGEST_INTERVAL)
        self._housekeeper: Housekeeper | None = None
        _pools.add(self)

    def take(self, began: float, latest: float = math.inf) -> Slot[C]:
        """A connection for a caller that ends its use in a `finally`, with give_back().

        It costs less than checkout(), and its caller reports the wait and the usage itself.
        began: the present moment on the pool's clock. latest: the moment at which to give up, if it
        is before acquire_timeout. Raises as checkout() does.
        """
        state = self._state
        with state.lock:
            slot = state.take_idle(began, self._bypass_window)
        if slot is None:
            slot = self._acquire(began, min(latest, began + self._acquire_timeout))
        if self._records_holders:
            slot.reported = False
            slot.holder = Holder.current()
        return slot

    def give_back(self, slot: Slot[C], now: float, *, evict: bool = False) -> None:
        """End a take(), exactly once. evict: close the connection and free its place."""
        state = self._state
        with state.lock:
            retired = state.evict(slot, now) if evict else state.checkin(slot, now)
        if retired:
            self._connections.close(retired)

    def checkout(self, timeout: float | None = None) -> Lease[C]:
        """A lease, within acquire_timeout or, if fewer, `timeout` seconds; 0: an idle one or none.

        Raises PoolTimeout, PoolQueueFull, PoolClosed, or the error of connect().
        """
        began = self._clock()
        latest = math.inf if timeout is None else began + timeout
        lease = Lease(self, self.take(began, latest))
        if self._observe is not None:
            self._report("wait_seconds", self._clock() - began)
        return lease

    def end(self, lease: Lease[C], *, evict: bool) -> None:
        """Called by a lease's checkin() and evict(), of which only the first has an effect."""
        now = self._clock()
        state = self._state
        with state.lock:
            slot = lease.detach()
            if slot is None:
                return
            used = now - slot.since
            retired = state.evict(slot, now) if evict else state.checkin(slot, now)
        if retired:
            self._connections.close(retired)
        if self._observe is not None:
            self._report("usage_seconds", used)

    def invalidate(self) -> None:
        """Retire every connection opened so far: idle ones now, those in use at their checkin."""
        with self._state.lock:
            retired = self._state.retire_generation("invalidated_total")
        self._connections.close(retired)

    def maintain(self) -> None:
        """One pass of housekeeping: expire, reclaim, report leaks, connect up to min_size."""
        self._connections.reclaim_dropped()
        now = self._clock()
        with self._state.lock:
            retired = self._state.retire_expired(now)
            leaks = self._state.find_leaks(now)
        self._connections.close(retired)
        for holder, held in leaks:
            logger.warning(
                "%r: a connection has been in use for %.1f s, checked out by thread %s at\n%s",
                *(self, held, holder.thread, "".join(holder.stack.format())),
            )
        self._fill()

    def close(self, timeout: float = 0.0) -> bool:
        """Refuse checkouts, fail the waiters, close idle connections now and others at checkin.

        Waits up to `timeout` seconds for the connections in use. True when none is left. Safe to
        call again.
        """
        deadline = time.monotonic() + timeout
        state = self._state

        def remaining() -> float:
            return max(deadline - time.monotonic(), 0.0)

        with state.lock:
            state.closed = True
            retired = state.retire_generation("closed_total")
            state.fail_waiters()
            housekeeper = self._housekeeper
        self._connections.close(retired)
        while True:
            self._connections.reclaim_dropped()
            with state.lock:
                drained = state.drained.wait_for(
                    lambda: not state.slots and not state.connecting,
                    min(remaining(), RECLAIM_INTERVAL),
                )
            if drained or not remaining():
                break
        if housekeeper is not None:
            # An idle housekeeper ends within a millisecond; one that is connecting may take longer.
            housekeeper.stop(min(max(remaining(), 0.1), threading.TIMEOUT_MAX))
        return drained

    def stats(self) -> PoolStats:
        """All counts, read at one moment."""
        self._connections.reclaim_dropped()
        with self._state.lock:
            return self._state.stats()

    def _acquire(self, began: float, deadline: float) -> Slot[C]:
        """The checkout that found no fresh idle connection."""
        state = self._state
        if self._needs_housekeeper and self._housekeeper is None:
            with state.lock:
                if self._housekeeper is None and not state.closed:
                    self._housekeeper = Housekeeper(self, interval=self._interval, name=self.name)
        return self._queue.acquire(began, deadline)

    def _fill(self) -> None:
        state = self._state
        while True:
            with state.lock:
                if state.closed or len(state.slots) + state.connecting >= state.min_size:
                    return
                state.connecting += 1
            try:
                slot = self._connections.connect(self._clock() + self._acquire_timeout)
            except PoolClosed:
                return
            except Exception:
                logger.warning("%r: min_size is not reached", self, exc_info=True)
                return
            with state.lock:
                retired = state.checkin(slot, self._clock())
            self._connections.close(retired)

    def _report(self, event: str, seconds: float) -> None:
        assert self._observe is not None
        try:
            self._observe(event, seconds)
        except Exception:
            logger.exception("%r: observe(%r) failed", self, event)

    def _restart_in_child(self) -> None:
        """Set the parent's connections aside and start empty, with new locks."""
        for slot in self._state.slots:
            # An extra reference keeps them alive, even at interpreter exit: deallocating a pyodbc
            # connection in a forked child disconnects the parent's.
            pythonapi.Py_IncRef(py_object(slot.connection))
        self._state.generation += 1
        self._state.reset()
        self._housekeeper = None

    def __repr__(self) -> str:
        return repr(self._state)


_pools: weakref.WeakSet[Pool[Any]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pool in list(_pools):
        pool._restart_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
