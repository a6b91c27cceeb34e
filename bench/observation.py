"""The cost of logs and metrics per request, for GET /customer/123.

Run as `python -m bench.observation`. Measured twice, in CPU time of the thread: around an
application that does nothing but make the same observations, which is what the code costs; and
around the whole app over the embedded database, which adds what the caches forget in between.
Exits with 1 when the first is above the target.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping

# Before prometheus_client is imported: as under gunicorn, where numbers are kept in files.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp())

from werkzeug.test import EnvironBuilder

from app import close_app, create_app
from database.events import Attempt, Call, Checkout, Observe, Usage, unobserved
from observability import logs
from observability.logs import RequestLog
from observability.metrics import Metrics
from observability.observer import Observer
from settings import read_settings
from testkit.cluster import ROOT

TARGET_MICROSECONDS = 15.0
ENVIRON = EnvironBuilder("/customer/123").get_environ()
HEADERS = [("Content-Type", "application/json"), ("Content-Length", "271"), ("ETag", '"1"')]


def ask(app: Callable) -> None:
    body = app(dict(ENVIRON), lambda *_: None)
    try:
        for _ in body:
            pass
    finally:
        if hasattr(body, "close"):
            body.close()


def observations_only(observe: Observe) -> Callable:
    """An application that emits the events of a call and does nothing else."""

    def app(environ: dict, start_response: Callable) -> list[bytes]:
        began = time.monotonic()
        if observe is unobserved:
            uuid.uuid4()  # the request's id, which is made without anybody observing too
        else:
            observe(Checkout("WWIF", began, 1e-5))
            observe(Usage("WWIF", 1e-3))
            observe(Attempt("WWIF", "web.get_customer", began, 1e-3, None))
            observe(Call("WWIF", "postgresql", "web.get_customer", began, 1e-3, None, False))
        start_response("200 OK", HEADERS)
        return [b"x" * 271]

    return app


def microseconds(sides: Mapping[str, Callable], *, rounds: int, calls: int) -> dict[str, float]:
    """The least CPU time of a request to each, in turns; medians are printed too."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, app in sides.items():
            ask(app)
            began = time.thread_time()
            for _ in range(calls):
                ask(app)
            taken[name].append(1e6 * (time.thread_time() - began) / calls)
    for name, times in taken.items():
        print(f"  {name:9} least {min(times):7.1f} µs   median {statistics.median(times):7.1f} µs")
    return {name: min(times) for name, times in taken.items()}


def cost(title: str, sides: Mapping[str, Callable], *, rounds: int, calls: int) -> float:
    print(title)
    found = microseconds(sides, rounds=rounds, calls=calls)
    difference = found["observed"] - found["bare"]
    print(f"  observing costs {difference:.1f} µs")
    return difference


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    settings = read_settings({"LOCAL_DIR": str(ROOT / ".local" / "bench")})
    with open(os.devnull, "w", encoding="utf-8") as log:
        logs.configure("json", stream=log)
        observer = Observer(Metrics(), RequestLog())
        alone = cost(
            "the code",
            {
                "observed": observer.around(observations_only(observer.observe)),
                "bare": observations_only(unobserved),
            },
            rounds=options.rounds,
            calls=500,
        )
        observed, bare = create_app(settings), create_app(settings)
        manager = bare.extensions["databases"].manager("WWIF")
        manager._observe = unobserved
        manager._pool._observe = None
        cost(
            "in the app",
            # around() wraps what Flask's own class answers with
            {"observed": observed.wsgi_app, "bare": type(bare).wsgi_app.__get__(bare)},
            rounds=options.rounds,
            calls=20,
        )
        close_app(observed)
        close_app(bare)
    print(f"target for the code: {TARGET_MICROSECONDS:.0f} µs")
    return 0 if alone <= TARGET_MICROSECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
