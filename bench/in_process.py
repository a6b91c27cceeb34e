"""A read without HTTP against bare Flask: `python -m bench.in_process`.

Both applications are called as a server would call them, in a loop, one thread. The read goes
through every layer of the API to PostgreSQL; bare Flask answers with a constant of the same size.
Prints the CPU time of a request and the ratio, as medians of alternating rounds.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response
from werkzeug.test import create_environ

from bench.bench_database import BenchDatabase, bench_database
from bench.workloads import IDS

REQUESTS = 500  # of each application in a round
Application = Callable[..., Iterable[bytes]]


def bare_flask(body: bytes) -> Flask:
    app = Flask("bare")

    @app.get("/customer/<int:customer_id>")
    def customer(customer_id: int) -> Response:
        return Response(body, mimetype="application/json")

    return app


def microseconds(app: Application) -> float:
    """CPU time of this thread for a request, in microseconds."""
    base = create_environ(
        "/customer/1", "http://127.0.0.1", environ_overrides={"REMOTE_ADDR": "127.0.0.1"}
    )
    environs = [{**base, "PATH_INFO": f"/customer/{random.choice(IDS)}"} for _ in range(REQUESTS)]
    began = time.thread_time()
    for environ in environs:
        call(app, environ)
    return 1e6 * (time.thread_time() - began) / REQUESTS


def call(app: Application, environ: dict[str, Any]) -> bytes:
    """The body. Raises AssertionError unless the status is 200."""
    given: list[str] = []
    parts = app(environ, lambda status, headers, *more: given.append(status))
    body = b"".join(parts)
    if hasattr(parts, "close"):
        parts.close()
    assert given == ["200 OK"], given
    return body


def applications(database: BenchDatabase) -> tuple[Application, Application, Callable[[], None]]:
    """The API, bare Flask, and what closes the API."""
    text = database.addresses.odbc_without_driver
    os.environ |= {"POSTGRESQLCONNSTR_WWIF": text, "POSTGRESQLCONNSTR_TAXI": text}
    # As in a worker: metrics are in a folder that the workers share. Imported after that is set.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp()
    from app import close_app, create_app
    from observability import logs
    from settings import read_settings

    settings = read_settings()
    # With one line a request, as ever.
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 # until the process ends
    logs.configure("json")
    ours = create_app(settings)
    body = call(ours, create_environ("/customer/1", "http://127.0.0.1"))
    return ours, bare_flask(body), lambda: close_app(ours)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with bench_database("in-process") as database:
        ours, bare, close = applications(database)
        try:
            for app in (ours, bare):
                microseconds(app)
            rounds = [(microseconds(ours), microseconds(bare)) for _ in range(options.rounds)]
        finally:
            close()
    read, constant = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(mine / theirs for mine, theirs in rounds)
    print(f"one read {read:.0f} µs, bare Flask {constant:.0f} µs, ratio {ratio:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
