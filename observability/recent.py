"""The last 15 minutes: problems by request, and figures from the metrics, across workers.

Nothing is written while requests are served: each worker keeps its problems in memory and passes
them on once a second. Every STEP_SECONDS one of the workers reads the metrics of all.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable

from database.events import kind_of
from observability import figures
from observability.figures import Json
from observability.metrics import Metrics
from observability.observer import Subscriber
from observability.request import RequestRecord
from observability.shared_file import SharedValue

WINDOW_SECONDS = 900.0
STEP_SECONDS = 15.0
PASS_ON_SECONDS = 1.0
# Of each kind, so that a flood of refused requests does not push out the server's own errors.
MOST_PROBLEMS = 50
SERVER_ERRORS, CLIENT_ERRORS = "server_errors", "client_errors"


class Recent(Subscriber):
    """Subscribes to requests, and reads `metrics`. clock: seconds since 1970."""

    def __init__(self, metrics: Metrics, *, clock: Callable[[], float] = time.time) -> None:
        folder = metrics.folder()
        self._metrics = metrics
        self._clock = clock
        self._history = SharedValue(folder and folder / "history.json")
        self._problems = SharedValue(folder and folder / "problems.json")
        self._new: deque[Json] = deque(maxlen=2 * MOST_PROBLEMS)
        self._closed = threading.Event()
        self._due = 0.0  # of the next reading, by any worker

    def finished(self, request: RequestRecord) -> None:
        if request.status >= 400 or not request.complete:
            self._new.append(_problem(request, self._clock()))

    def start(self) -> None:
        """Pass on problems, and take readings of the metrics, until close()."""
        threading.Thread(
            target=_keep_up, args=(weakref.ref(self), self._closed), name="recent", daemon=True
        ).start()

    def keep_up(self) -> None:
        """Pass on the new problems; take a reading if STEP_SECONDS have passed since the last."""
        self._pass_on()
        # The clock of the machine may have been set back.
        if not 0 < self._due - self._clock() <= STEP_SECONDS:
            self._history.change(self._with_reading)

    def summary(self) -> Json:
        """The JSON of the schema Figures, up to now."""
        self._pass_on()
        history = self._history.read()
        now, pools = figures.totals(self._metrics.families())
        at = self._clock()
        began = history.get("at", at)
        kept = _young(history.get("intervals", []), at)
        grown = figures.growth(history.get("totals", now), now)
        # The newest interval is shorter than the others: it has not ended.
        newest = figures.interval(at, max(0.0, at - began), grown, pools)
        found = self._problems.read()
        problems = [*found.get(SERVER_ERRORS, ()), *found.get(CLIENT_ERRORS, ())]
        return {
            **figures.summary([*kept, newest]),
            "problems": sorted(problems, key=lambda one: one["time"], reverse=True),
        }

    def close(self) -> None:
        self._closed.set()
        self._pass_on()

    def _with_reading(self, history: Json) -> Json | None:
        at = self._clock()
        last = history.get("at")
        if last is not None and 0 <= at - last < STEP_SECONDS:
            self._due = last + STEP_SECONDS
            return None  # another worker was faster
        self._due = at + STEP_SECONDS
        now, pools = figures.totals(self._metrics.families())
        intervals = _young(history.get("intervals", []), at)
        if last is not None and at > last:
            grown = figures.growth(history["totals"], now)
            intervals.append(figures.interval(at, at - last, grown, pools))
        return {"at": at, "totals": now, "intervals": intervals}

    def _pass_on(self) -> None:
        new = [self._new.popleft() for _ in range(len(self._new))]
        if new:
            self._problems.change(lambda kept: _with_problems(kept, new))


def _young(intervals: list[Json], at: float) -> list[Json]:
    return [one for one in intervals if 0 <= at - one["at"] <= WINDOW_SECONDS - STEP_SECONDS]


def _problem(request: RequestRecord, at: float) -> Json:
    """Never the path, the query, a header or the body, like the line of the log."""
    _, _, failure, _ = request.summary()
    return {
        "time": figures.time_text(at),
        "request_id": request.id,
        "method": request.method,
        "route": request.route,
        "status": request.status,
        "duration_ms": round(1000 * request.seconds, 1),
        "complete": request.complete,
        "failure": kind_of(failure) if failure else None,
        "sqlstate": failure.sqlstate if failure else None,
    }


def _with_problems(kept: Json, new: list[Json]) -> Json:
    found = {name: list(kept.get(name, ())) for name in (SERVER_ERRORS, CLIENT_ERRORS)}
    for problem in new:
        by_client = 400 <= problem["status"] < 500
        found[CLIENT_ERRORS if by_client else SERVER_ERRORS].append(problem)
    return {name: problems[-MOST_PROBLEMS:] for name, problems in found.items()}


def _keep_up(reference: weakref.ref[Recent], closed: threading.Event) -> None:
    while True:
        recent = reference()
        if recent is None:
            return
        recent.keep_up()
        del recent
        if closed.wait(PASS_ON_SECONDS):
            return
