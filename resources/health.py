"""Whether the process lives, and whether its databases answer."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from flask import Response, current_app
from flask_restful import Resource

from database.errors import DatabaseError, Kind, NotConfigured
from databases import Databases
from operations.operation import operation
from operations.response_models import Live, Ready

KEPT_SECONDS = 3.0
TIMEOUT_SECONDS = 2.0
NOT_CONFIGURED = {"state": "not configured", "latency_ms": None}
UNREACHABLE = {"state": "unreachable", "latency_ms": None}
_STATES = {
    Kind.RESUMING: "resuming",
    Kind.THROTTLED: "resuming",
    Kind.LOGIN_REFUSED: "login refused",
}


class Probe:
    """The state of one database, asked for at most once in KEPT_SECONDS and by one thread.

    ask() returns if the database answers, and raises what it says else. Whoever wants the state
    while it is being asked waits for it, up to TIMEOUT_SECONDS after the asking began.
    """

    def __init__(
        self, ask: Callable[[], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: Future[dict[str, Any]] | None = None
        self._began = 0.0

    def begin(self) -> None:
        """Ask in the background, unless it is being asked or has just been."""
        with self._lock:
            if self._asked is not None and (
                not self._asked.done() or self._clock() - self._began < KEPT_SECONDS
            ):
                return
            self._asked, self._began = Future(), self._clock()
            threading.Thread(
                target=self._run, args=(self._asked,), name="probe", daemon=True
            ).start()

    def state(self) -> dict[str, Any]:
        """{"state": text, "latency_ms": float, or None where it did not answer}."""
        self.begin()
        with self._lock:
            asked, left = self._asked, self._began + TIMEOUT_SECONDS - self._clock()
        wait([asked], max(0.0, left))
        return asked.result() if asked.done() else UNREACHABLE

    def _run(self, asked: Future) -> None:
        began = self._clock()
        try:
            self._ask()
        except NotConfigured:
            asked.set_result(NOT_CONFIGURED)
        except Exception as error:  # whatever it was, it is not ready
            kind = error.kind if isinstance(error, DatabaseError) else None
            asked.set_result({"state": _STATES.get(kind, "unreachable"), "latency_ms": None})
        else:
            latency = round((self._clock() - began) * 1000, 1)
            asked.set_result({"state": "ready", "latency_ms": latency})


class Readiness:
    """The probes of all databases."""

    def __init__(self, databases: Databases) -> None:
        self._probes = {
            name: Probe(lambda name=name: databases.manager(name).probe(TIMEOUT_SECONDS))
            for name in databases.reported_names()
        }

    def report(self) -> dict[str, Any]:
        """As the schema Ready. What is not configured keeps nobody from being ready."""
        for probe in self._probes.values():
            probe.begin()
        states = {name: probe.state() for name, probe in self._probes.items()}
        ready = all(s["state"] in ("ready", "not configured") for s in states.values())
        return {"status": "ready" if ready else "not ready", "databases": states}


class HealthLive(Resource):
    """Asks no database: a database that is down is no reason to restart the process."""

    @operation(Live)
    def get(self) -> Response:
        """Whether the process answers."""
        return _health({"status": "live"}, 200)


class HealthReady(Resource):
    """Asks each database beside the pool, so that a full queue is not taken for an outage."""

    @operation(Ready, also=(503,))
    def get(self) -> Response:
        """Whether every configured database answers."""
        report = current_app.extensions["readiness"].report()
        return _health(report, 200 if report["status"] == "ready" else 503)


def _health(report: dict[str, Any], status: int) -> Response:
    text = json.dumps(report)
    return Response(text, status, {"Cache-Control": "no-store"}, mimetype="application/json")
