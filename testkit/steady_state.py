"""What a process holds: descriptors, threads and memory, as Linux counts them."""

from __future__ import annotations

import gc
import os
import time
from dataclasses import dataclass
from pathlib import Path

from connection_manager import ConnectionManager
from testkit.pressure import READ

PAGE = os.sysconf("SC_PAGE_SIZE")
# The least of several samples is what is held: an embedded cluster's watch, of another test in this
# process, opens a socket for a moment every 0.25 s.
SAMPLES, SAMPLE_SECONDS = 20, 0.02


@dataclass(frozen=True)
class Holding:
    """Open descriptors, threads (also those Python does not know), resident bytes."""

    descriptors: int
    threads: int
    resident: int

    @classmethod
    def now(cls) -> Holding:
        gc.collect()
        descriptors, threads = [], []
        for _ in range(SAMPLES):
            descriptors.append(len(os.listdir("/proc/self/fd")))
            threads.append(len(os.listdir("/proc/self/task")))
            time.sleep(SAMPLE_SECONDS)
        return cls(
            descriptors=min(descriptors),
            threads=min(threads),
            resident=int(Path("/proc/self/statm").read_text().split()[1]) * PAGE,
        )


def open_and_close(connection_string: str, cycles: int) -> None:
    """A manager with two connections and its threads, made and closed again."""
    for _ in range(cycles):
        manager = ConnectionManager(connection_string, family="postgresql", max_size=2)
        first = manager._pool.checkout()
        manager.call(*READ)
        first.checkin()
        assert manager.close(timeout=5.0)


def call_over_and_over(manager: ConnectionManager, calls: int) -> None:
    for _ in range(calls):
        manager.call(*READ)
