"""Figures of a period: rates, latencies and errors, from the growth of the metrics in it.

Totals are what the metrics count since the server's start; an interval is their growth between two
readings. Both are JSON, because the workers share them in a file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from prometheus_client import Metric

MOST_ROUTES = 50
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


def totals(families: Iterable[Metric]) -> tuple[Json, Counts]:
    """(totals, the pools' state now by database).

    Totals are {"requests": {"GET /route": {status: n}}, "durations": {"GET /route": {bound: n}},
    "databases": {database: {counter: n}}}; a bound counts all requests that took at most that many
    seconds.
    """
    found: dict[str, Counts] = {kind: _counts() for kind in ("requests", "durations", "databases")}
    pools = _counts()
    for sample in (sample for family in families for sample in family.samples):
        name, labels, value = sample.name, sample.labels, sample.value
        if name == "http_requests_total":
            found["requests"][_operation(labels)][labels["status"]] = value
        elif name == "http_request_duration_seconds_bucket":
            found["durations"][_operation(labels)][labels["le"]] = value
        elif name in _NAMES:
            found["databases"][labels["database"]][_NAMES[name]] += value
        elif name == "db_pool_connections":
            pools[labels["database"]][labels["state"]] = value
        elif name == "db_pool_max_connections":
            pools[labels["database"]]["max_size"] = value
        elif name == "db_pool_waiting":
            pools[labels["database"]]["waiting"] = value
    return found, pools


def growth(before: Json, now: Json) -> Json:
    """What was added to totals between two readings, without groups that stayed the same."""
    found: Json = {}
    for kind, groups in now.items():
        found[kind] = {}
        for group, counts in groups.items():
            old = before.get(kind, {}).get(group, {})
            grown = {name: n - old.get(name, 0) for name, n in counts.items()}
            if any(grown.values()):
                found[kind][group] = grown
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
                _add(whole[kind].setdefault(group, {}), counts)
    seconds = sum(one["seconds"] for one in intervals)
    return {
        "seconds": round(seconds, 1),
        **_of_requests(whole, seconds),
        "databases": _of_databases(whole["databases"], intervals[-1]["pools"]),
        "routes": _of_routes(whole, seconds),
        "series": [_point(one) for one in intervals],
    }


def quantile(share: float, counts: Mapping[str, float]) -> float | None:
    """The time in ms that `share` of the requests took at most; None without requests.

    counts: requests by the bound in seconds that they did not exceed, "+Inf" included.
    Interpolated as Prometheus does it, so exact to the distance of two bounds.
    """
    bounds = sorted((float(bound), n) for bound, n in counts.items())
    if not bounds:
        return None
    rank = share * bounds[-1][1]
    lower, below = 0.0, 0.0
    for bound, n in bounds:
        if n >= rank and n > below:
            if bound == float("inf"):
                return round(1000 * lower, 3)
            return round(1000 * (lower + (bound - lower) * (rank - below) / (n - below)), 3)
        lower, below = bound, n
    return round(1000 * lower, 3)


def time_text(at: float) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    text = datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _counts() -> Counts:
    return defaultdict(lambda: defaultdict(float))


def _operation(labels: Mapping[str, str]) -> str:
    return f"{labels['method']} {labels['route']}"


def _add(to: dict[str, float], counts: Mapping[str, float]) -> None:
    for name, n in counts.items():
        to[name] = to.get(name, 0) + n


def _of_requests(grown: Json, seconds: float) -> Json:
    statuses: dict[str, float] = {}
    for counts in grown["requests"].values():
        _add(statuses, counts)
    durations: dict[str, float] = {}
    for counts in grown["durations"].values():
        _add(durations, counts)
    return _figures(statuses, durations, seconds)


def _figures(statuses: Mapping[str, float], durations: Mapping[str, float], seconds: float) -> Json:
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
        figures = _figures(statuses, whole["durations"].get(operation, {}), seconds)
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
