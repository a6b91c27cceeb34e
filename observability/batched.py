"""A histogram whose observations are counted many at a time.

Counting one costs two writes, under a lock, to memory that other processes read: as much as the
rest of what is observed of a request. Counted in batches it costs an append.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, deque

from prometheus_client import Histogram

BATCH = 256


class BatchedHistogram:
    """Observes for `child`, a histogram with its labels; flush() makes it all visible."""

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
        """Count what has been observed so far."""
        with self._flushing:
            # What others append meanwhile is for the next time.
            amounts = [self._pending.popleft() for _ in range(len(self._pending))]
            bounds, buckets = self._child._upper_bounds, self._child._buckets
            # As Histogram.observe() does, for all of them at once; the package has no public way.
            for place, count in Counter(bisect_left(bounds, a) for a in amounts).items():
                buckets[place].inc(count)
            if amounts:
                self._child._sum.inc(sum(amounts))
