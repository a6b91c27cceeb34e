"""Many threads on few connections: who waited how long, and whether the pool kept its word."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass

from connection_manager import ConnectionManager
from database.deadline import Deadline
from database.errors import Unavailable
from database.events import Checkout, Observation

READ = ("web.get_customer", '{"CustomerID":123}')


class InvariantWatch:
    """A thread that reads stats() over and over and notes each reading that can't be true."""

    def __init__(self, manager: ConnectionManager) -> None:
        self.readings = 0
        self.broken: list[str] = []
        self._manager = manager
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> InvariantWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.001):
            s = self._manager.stats()
            self.readings += 1
            if not s.idle + s.in_use + s.connecting == s.size <= s.max_size:
                self.broken.append(f"places: {s}")
            if s.waiting and s.idle:
                self.broken.append(f"somebody waits beside an idle connection: {s}")


@dataclass(frozen=True)
class Load:
    """What threads saw of their calls.

    waits: seconds in the pool's queue, as the pool tells them; calls: seconds from begin to answer;
    turns: how many calls of others were answered meanwhile, which a busy machine hardly stretches.
    """

    waits: list[float]
    calls: list[float]
    turns: list[int]
    errors: Counter[str]
    readings: int
    broken: list[str]


def longest_over_median(waits: list[float] | list[int]) -> float:
    return max(waits) / statistics.median(waits)


def steady(manager: ConnectionManager, *, threads: int, seconds: float) -> Load:
    """`threads` callers, each with its next call as soon as it has its answer."""
    seen: list[list[tuple[float, int]]] = [[] for _ in range(threads)]
    waits: list[float] = []
    answers = itertools.count()
    errors: Counter[str] = Counter()
    warm = threading.Barrier(threads + 1)
    begun = threading.Event()
    stop = threading.Event()

    def observe(event: Observation) -> None:
        if isinstance(event, Checkout):
            waits.append(event.seconds)

    def call(mine: list[tuple[float, int]]) -> None:
        manager.call(*READ)
        warm.wait()
        begun.wait()
        turn = next(answers)
        while not stop.is_set():
            began, last = time.perf_counter(), turn
            try:
                manager.call(*READ)
            except Exception as error:
                errors[f"{type(error).__name__}: {error}"] += 1
            turn = next(answers)
            mine.append((time.perf_counter() - began, turn - last))

    crowd = [threading.Thread(target=call, args=(mine,)) for mine in seen]
    for thread in crowd:
        thread.start()
    warm.wait()
    manager._observe = observe
    with InvariantWatch(manager) as watch:
        begun.set()
        stop.wait(seconds)
        stop.set()
        for thread in crowd:
            thread.join()
    # The first call of each finds a queue that is filling up, the last one that runs empty.
    calls, turns = map(list, zip(*(s for mine in seen for s in mine[1:-1]), strict=True))
    return Load(waits[threads:-threads], calls, turns, errors, watch.readings, watch.broken)


@dataclass(frozen=True)
class Rush:
    """answered: seconds each answer took; refused: seconds each 503 took."""

    answered: list[float]
    refused: list[float]
    errors: Counter[str]
    broken: list[str]


def rush(manager: ConnectionManager, *, threads: int, hold: float) -> Rush:
    """`threads` callers at once, each with one call that takes `hold` seconds in the database."""
    answered: list[float] = []
    refused: list[float] = []
    errors: Counter[str] = Counter()
    document = f'{{"seconds":{hold}}}'
    ready = threading.Barrier(threads)

    def call() -> None:
        deadline = Deadline(60.0)
        ready.wait()
        began = time.perf_counter()
        try:
            manager.call("web.sleep", document, deadline=deadline)
            answered.append(time.perf_counter() - began)
        except Unavailable:
            refused.append(time.perf_counter() - began)
        except Exception as error:
            errors[f"{type(error).__name__}: {error}"] += 1

    crowd = [threading.Thread(target=call) for _ in range(threads)]
    with InvariantWatch(manager) as watch:
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
    return Rush(answered, refused, errors, watch.broken)
