"""How far a replica is behind: the age of the newest position of the primary that it has reached.

Only this process's monotonic clock is used, so that clocks of other machines don't matter.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from replicas.position import Position


class Sample(NamedTuple):
    """The primary's position, queried at `seconds` of the monotonic clock."""

    seconds: float
    position: Position


class History:
    """The positions of a primary, sampled about once in `interval` seconds, for `seconds`."""

    def __init__(self, *, seconds: float, interval: float) -> None:
        self._lock = threading.Lock()
        self._samples: deque[Sample] = deque(maxlen=int(seconds / interval) + 60)
        # While the primary is down, nothing new can be read from it: lag stands still.
        self.primary_down = False

    def add(self, sample: Sample) -> None:
        with self._lock:
            self._samples.append(sample)

    @property
    def newest(self) -> Sample | None:
        with self._lock:
            return self._samples[-1] if self._samples else None

    def lag(self, at: int | str, now: float) -> float | None:
        """Seconds by which a replica at position `at` is behind at most; None if it is behind every
        sample, or none is there."""
        with self._lock:
            if self.primary_down and self._samples:
                now = self._samples[-1].seconds
            for sample in reversed(self._samples):
                reached = sample.position.at
                # A primary without a single key is a position that every replica has reached.
                if reached is None or reached <= at:  # type: ignore[operator]
                    return max(0.0, now - sample.seconds)
        return None
