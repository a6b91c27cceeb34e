"""Figures of a period: rates, latencies and errors, from the growth of the metrics in it.

Totals are what the metrics count since the server's start; an interval is their growth between two
readings. Both are JSON, because the workers share them in a file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from functools import reduce
from typing import Any

from prometheus_client import Metric

from observability.metrics import REQUEST_BUCKETS

MOST_ROUTES = 50
# Upper bounds of the histogram of durations, in seconds.
BOUNDS = (*REQUEST_BUCKETS, float("inf"))
_PLACES = {bound: place for place, bound in enumerate(BOUNDS)}
QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
STATES = ("idle", "in_use", "connecting")
# A database's counters by their names in the figures.
COUNTERS = {
    "connects": "db_pool_connects_total",
    "connect_failures": "db_pool_connect_failures_total",
    "timeouts": "db_pool_timeouts_total",
    "rejected": "db_pool_rejected_total",
    "retries": "db_retries_total",
    "call_failures": "db_call_failures_total",
}
_NAMES = {metric: name for name, metric in COUNTERS.items()}

Json = dict[str, Any]
Counts = dict[str, dict[str, float]]
_METRICS = {
    *("http_requests", "http_request_duration_seconds", "db_pool_connections"),
    *("db_pool_max_connections", "db_pool_waiting", *(name[:-6] for name in COUNTERS.values())),
}


def totals(families: Iterable[Metric]) -> tuple[Json, Counts]:
    """(totals, the pools' state now by database).

    Totals are {"requests": {"GET /route": {status: n}}, "durations": {"GET /route": [n, …]},
    "databases": {database: {counter: n}}}; durations count, for each of BOUNDS, the requests that
    took at most that long.
    """
    requests, databases, pools = _counts(), _counts(), _counts()
    durations: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(BOUNDS))
    known = (family for family in families if family.name in _METRICS)
    for sample in (sample for family in known for sample in family.samples):
        name, labels, value = sample.name, sample.labels, sample.value
        if name == "http_requests_total":
            requests[_operation(labels)][labels["status"]] = value
        elif name == "http_request_duration_seconds_bucket":
            durations[_operation(labels)][_PLACES[float(labels["le"])]] = value
        elif name in _NAMES:
            databases[labels["database"]][_NAMES[name]] += value
        elif name == "db_pool_connections":
            pools[labels["database"]][labels["state"]] = value
        elif name == "db_pool_max_connections":
            pools[labels["database"]]["max_size"] = value
        elif name == "db_pool_waiting":
            pools[labels["database"]]["waiting"] = value
    return {"requests": requests, "durations": durations, "databases": databases}, pools


def growth(before: Json, now: Json) -> Json:
    """What was added to totals between two readings, without groups that stayed the same."""
    found: Json = {}
    for kind, groups in now.items():
        found[kind] = {}
        for group, counts in groups.items():
            old = before.get(kind, {}).get(group)
            if old is None:
                found[kind][group] = counts
            elif counts != old:
                found[kind][group] = _difference(counts, old)
    return found


def interval(at: float, seconds: float, grown: Json, pools: Counts) -> Json:
    """at: the end, in seconds since 1970. pools: their state at that time."""
    return {"at": at, "seconds": seconds, "grown": grown, "pools": pools}


def summary(intervals: Sequence[Json]) -> Json:
    """The figures of all intervals together, by route and database, and of each. Needs one."""
    whole: Json = {"requests": {}, "durations": {}, "databases": {}}
    for one in intervals:
        for kind, groups in one["grown"].items():
            for group, counts in groups.items():
                known = whole[kind].get(group)
                whole[kind][group] = counts if known is None else _sum(known, counts)
    seconds = sum(one["seconds"] for one in intervals)
    return {
        "seconds": round(seconds, 1),
        **_of_requests(whole, seconds),
        "databases": _of_databases(whole["databases"], intervals[-1]["pools"]),
        "routes": _of_routes(whole, seconds),
        "series": [_point(one) for one in intervals],
    }


def quantile(share: float, counts: Sequence[float]) -> float | None:
    """The time in ms that `share` of the requests took at most; None without requests.

    counts: as in totals(). Interpolated as Prometheus does it, so exact to the distance of two
    bounds; a time beyond the last finite bound is that bound.
    """
    if not counts or not counts[-1]:
        return None
    rank = share * counts[-1]
    place = next(place for place, n in enumerate(counts) if n >= rank)
    lower, below = (BOUNDS[place - 1], counts[place - 1]) if place else (0.0, 0.0)
    if place == len(BOUNDS) - 1:
        return 1000 * lower
    within = (rank - below) / (counts[place] - below)
    return round(1000 * (lower + (BOUNDS[place] - lower) * within), 3)


def time_text(at: float) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    text = datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _counts() -> Counts:
    return defaultdict(lambda: defaultdict(float))


def _operation(labels: Mapping[str, str]) -> str:
    return f"{labels['method']} {labels['route']}"


def _difference(counts: Any, before: Any) -> Any:
    if isinstance(counts, list):
        return [n - old for n, old in zip(counts, before, strict=True)]
    return {name: n - before.get(name, 0) for name, n in counts.items()}


def _sum(first: Any, second: Any) -> Any:
    if isinstance(first, list):
        return [n + m for n, m in zip(first, second, strict=True)]
    return {name: first.get(name, 0) + second.get(name, 0) for name in first | second}


def _of_requests(grown: Json, seconds: float) -> Json:
    statuses: dict[str, float] = reduce(_sum, grown["requests"].values(), {})
    durations: list[float] = reduce(_sum, grown["durations"].values(), [0.0] * len(BOUNDS))
    return _figures(statuses, durations, seconds)


def _figures(statuses: Mapping[str, float], durations: Sequence[float], seconds: float) -> Json:
    number = sum(statuses.values())
    failed = sum(n for status, n in statuses.items() if status >= "500")
    refused = sum(n for status, n in statuses.items() if "400" <= status < "500")
    return {
        "requests": int(number),
        "requests_per_second": round(number / seconds, 3) if seconds else 0.0,
        "server_errors": int(failed),
        "client_errors": int(refused),
        "error_rate": round(failed / number, 6) if number else 0.0,
        **{name: quantile(share, durations) for name, share in QUANTILES.items()},
    }


def _of_routes(whole: Json, seconds: float) -> list[Json]:
    found = []
    for operation, statuses in whole["requests"].items():
        method, _, route = operation.partition(" ")
        figures = _figures(statuses, whole["durations"].get(operation, ()), seconds)
        found.append({"method": method, "route": route, **figures})
    found.sort(key=lambda one: (-one["requests"], one["route"], one["method"]))
    return found[:MOST_ROUTES]


def _of_databases(counters: Mapping[str, Json], pools: Counts) -> list[Json]:
    return [
        {
            "name": name,
            **{state: int(pool.get(state, 0)) for state in (*STATES, "max_size", "waiting")},
            **{one: int(counters.get(name, {}).get(one, 0)) for one in COUNTERS},
        }
        for name, pool in sorted(pools.items())
    ]


def _point(one: Json) -> Json:
    figures = _of_requests(one["grown"], one["seconds"])
    pools = one["pools"].values()
    return {
        "at": time_text(one["at"]),
        **{name: figures[name] for name in ("requests_per_second", "server_errors", "p50_ms")},
        "p95_ms": figures["p95_ms"],
        "in_use": int(sum(pool.get("in_use", 0) for pool in pools)),
        "waiting": int(sum(pool.get("waiting", 0) for pool in pools)),
    }
