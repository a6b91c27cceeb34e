"""A histogram that counts its observations in batches.

Counting one observation takes a lock, and writes to memory shared with other processes. In a batch,
an observation costs one list append.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from typing import Any, Protocol

from prometheus_client import Histogram

BATCH = 256


class Timed(Protocol):
    """An event of a database that took some seconds."""

    @property
    def database(self) -> str: ...

    @property
    def seconds(self) -> float: ...


class BatchedHistogram:
    """Counts the events in `pending` in `metric`, whose one label is the database, at flush()."""

    __slots__ = ("_flushing", "_metric", "pending")

    def __init__(self, metric: Histogram) -> None:
        self.pending: deque[Timed] = deque()
        self._metric = metric
        self._flushing = threading.Lock()

    def flush(self) -> None:
        """Count the events collected so far."""
        with self._flushing:
            # Other threads may append meanwhile; the next flush counts those.
            events = [self.pending.popleft() for _ in range(len(self.pending))]
            for database in {event.database for event in events}:
                self._count(
                    database,
                    sorted([event.seconds for event in events if event.database == database]),
                )

    def _count(self, database: str, amounts: list[float]) -> None:
        # As Histogram.observe() does, but for many; prometheus_client has no public API for it.
        child: Any = self._metric.labels(database)
        counted = 0
        for bound, bucket in zip(child._upper_bounds, child._buckets, strict=True):
            up_to = bisect_right(amounts, bound)
            if up_to > counted:
                bucket.inc(up_to - counted)
            counted = up_to
        child._sum.inc(sum(amounts))
