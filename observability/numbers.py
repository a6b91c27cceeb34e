"""The numbers behind the metrics, where prometheus_client keeps its own, changed in place.

With several workers a number is a place in a file of its process, in the format of MmapedDict,
which MultiProcessCollector reads. prometheus_client's own class takes a lock, asks for the process
and packs bytes at each addition; here one lock covers all the numbers of a request.
"""

from __future__ import annotations

import os
import threading
import weakref
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from prometheus_client import Counter, Histogram, values
from prometheus_client.mmap_dict import MmapedDict, mmap_key

MANY_PROCESSES = bool(values.ValueClass._multiprocess)


class Number:
    """A float of a metric; prometheus_client makes them, with these arguments."""

    __slots__ = ("__weakref__", "_file", "_key", "at", "cells")

    _multiprocess = MANY_PROCESSES
    cells: Any  # floats, of which the one `at` is this number and the next one its timestamp
    at: int

    def __init__(  # noqa: PLR0917 - prometheus_client's signature
        self,
        kind: str,
        metric_name: str,
        name: str,
        labelnames: Sequence[str],
        labelvalues: Sequence[str],
        help_text: str,
        multiprocess_mode: str = "",
        **_: object,
    ) -> None:
        self._file = f"{kind}_{multiprocess_mode}" if kind == "gauge" else kind
        self._key = mmap_key(metric_name, name, labelnames, labelvalues, help_text)  # type: ignore[arg-type]
        if not MANY_PROCESSES:
            self.cells, self.at = array("d", (0.0, 0.0)), 0
            return
        with _process.lock:
            if not _process.files:
                _process.reopen()
            _process.open(self)
            _process.numbers.add(self)

    def inc(self, amount: float) -> None:
        with _process.lock:
            if self.cells is None:
                _process.reopen()
            self.cells[self.at] += amount

    def set(self, value: float, timestamp: float | None = None) -> None:
        with _process.lock:
            if self.cells is None:
                _process.reopen()
            self.cells[self.at] = value
            self.cells[self.at + 1] = timestamp or 0.0

    def get(self) -> float:
        with _process.lock:
            if self.cells is None:
                _process.reopen()
            value: float = self.cells[self.at]
            return value

    def set_exemplar(self, exemplar: object) -> None:
        """Does nothing, as with prometheus_client's own numbers in files."""

    def get_exemplar(self) -> None:
        """None."""


class _Process:
    """The numbers of this process, and its files by the first part of their names."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.numbers: weakref.WeakSet[Number] = weakref.WeakSet()
        self.files: dict[str, MmapedDict] = {}

    def open(self, number: Number) -> None:
        """Find the number's place in this process's file, or add it there."""
        file = self.files.get(number._file)
        if file is None:
            path = f"{os.environ['PROMETHEUS_MULTIPROC_DIR']}/{number._file}_{os.getpid()}.db"
            file = self.files[number._file] = MmapedDict(path)  # type: ignore[no-untyped-call]
        file.read_value(number._key)  # type: ignore[no-untyped-call]
        # prometheus_client has no public API for the place. A file that grows is mapped again; both
        # mappings are of the same memory.
        number.cells = memoryview(file._m).cast("d")
        number.at = file._positions[number._key] // 8

    def reopen(self) -> None:
        """Open every number that fork() left closed."""
        for number in self.numbers:
            if number.cells is None:
                self.open(number)

    def in_child(self) -> None:
        # Another thread of the parent may have held the lock.
        self.lock = threading.Lock()
        # The parent's numbers remain its own. The child's files are made when it counts something.
        self.files = {}
        for number in self.numbers:
            number.cells = None


_process = _Process()
os.register_at_fork(after_in_child=_process.in_child)
values.ValueClass = Number


class TimedCount:
    """Adds to a counter and to a histogram of durations at once; both have their labels set."""

    __slots__ = ("_bounds", "_buckets", "_count", "_sum")

    def __init__(self, count: Counter, durations: Histogram) -> None:
        # As Counter.inc() and Histogram.observe() do; prometheus_client has no public API for it.
        self._count: Number = count._value
        self._sum: Number = durations._sum
        self._buckets: list[Number] = durations._buckets
        self._bounds = durations._upper_bounds

    def observe(self, seconds: float) -> None:
        count, total = self._count, self._sum
        bucket = self._buckets[bisect_left(self._bounds, seconds)]
        with _process.lock:
            if count.cells is None:
                _process.reopen()
            count.cells[count.at] += 1
            total.cells[total.at] += seconds
            bucket.cells[bucket.at] += 1
