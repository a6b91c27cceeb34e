"""Threads that serve connections from a queue of their own."""

import queue
import threading
from collections.abc import Callable
from typing import Any


class Lane:
    """At most `most` daemon threads, each started when no other one is free.

    Daemons, because a worker that must end does not wait for a request that does not.
    """

    def __init__(self, name: str, most: int, serve: Callable[["Lane", Any], None]) -> None:
        self._name = name
        self._most = most
        self._serve = serve
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._free = threading.Semaphore(0)
        self._started = 0

    def put(self, item: Any) -> None:
        """Have a thread serve `item`. Called by one thread only."""
        self._queue.put(item)
        if self._started < self._most and not self._free.acquire(blocking=False):
            self._started += 1
            name = f"{self._name}-{self._started}"
            threading.Thread(target=self._run, name=name, daemon=True).start()

    def waiting(self) -> int:
        """How many items no thread has taken."""
        return self._queue.qsize()

    def _run(self) -> None:
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                if self._started < self._most:
                    self._free.release()
                item = self._queue.get()
            self._serve(self, item)
