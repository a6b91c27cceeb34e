"""Liveness of the process, and readiness of its databases."""

import json
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import current_app
from flask_restful import Resource

from database.errors import DatabaseError, Kind, NotConfigured
from databases import Databases
from operations.operation import operation
from operations.response_models import Live, Ready
from protocol.authorization import opens
from protocol.formats import JSON
from protocol.response import Response

KEPT_SECONDS = 3.0
# A probe may take as long as a login; the response waits for it at most this long.
ANSWER_SECONDS = 0.02
# The first response waits longer: there is no state before it.
FIRST_ANSWER_SECONDS = 2.0
NOT_CONFIGURED = "not configured"
LIVE = json.dumps({"status": "live"})
_STATES = {
    Kind.RESUMING: "resuming",
    Kind.THROTTLED: "resuming",
    Kind.LOGIN_REFUSED: "login refused",
    Kind.NOT_OPEN: "login refused",
}


class Probe:
    """The cached state of one database, refreshed by at most one background thread.

    check() returns if the database answers, else it raises; it may be slow. Only state() starts a
    check, so that a serverless database without health checks can pause.
    """

    def __init__(
        self, check: Callable[[], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._check = check
        self._clock = clock
        self._lock = threading.Lock()
        self._running: threading.Event | None = None  # set when the check ends
        self._result: tuple[str, float | None] = ("checking", None)  # state, latency in ms
        self._checked_at: float | None = None

    def begin(self) -> None:
        """Start a check in the background, unless one is running or the result is fresh."""
        with self._lock:
            fresh = self._checked_at is not None and self._clock() - self._checked_at < KEPT_SECONDS
            if self._running is not None or fresh:
                return
            self._running = threading.Event()
            threading.Thread(
                target=self._run, args=(self._running,), name="probe", daemon=True
            ).start()

    def state(self, patience: float | None = None) -> dict[str, Any]:
        """{"state": text, "latency_ms": float or None, "age_seconds": float or None}.

        "checking" before the first check has ended. Waits up to `patience` seconds for a running
        check, then returns the previous result and its age. patience: by default ANSWER_SECONDS,
        for the first check FIRST_ANSWER_SECONDS.
        """
        self.begin()
        running = self._running
        if running is not None:
            if patience is None:
                patience = FIRST_ANSWER_SECONDS if self._checked_at is None else ANSWER_SECONDS
            running.wait(patience)
        with self._lock:
            (state, latency), checked_at = self._result, self._checked_at
        age = None if checked_at is None else round(max(0.0, self._clock() - checked_at), 1)
        return {"state": state, "latency_ms": latency, "age_seconds": age}

    def _run(self, ended: threading.Event) -> None:
        began = self._clock()
        result: tuple[str, float | None]
        try:
            self._check()
        except NotConfigured:
            result = NOT_CONFIGURED, None
        except Exception as error:  # any other failure means not ready
            state = _STATES.get(error.kind) if isinstance(error, DatabaseError) else None
            result = state or "unreachable", None
        else:
            result = "ready", round((self._clock() - began) * 1000, 1)
        with self._lock:
            self._result, self._checked_at, self._running = result, self._clock(), None
        ended.set()


class Readiness:
    """The probes of all databases."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._probes = {
            name: Probe(partial(_check, databases, name)) for name in databases.reported_names()
        }

    def report(self) -> dict[str, Any]:
        """The JSON of the schema Ready.

        The API is ready even if a database is not configured.
        """
        for probe in self._probes.values():
            probe.begin()
        states = {name: probe.state() for name, probe in self._probes.items()}
        # The route is open; only callers with `operate` see the names of servers.
        sources = self._databases.sources(with_place=opens("operate"))
        states = {
            n: {**state, "source": sources[n], **_replicas_of(self._databases, n)}
            for n, state in states.items()
        }
        ready = all(s["state"] in ("ready", NOT_CONFIGURED) for s in states.values())
        return {"status": "ready" if ready else "not ready", "databases": states}


def _replicas_of(databases: Databases, name: str) -> dict[str, Any]:
    """The member `replicas` of a database that has some. They never make the API not ready."""
    if not databases.has_replicas(name):
        return {}
    replicated = databases.replicated(name)
    assert replicated is not None
    return {"replicas": replicated.report()}


def _check(databases: Databases, name: str) -> None:
    databases.manager(name).probe()


class HealthLive(Resource):
    """Liveness, without a database: an outage of a database is no reason to restart the process."""

    @operation(Live)
    def get(self) -> Response:
        """Whether the process answers.

        Uses no database, so a restart can't be caused by an outage of one.
        """
        return _health(LIVE, 200)


class HealthReady(Resource):
    """Readiness: the cached state of each database.

    Probes log in outside the pool, so that a full queue does not look like an outage, and in the
    background, so that a slow login does not either.
    """

    @operation(Ready, also=(503,))
    def get(self) -> Response:
        """Whether every configured database answers.

        Returns the result of the last probe of each database within 0.1 seconds, and probes again
        in the background.
        """
        report = current_app.extensions["readiness"].report()
        return _health(json.dumps(report), 200 if report["status"] == "ready" else 503)


def _health(text: str, status: int) -> Response:
    return Response(text, status, {"Cache-Control": "no-store"}, mimetype=JSON)
