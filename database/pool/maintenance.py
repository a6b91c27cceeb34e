"""The thread that calls a pool's `maintain()` now and then."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Protocol

logger = logging.getLogger(__name__)


class Maintained(Protocol):
    """What has something to be kept in order."""

    def maintain(self) -> None:
        """One pass."""


class Housekeeper:
    """A daemon thread that maintains `house` every `rest` seconds, until stopped.

    It does not keep `house` alive, and ends within one rest after that is gone.
    """

    def __init__(self, house: Maintained, *, rest: float, name: str):
        self._rest = rest
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(weakref.ref(house),), name=f"{name} housekeeper", daemon=True
        )
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End the thread, waiting up to `timeout` seconds for a pass that is under way."""
        self._stopped.set()
        # A pass may itself end in a stop, and a thread cannot wait for itself.
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self, reference: weakref.ref[Maintained]) -> None:
        while (house := reference()) is not None:
            try:
                house.maintain()
            except Exception:
                logger.exception("%r: housekeeping failed", house)
            del house  # a resting housekeeper holds no reference
            if self._stopped.wait(self._rest):
                return
