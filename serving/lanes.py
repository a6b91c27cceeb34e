"""Threads that serve connections from a queue of their own."""

import queue
import threading
from collections.abc import Callable
from typing import Any


class Lane:
    """Up to `most` daemon threads; one is started when none is free.

    They are daemons so that a request that hangs does not keep its worker from ending.
    """

    def __init__(self, name: str, most: int, serve: Callable[["Lane", Any], None]) -> None:
        self._name = name
        self._most = most
        self._serve = serve
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._free = threading.Semaphore(0)
        self._started = 0

    def put(self, item: Any) -> None:
        """Queue `item` for a thread. To be called from one thread only."""
        self._queue.put(item)
        if self._started < self._most and not self._free.acquire(blocking=False):
            self._started += 1
            name = f"{self._name}-{self._started}"
            threading.Thread(target=self._run, name=name, daemon=True).start()

    def waiting(self) -> int:
        """The number of items in the queue."""
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
