"""Whether time grows with the rows: ours alone, at 1e3, 1e5 and 1e7 trips, and pages of customers.

A page is asked for by key, so one at the end should cost what the first does.
"""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from bench.bench_database import BenchDatabase
from bench.contestants.registry import CONTESTANTS
from bench.server_process import Running, running

TRIPS = (2_000, 100_000, 10_000_000)
QUICK_TRIPS = (2_000, 100_000)
CUSTOMERS = 100_000
PAGE = 100
CALLS = 40


@dataclass(frozen=True)
class Growth:
    """Milliseconds of one request on a kept connection, by the rows that there were."""

    what: str
    rows: int
    p50_ms: float
    p99_ms: float

    def as_dict(self) -> dict:
        return asdict(self)


def grow(database: BenchDatabase, *, quick: bool, rounds: int, say: Callable[[str], None]):
    """All figures, as list of Growth. The database is left with the most rows."""
    ours = next(c for c in CONTESTANTS if c.ours)
    figures: list[Growth] = []
    with running(ours, database) as server:
        asked = {"one customer": "/customer/123", "taxi by price": "/taxidata/20"}
        for trips in QUICK_TRIPS if quick else TRIPS:
            say(f"growth: {trips:,} trips")
            database.grow_trips(trips)
            times = time_each(server, asked, rounds=rounds)
            figures += [_growth(what, trips, taken) for what, taken in times.items()]
        say(f"growth: pages of {CUSTOMERS:,} customers")
        database.grow_customers(CUSTOMERS)
        positions = {
            position: f"/customers?limit={PAGE}&after={after}"
            for position, after in _afters(database).items()
        }
        times = time_each(server, positions, rounds=rounds)
        figures += [_growth(f"page, {where}", CUSTOMERS, t) for where, t in times.items()]
    return figures


def time_each(server: Running, paths: dict[str, str], *, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each request, CALLS of each path in turn, `rounds` times. All must be 200."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    taken: dict[str, list[float]] = {what: [] for what in paths}
    for turn in range(rounds + 1):
        for what, path in paths.items():
            for _ in range(CALLS):
                began = time.perf_counter()
                connection.request("GET", path)
                answer = connection.getresponse()
                body = answer.read()
                # The first turn warms up.
                if turn:
                    taken[what].append((time.perf_counter() - began) * 1e3)
                if answer.status != 200 or len(body) < 50:
                    raise RuntimeError(f"{path} answered {answer.status}: {body[:200]!r}")
    connection.close()
    return taken


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
