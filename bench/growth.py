"""How time grows with the rows: the product on 1e3, 1e5 and 1e7 trips, on as many customers (1e6 at
most), and on pages of customers.

Each size has its own database and server; requests alternate between them, so that variations of
the machine affect all equally. Pages are requested by key, so the last should cost as much as the
first.
"""

from __future__ import annotations

import contextlib
import http.client
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from bench.bench_database import BenchDatabase, bench_database
from bench.contestants.registry import CONTESTANTS
from bench.server_process import running

SIZES = (1_000, 100_000, 10_000_000)
QUICK_SIZES = (1_000, 100_000)
MOST_CUSTOMERS = 1_000_000
READS = {"one customer": "/customer/123", "taxi by price": "/taxidata/20"}
PAGE = 100
CALLS = 40


@dataclass(frozen=True)
class Growth:
    """Milliseconds of one request on a kept connection, by the rows of the table it reads."""

    what: str
    rows: int
    p50_ms: float
    p99_ms: float

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Asked:
    """Requests `path` of the server at `port`, repeatedly."""

    what: str
    rows: int
    port: int
    path: str


def grow(*, quick: bool, rounds: int, say: Callable[[str], None]) -> list[Growth]:
    """All figures. The databases are kept for the next run."""
    ours = next(c for c in CONTESTANTS if c.ours)
    asked: list[Asked] = []
    with contextlib.ExitStack() as started:
        for size in QUICK_SIZES if quick else SIZES:
            say(f"growth: a database of {size:,} trips")
            database = started.enter_context(bench_database(f"growth-{size}"))
            customers = min(size, MOST_CUSTOMERS)
            database.have_trips(size)
            database.grow_customers(customers)
            server = started.enter_context(running(ours, database, workers=1))
            for what, path in READS.items():
                rows = size if path.startswith("/taxidata") else customers
                asked.append(Asked(what, rows, server.port, path))
        # Of the largest, which is the last.
        for position, after in _afters(database).items():
            path = f"/customers?limit={PAGE}&after={after}"
            asked.append(Asked(f"page, {position}", customers, server.port, path))
        say("growth: all in turn")
        times = time_each(asked, rounds=rounds)
    return [_growth(one.what, one.rows, taken) for one, taken in times.items()]


def time_each(asked: list[Asked], *, rounds: int) -> dict[Asked, list[float]]:
    """Milliseconds of each request, CALLS of each path in turn, `rounds` times. All must be 200."""
    taken: dict[Asked, list[float]] = {one: [] for one in asked}
    with contextlib.ExitStack() as opened:
        connections = {
            port: opened.enter_context(
                contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60))
            )
            for port in {one.port for one in asked}
        }
        for turn in range(rounds + 1):
            for one in asked:
                times = [_time(connections[one.port], one.path) for _ in range(CALLS)]
                # The first turn warms up.
                if turn:
                    taken[one] += times
    return taken


def _time(connection: http.client.HTTPConnection, path: str) -> float:
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    milliseconds = (time.perf_counter() - began) * 1e3
    if answer.status != 200 or len(body) < 50:
        raise RuntimeError(f"{path} answered {answer.status}: {body[:200]!r}")
    return milliseconds


def _afters(database: BenchDatabase) -> dict[str, int]:
    """The key after which a page at the start, in the middle and at the end begins."""
    ids = 'SELECT "CustomerID" FROM sales.customers ORDER BY 1'
    rows = database.count("sales.customers")
    return {
        where: int(database.cluster.run_sql(f"{ids} OFFSET {offset} LIMIT 1"))
        for where, offset in (("first", 0), ("middle", rows // 2), ("last", rows - PAGE - 1))
    }


def _growth(what: str, rows: int, taken: list[float]) -> Growth:
    cuts = statistics.quantiles(taken, n=100)
    return Growth(what, rows, cuts[49], cuts[98])
