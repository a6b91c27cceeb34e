"""Forgets the keys of writes that are older than a client may still ask again."""

import json
import logging
import threading
import time

from connection_manager import ConnectionManager

log = logging.getLogger(__name__)
PAUSE_SECONDS = 3600.0
PROCEDURE = "web.delete_expired_requests"


class KeyCleaner:
    """Calls PROCEDURE at most once in PAUSE_SECONDS, beside the writes.

    hours: how long a key is kept. Many processes may clean at once; it is a DELETE.
    """

    def __init__(self, *, hours: int) -> None:
        self._document = json.dumps({"older_than_hours": hours})
        self._lock = threading.Lock()
        self._next = 0.0

    def after_write(self, manager: ConnectionManager) -> None:
        """Clean in the background if it is time to. Never raises, never waits."""
        if time.monotonic() < self._next:
            return
        with self._lock:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + PAUSE_SECONDS
        threading.Thread(
            target=self._clean, args=(manager,), name="key-cleaner", daemon=True
        ).start()

    def _clean(self, manager: ConnectionManager) -> None:
        try:
            answer = manager.call(PROCEDURE, self._document)
            log.info("expired idempotency keys: %s", answer.json)
        except Exception as error:
            log.warning("expired idempotency keys were not deleted: %s", error)
