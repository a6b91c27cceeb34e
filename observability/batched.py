"""A histogram that counts its observations in batches.

Counting one observation takes a lock, and writes to memory shared with other processes. In a batch,
an observation costs one list append.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict, deque
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
            by_database: dict[str, list[float]] = defaultdict(list)
            # Other threads may append meanwhile; the next flush counts those.
            for _ in range(len(self.pending)):
                event = self.pending.popleft()
                by_database[event.database].append(event.seconds)
            for database, amounts in by_database.items():
                # As Histogram.observe() does, but for many; prometheus_client has no public API
                # for it.
                child: Any = self._metric.labels(database)
                places = Counter(bisect_left(child._upper_bounds, amount) for amount in amounts)
                for place, count in places.items():
                    child._buckets[place].inc(count)
                child._sum.inc(sum(amounts))
