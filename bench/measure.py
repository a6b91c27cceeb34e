"""One figure: a contestant under one workload at one number of connections, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass

from bench.bench_database import BenchDatabase
from bench.process_usage import cpu_seconds, forget_peak, peak_bytes
from bench.server_process import Running
from bench.workloads import Workload
from bench.wrk_load import Load, drive

WARM_SECONDS = 1.0


@dataclass(frozen=True)
class Figure:
    """rate: answered requests per second; latencies in milliseconds; CPU in seconds a request, of
    the contestant's processes and of PostgreSQL's; peak_bytes: of all its processes."""

    contestant: str
    workload: str
    connections: int
    rate: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_per_request: float
    database_cpu_per_request: float
    peak_bytes: int

    def as_dict(self) -> dict:
        return asdict(self)


class WritesMissing(AssertionError):
    """Writes that got a response are not in the database."""


def measure(
    server: Running,
    workload: Workload,
    database: BenchDatabase,
    *,
    connections: int,
    seconds: float,
    tag: str,
) -> Figure:
    """Load `server` and measure it.

    Raises WritesMissing if creates that got a response are not in the database.
    """
    created = "\"CustomerName\" LIKE 'bench %'"
    before = database.count("sales.customers", created) if workload.kind == "create" else 0
    forget_peak(server.pid)
    used, used_by_database = cpu_seconds(server.pid), cpu_seconds(database.postmaster)
    done = load(server, workload, connections=connections, seconds=seconds, tag=tag)
    used = cpu_seconds(server.pid) - used
    used_by_database = cpu_seconds(database.postmaster) - used_by_database
    answered = max(1, done.requests - done.errors)
    if workload.kind == "create":
        made = database.count("sales.customers", created) - before
        # Those in flight at the end are made, and not counted by wrk.
        if not answered <= made <= answered + done.errors + 2 * connections:
            raise WritesMissing(
                f"{server.contestant.name}: {answered} creates answered, {made} made"
            )
    return Figure(
        contestant=server.contestant.name,
        workload=workload.name,
        connections=connections,
        rate=done.rate,
        p50_ms=done.p50_ms,
        p99_ms=done.p99_ms,
        errors=done.errors,
        cpu_per_request=used / answered,
        database_cpu_per_request=used_by_database / answered,
        peak_bytes=peak_bytes(server.pid),
    )


def alternate(
    servers: Sequence[Running],
    workload: Workload,
    database: BenchDatabase,
    *,
    connections: int,
    rounds: int,
    seconds: float,
    around: Callable[[Running], AbstractContextManager[object]] = nullcontext,
) -> list[dict]:
    """The figures of `rounds` rounds, in each of which every server is loaded once; each has its
    "round".

    around: what surrounds the load of a server, such as other clients.
    """
    figures = []
    order = list(servers)
    for server in order:
        warm(server, workload, connections=connections, tag="warm")
    for turn in range(rounds):
        for server in order:
            with around(server):
                figure = measure(
                    server, workload, database, connections=connections, seconds=seconds, tag="load"
                )
            figures.append({**figure.as_dict(), "round": turn})
        # Rotated, so that no contestant always runs after the same other one.
        order.append(order.pop(0))
        if workload.writes:
            database.forget_created()
    return figures


def warm(server: Running, workload: Workload, *, connections: int, tag: str) -> None:
    """Open its connections and fill its caches, without measuring."""
    load(server, workload, connections=connections, seconds=WARM_SECONDS, tag=tag)


def load(
    server: Running, workload: Workload, *, connections: int, seconds: float, tag: str
) -> Load:
    """Run wrk with `workload` on `server`, in the form that its contestant accepts."""
    return drive(
        server.url(""),
        workload.kind,
        connections=connections,
        seconds=seconds,
        body_form=server.contestant.body_form,
        tag=tag,
    )
