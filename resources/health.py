"""Liveness of the process, and readiness of its databases."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from flask import Response, current_app
from flask_restful import Resource

from database.errors import DatabaseError, Kind, NotConfigured
from databases import Databases
from operations.operation import operation
from operations.response_models import Live, Ready
from resources.base import sources

KEPT_SECONDS = 3.0
# A probe may take as long as a login; the answer does not wait for it longer than this.
ANSWER_SECONDS = 0.02
# Only the first answer waits longer, for there is no state before it.
FIRST_ANSWER_SECONDS = 2.0
NOT_CONFIGURED = "not configured"
_STATES = {
    Kind.RESUMING: "resuming",
    Kind.THROTTLED: "resuming",
    Kind.LOGIN_REFUSED: "login refused",
    Kind.NOT_OPEN: "login refused",
}


class Probe:
    """The last known state of one database, refreshed by one background thread at a time.

    ask() returns if the database answers, and raises what it says else; it may take its time.
    Without state() no probe is made, so that a database that pauses when idle may do so.
    """

    def __init__(
        self, ask: Callable[[], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._running: threading.Event | None = None  # set at the probe's end
        self._known: tuple[str, float | None] = ("checking", None)
        self._known_at: float | None = None

    def begin(self) -> None:
        """Probe in the background, unless a probe is running or has ended a moment ago."""
        with self._lock:
            fresh = self._known_at is not None and self._clock() - self._known_at < KEPT_SECONDS
            if self._running is not None or fresh:
                return
            self._running = threading.Event()
            threading.Thread(
                target=self._run, args=(self._running,), name="probe", daemon=True
            ).start()

    def state(self, patience: float | None = None) -> dict[str, Any]:
        """{"state": text, "latency_ms": float or None, "age_seconds": float or None}.

        Waits up to `patience` seconds for a probe that is running, then gives the state before it
        and its age; "checking" before the first probe has ended. patience: by default
        ANSWER_SECONDS, for the first probe FIRST_ANSWER_SECONDS.
        """
        self.begin()
        running = self._running
        if running is not None:
            if patience is None:
                patience = FIRST_ANSWER_SECONDS if self._known_at is None else ANSWER_SECONDS
            running.wait(patience)
        with self._lock:
            (state, latency), at = self._known, self._known_at
        age = None if at is None else round(max(0.0, self._clock() - at), 1)
        return {"state": state, "latency_ms": latency, "age_seconds": age}

    def _run(self, ended: threading.Event) -> None:
        began = self._clock()
        try:
            self._ask()
        except NotConfigured:
            known = NOT_CONFIGURED, None
        except Exception as error:  # whatever it was, it is not ready
            kind = error.kind if isinstance(error, DatabaseError) else None
            known = _STATES.get(kind, "unreachable"), None
        else:
            known = "ready", round((self._clock() - began) * 1000, 1)
        with self._lock:
            self._known, self._known_at, self._running = known, self._clock(), None
        ended.set()


class Readiness:
    """The probes of all databases."""

    def __init__(self, databases: Databases) -> None:
        self._probes = {
            name: Probe(lambda name=name: databases.manager(name).probe())
            for name in databases.reported_names()
        }

    def report(self) -> dict[str, Any]:
        """As the schema Ready. A database that is not configured does not
        keep the API from being ready."""
        for probe in self._probes.values():
            probe.begin()
        states = {name: probe.state() for name, probe in self._probes.items()}
        states = {n: {**states[n], "source": source} for n, source in sources().items()}
        ready = all(s["state"] in ("ready", NOT_CONFIGURED) for s in states.values())
        return {"status": "ready" if ready else "not ready", "databases": states}


class HealthLive(Resource):
    """Asks no database: a database that is down is no reason to restart the process."""

    @operation(Live)
    def get(self) -> Response:
        """Whether the process answers."""
        return _health({"status": "live"}, 200)


class HealthReady(Resource):
    """The last known state of each database. Probes log in past the pool, so that a full queue is
    not taken for an outage, and in the background, so that a slow login is none either."""

    @operation(Ready, also=(503,))
    def get(self) -> Response:
        """Whether every configured database answers."""
        report = current_app.extensions["readiness"].report()
        return _health(report, 200 if report["status"] == "ready" else 503)


def _health(report: dict[str, Any], status: int) -> Response:
    text = json.dumps(report)
    return Response(text, status, {"Cache-Control": "no-store"}, mimetype="application/json")
