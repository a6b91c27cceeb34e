"""Deletes expired idempotency keys."""

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from catalog.statements import delete_expired_keys
from connection_manager import ConnectionManager

log = logging.getLogger(__name__)
PAUSE_SECONDS = 3600.0
# Deletes the keys of the sample's own writes.
PROCEDURE = "web.delete_expired_requests"
NAME = "procedures_api.delete_expired"


class KeyCleaner:
    """Deletes expired keys at most once in PAUSE_SECONDS per database and kind of key, in the
    background after a write.

    hours: how long a key is kept. Several processes may clean at the same time.
    """

    def __init__(self, *, hours: int) -> None:
        self._hours = hours
        self._lock = threading.Lock()
        self._next: dict[tuple[ConnectionManager, str], float] = {}

    def after_write(self, manager: ConnectionManager) -> None:
        """After a write by one of the sample's procedures. Never raises, never waits."""
        if self._due(manager, PROCEDURE):
            document = json.dumps({"older_than_hours": self._hours})
            self._start(PROCEDURE, lambda: manager.call(PROCEDURE, document).json)

    def after_catalog_write(self, manager: ConnectionManager) -> None:
        """After a write by a procedure of the catalog. Never raises, never waits."""
        if self._due(manager, NAME):
            statement = delete_expired_keys(manager.engine, self._hours)
            self._start(
                NAME, lambda: manager.execute(NAME, statement, repeatable=True)[0].rows[0][0]
            )

    def _due(self, manager: ConnectionManager, name: str) -> bool:
        """Whether the caller has to delete keys now; True for one caller in PAUSE_SECONDS."""
        now = time.monotonic()
        if now < self._next.get((manager, name), 0.0):
            return False
        with self._lock:
            if now < self._next.get((manager, name), 0.0):
                return False
            self._next[manager, name] = now + PAUSE_SECONDS
            return True

    def _start(self, name: str, delete: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                log.info("expired idempotency keys deleted by %s: %s", name, delete())
            except Exception as error:
                log.warning("%s deleted no expired idempotency keys: %s", name, error)

        threading.Thread(target=run, name="key-cleaner", daemon=True).start()
