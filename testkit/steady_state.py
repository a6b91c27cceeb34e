"""What a process holds: descriptors, threads and memory, as Linux counts them."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from pathlib import Path

from connection_manager import ConnectionManager
from testkit.pressure import READ

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Holding:
    """Open descriptors, threads (also those Python does not know), resident bytes."""

    descriptors: int
    threads: int
    resident: int

    @classmethod
    def now(cls) -> Holding:
        gc.collect()
        return cls(
            descriptors=len(os.listdir("/proc/self/fd")),
            threads=len(os.listdir("/proc/self/task")),
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
