"""The contestants: how each is started, on which port, with how many threads."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.bench_database import ROOT, Addresses
from bench.workloads import READS, WRITES

WORKERS = 2
Command = Callable[[int, int, int], list[str]]


@dataclass(frozen=True)
class Form:
    """width: threads (Flask-SQLAlchemy, granian) or connections to the database (the others) of one
    worker process; pinned: whether each worker keeps to one CPU."""

    width: int
    pinned: bool = False

    def __str__(self) -> str:
        return f"{self.width}{' pinned' if self.pinned else ''}"


@dataclass(frozen=True)
class Contestant:
    """A way to serve the procedures.

    command(port, width, workers) is its argv; forms: its width and whether it is pinned, by kind of
    work, the best that `--tune` has found; widths: those that it tries. pins_itself: it pins its
    workers by a setting of its own; others are pinned from outside. by_default: it takes part
    without `--only`. body_form: bodies are sent as the form field `customer`. streams: it has a
    stream of trips. packages: whose versions count. root: the tree that it runs in; environment:
    further variables for it.
    """

    name: str
    command: Command
    forms: Mapping[str, Form]
    packages: tuple[str, ...]
    widths: tuple[int, ...] = (1, 2, 4, 8)
    body_form: bool = False
    streams: bool = True
    ours: bool = False
    pins_itself: bool = False
    by_default: bool = True
    root: Path = ROOT
    environment: Mapping[str, str] = field(default_factory=dict)

    def versions(self) -> dict[str, str]:
        return {p: importlib.metadata.version(p) for p in self.packages}


def gunicorn(module: str, *options: str) -> Command:
    def command(port: int, width: int, workers: int) -> list[str]:
        filled = [option.replace("{width}", str(width)) for option in options]
        return [
            *(sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"),
            *("--workers", str(workers), *filled, module),
        ]

    return command


def uvicorn(module: str) -> Command:
    def command(port: int, width: int, workers: int) -> list[str]:
        return [
            *(sys.executable, "-m", "uvicorn", "--port", str(port), "--workers", str(workers)),
            *("--loop", "uvloop", "--http", "httptools", "--no-access-log"),
            *("--log-level", "warning", module),
        ]

    return command


def granian(module: str) -> Command:
    def command(port: int, width: int, workers: int) -> list[str]:
        return [
            *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1"),
            *("--port", str(port), "--workers", str(workers)),
            *("--blocking-threads", str(width), "--log-level", "warning", module),
        ]

    return command


# Peers are given no configuration file of ours.
_PEER = (
    *("--config", "/dev/null", "--no-control-socket", "--log-level", "warning"),
    # As ours: a stream of all trips may take longer than gunicorn's default of 30 s.
    *("--timeout", "120"),
)

CONTESTANTS = (
    Contestant(
        "original sample",
        gunicorn("bench.contestants.original_sample:app", *_PEER, "--worker-class", "sync"),
        forms={READS: Form(1, pinned=True), WRITES: Form(1, pinned=True)},
        widths=(1,),
        packages=("Flask", "Flask-RESTful", "pyodbc", "gunicorn"),
        body_form=True,
        streams=False,
    ),
    Contestant(
        "Flask-SQLAlchemy",
        gunicorn("bench.contestants.flask_sqlalchemy_app:app", *_PEER, "--threads", "{width}"),
        forms={READS: Form(1), WRITES: Form(4, pinned=True)},
        packages=("Flask", "Flask-SQLAlchemy", "SQLAlchemy", "psycopg", "gunicorn"),
    ),
    Contestant(
        "FastAPI pyodbc",
        uvicorn("bench.contestants.fastapi_pyodbc:app"),
        forms={READS: Form(4, pinned=True), WRITES: Form(8, pinned=True)},
        packages=("fastapi", "pydantic", "pyodbc", "uvicorn", "uvloop", "httptools"),
    ),
    Contestant(
        "FastAPI asyncpg",
        uvicorn("bench.contestants.fastapi_asyncpg:app"),
        forms={READS: Form(2), WRITES: Form(8)},
        packages=("fastapi", "pydantic", "asyncpg", "uvicorn", "uvloop", "httptools"),
    ),
    Contestant(
        "ours, gunicorn",
        gunicorn("app:app"),
        forms={READS: Form(4, pinned=True), WRITES: Form(8, pinned=True)},
        pins_itself=True,
        packages=("Flask", "Flask-RESTful", "pydantic", "pyodbc", "gunicorn"),
        ours=True,
    ),
    Contestant(
        "ours, granian",
        granian("app:app"),
        forms={READS: Form(4), WRITES: Form(4)},
        by_default=False,
        packages=("Flask", "Flask-RESTful", "pydantic", "pyodbc", "granian"),
        ours=True,
    ),
)


def environment(contestant: Contestant, addresses: Addresses, form: Form) -> Mapping[str, str]:
    """The environment variables that the contestant's process needs in addition."""
    if contestant.ours:
        text = addresses.odbc_without_driver
        return {
            "POSTGRESQLCONNSTR_WWIF": text,
            "POSTGRESQLCONNSTR_TAXI": text,
            "POOL_MAX_SIZE": str(form.width),
            # The others let any number of requests wait.
            "POOL_MAX_WAITING": "128",
            "PIN_WORKERS": "yes" if form.pinned and contestant.pins_itself else "no",
            **contestant.environment,
        }
    return {
        "BENCH_ODBC": addresses.odbc,
        "BENCH_SQLALCHEMY": addresses.sqlalchemy,
        "BENCH_ASYNCPG": addresses.asyncpg,
        "BENCH_CONNECTIONS": str(form.width),
    }
