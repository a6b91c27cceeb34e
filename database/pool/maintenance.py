"""The thread that calls a pool's `maintain()` at intervals."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Protocol

logger = logging.getLogger(__name__)


class Maintained(Protocol):
    """An object with periodic work."""

    def maintain(self) -> None:
        """One pass."""


class Housekeeper:
    """A daemon thread that maintains `target` every `interval` seconds, until stopped.

    It does not keep `target` alive, and ends within one interval after `target` was collected.
    """

    def __init__(self, target: Maintained, *, interval: float, name: str):
        self._interval = interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(weakref.ref(target),), name=f"{name} housekeeper", daemon=True
        )
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End the thread, waiting up to `timeout` seconds for a running pass."""
        self._stopped.set()
        # A pass may itself close the pool, and a thread cannot join itself.
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self, reference: weakref.ref[Maintained]) -> None:
        while (target := reference()) is not None:
            try:
                target.maintain()
            except Exception:
                logger.exception("%r: housekeeping failed", target)
            del target  # hold no reference between passes
            if self._stopped.wait(self._interval):
                return
