"""Keeps the states of a database's replicas current while reads use them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from connection_manager import ConnectionManager
from database.circuit_breaker import CircuitOpen
from database.errors import DatabaseError, DeadlineExceeded, Unavailable
from replicas.lag import History, Sample
from replicas.replica import Replica, position_of

log = logging.getLogger(__name__)
PROBE_SECONDS = 1.0
SAMPLE_DEADLINE_SECONDS = 1.5
# A state that is older says nothing: the primary serves until the next probe.
FRESH_SECONDS = 5.0
# Without reads for so long probes end, so that a serverless database may pause.
IDLE_SECONDS = 30.0


class Watch:
    """Probes `replicas` every PROBE_SECONDS in the background, from start() or a touch() until no
    touch() has followed for IDLE_SECONDS."""

    def __init__(
        self, primary: ConnectionManager, replicas: Sequence[Replica], history: History
    ) -> None:
        self._primary = primary
        self._replicas = replicas
        self._history = history
        self._touched = time.monotonic()
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._running: dict[str, threading.Thread] = {}

    def start(self) -> None:
        """Begin to probe. Safe to call again."""
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="replicas", daemon=True)
                self._thread.start()
        self.touch()

    def touch(self) -> None:
        """A read is about to use the states."""
        self._touched = time.monotonic()
        if not self._wanted.is_set():
            self._wanted.set()

    def close(self) -> None:
        """End the probes. Safe to call again."""
        self._closed.set()
        self._wanted.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._sample()
                for replica in self._replicas:
                    self._probe(replica)
            except Exception:
                log.exception("replicas could not be probed")
            self._closed.wait(PROBE_SECONDS)
            if time.monotonic() - self._touched > IDLE_SECONDS:
                self._wanted.clear()
                self._wanted.wait()

    def _sample(self) -> None:
        began = time.monotonic()
        try:
            found = position_of(self._primary, seconds=SAMPLE_DEADLINE_SECONDS)
            self._history.add(Sample(began, found))
        except (DatabaseError, CircuitOpen) as error:
            self._history.primary_down = True
            log.debug("the position of %s is unknown: %s", self._primary.name, error)
        except (Unavailable, DeadlineExceeded) as error:
            # It is busy, maybe with writes: lag goes on.
            failure = getattr(error, "failure", None)
            self._history.primary_down = failure is not None
        else:
            self._history.primary_down = False

    def _probe(self, replica: Replica) -> None:
        # In a thread of its own, so that a replica that hangs does not hold up the others.
        running = self._running.get(replica.name)
        if running is None or not running.is_alive():
            made = threading.Thread(target=replica.probe, name="replica-probe", daemon=True)
            self._running[replica.name] = made
            made.start()
