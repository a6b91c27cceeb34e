"""A histogram that counts its observations in batches.

Counting one observation takes two locked writes to memory shared with other processes, which costs
as much as all other metrics of a request. In a batch, an observation costs one list append.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, deque

from prometheus_client import Histogram

BATCH = 256


class BatchedHistogram:
    """Collects observations for `child`, a histogram with its labels set, until flush()."""

    __slots__ = ("_child", "_flushing", "_pending")

    def __init__(self, child: Histogram) -> None:
        self._child = child
        self._pending: deque[float] = deque()
        self._flushing = threading.Lock()

    def observe(self, amount: float) -> None:
        self._pending.append(amount)
        if len(self._pending) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Count the observations collected so far."""
        with self._flushing:
            # Other threads may append meanwhile; the next flush counts those.
            amounts = [self._pending.popleft() for _ in range(len(self._pending))]
            bounds, buckets = self._child._upper_bounds, self._child._buckets
            # As Histogram.observe() does, but for many; prometheus_client has no public API for it.
            for place, count in Counter(bisect_left(bounds, a) for a in amounts).items():
                buckets[place].inc(count)
            if amounts:
                self._child._sum.inc(sum(amounts))
