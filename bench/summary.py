"""Medians, and ratios pair by pair, as Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from bench.workloads import WORKLOADS

OURS = "ours, gunicorn"
IDENTICAL = {w.name for w in WORKLOADS if w.identical}
SHARED = (
    "All clients send the same URL. Ours answers identical concurrent reads with one call, which"
    " the others do not; the other workloads show what a read of its own costs."
)


def cell_medians(figures: Iterable[dict]) -> dict[tuple[str, int, str], dict]:
    """By (workload, connections, contestant): the median of each quantity; errors are summed."""
    groups: dict[tuple[str, int, str], list[dict]] = {}
    for figure in figures:
        key = (figure["workload"], figure["connections"], figure["contestant"])
        groups.setdefault(key, []).append(figure)
    return {
        key: {
            name: (sum if name == "errors" else statistics.median)(f[name] for f in group)
            for name in group[0]
            if isinstance(group[0][name], int | float)
        }
        | {"rounds": len(group)}
        for key, group in groups.items()
    }


def pair_ratios(
    figures: Sequence[dict], quantity: str, ours: str, other: str
) -> dict[tuple[str, int], tuple[float, float, float]]:
    """By (workload, connections): least, median and most of ours / theirs in the same round."""
    rounds: dict[tuple[str, int, int], dict[str, float]] = {}
    for f in figures:
        key = (f["workload"], f["connections"], f["round"])
        rounds.setdefault(key, {})[f["contestant"]] = f[quantity]
    ratios: dict[tuple[str, int], list[float]] = {}
    for (workload, connections, _), by_name in rounds.items():
        if by_name.get(other) and ours in by_name:
            ratios.setdefault((workload, connections), []).append(by_name[ours] / by_name[other])
    return {k: (min(r), statistics.median(r), max(r)) for k, r in ratios.items()}


def markdown(result: dict) -> str:
    """The whole result as a page."""
    parts = [_heading(result), _loads(result), _targets(result)]
    for part in (_ceilings, _streams, _growths):
        parts.append(part(result))
    return "\n".join(p for p in parts if p)


def _heading(result: dict) -> str:
    m = result["machine"]
    versions = ", ".join(f"{name} {v}" for name, v in m["versions"].items())
    forms = "; ".join(
        f"{name}: {', '.join(f'{work} {form}' for work, form in by_work.items())}"
        for name, by_work in result["forms"].items()
    )
    return (
        "# Side by side\n\n"
        "Made by `bench/run`"
        + (" --quick" if result["quick"] else "")
        + f", {m['date']}. {m['processor']}, {m['cores']} cores, {m['memory_gib']} GiB,"
        f" {m['system']}; load before the start {m['load_before']}.\n\n{versions}.\n\n"
        "Every contestant has 2 worker processes, answers from the same PostgreSQL over a Unix"
        " socket, and was checked to answer the same before it was measured. Threads or"
        " connections of a worker, and whether each worker keeps to one CPU, the best of those"
        f" tried for each kind of work: {forms}. Ours runs with every feature on. Its writes are"
        " stored with their responses for exactly-once; those of the others are not.\n\n"
        f"Medians of {result['rounds']} alternations of {result['seconds']:g} s each; wrk, the"
        " servers and PostgreSQL share the cores. CPU is of the contestant's processes, and of"
        " PostgreSQL's; memory is the peak resident set summed over the contestant's processes."
        " `ours/it` is the median of ours (gunicorn) over theirs, pair by pair, and in brackets its"
        " range; errors are refused or broken requests.\n"
    )


def _loads(result: dict) -> str:
    cells = cell_medians(result["figures"])
    text = []
    for workload in dict.fromkeys(key[0] for key in cells):
        shared = f"{SHARED}\n\n" if workload in IDENTICAL else ""
        text.append(
            f"## {workload.capitalize()}\n\n{shared}"
            "| connections | contestant | requests/s | ours/it | p50 ms | p99 ms | CPU µs |"
            " database CPU µs | MiB | errors |\n|--:|---|--:|---|--:|--:|--:|--:|--:|--:|"
        )
        for (name, connections, contestant), c in cells.items():
            if name != workload:
                continue
            ratio = pair_ratios(result["figures"], "rate", OURS, contestant)
            low, middle, high = ratio.get((name, connections), (math.nan,) * 3)
            text.append(
                f"| {connections} | {contestant} | {c['rate']:,.0f}"
                f" | {middle:.2f} ({low:.2f} to {high:.2f})"
                f" | {c['p50_ms']:.2f} | {c['p99_ms']:.2f} | {1e6 * c['cpu_per_request']:.0f}"
                f" | {1e6 * c['database_cpu_per_request']:.0f}"
                f" | {c['peak_bytes'] / (1 << 20):.0f} | {c['errors']:.0f} |"
            )
        text.append("")
    return "\n".join(text)


# (workload, connections, other, quantity, least or most, target) as the project promises them.
TARGETS = (
    ("one customer", 16, "original sample", "rate", "least", 1.8),
    ("one customer", 16, "FastAPI pyodbc", "rate", "least", 1.3),
    ("one customer", 16, "FastAPI asyncpg", "rate", "least", 1.0),
    *(
        (workload, 16, *target)
        for workload in ("create", "patch")
        for target in (
            ("original sample", "rate", "least", 1.5),
            ("FastAPI pyodbc", "rate", "least", 1.0),
            ("FastAPI asyncpg", "rate", "least", 0.8),
        )
    ),
    ("all customers", 16, "original sample", "rate", "least", 2.5),
    ("all customers", 16, "FastAPI asyncpg", "rate", "least", 1.2),
    ("one customer", 128, "FastAPI asyncpg", "p99_ms", "most", 2.0),
)


def _targets(result: dict) -> str:
    ours = [n for n in result["forms"] if n.startswith("ours")]
    rows = []
    for workload, connections, other, quantity, side, target in TARGETS:
        row = f"| {workload}, {connections} connections, {quantity}: ours / {other} | "
        row += f"at {side} {target:g} |"
        for name in ours:
            found = pair_ratios(result["figures"], quantity, name, other)
            middle = found.get((workload, connections), (math.nan,) * 3)[1]
            row += f" {_judged(middle, side, target)} |"
        rows.append(row)
    head = "## Targets\n\n| what | target |" + "".join(f" {n} |" for n in ours)
    return "\n".join([head, "|---|---|" + "--:|" * len(ours), *rows, ""])


def _when(result: dict, part: str) -> str:
    return f"Measured {result.get('dates', {}).get(part, result['machine']['date'])}.\n"


def _judged(value: float, side: str, target: float) -> str:
    if math.isnan(value):
        return "not measured"
    met = value >= target if side == "least" else value <= target
    return f"{value:.2f} {'met' if met else '**missed**'}"


def _ceilings(result: dict) -> str:
    if not result["ceilings"]:
        return ""
    text = [f"## Ceilings, one customer\n\n{_when(result, 'ceilings')}"]
    text.append("| what | connections | calls/s | p50 ms | p99 ms |")
    text.append("|---|--:|--:|--:|--:|")
    text += [
        f"| {c['name']} | {c['connections']} | {c['rate']:,.0f} | {c['p50_ms']:.3f}"
        f" | {c['p99_ms']:.3f} |"
        for c in result["ceilings"]
    ]
    return "\n".join([*text, ""])


def _streams(result: dict) -> str:
    if not result["streams"]:
        return ""
    rows = result["streams"][0]["rows"]
    text = [
        f"## Stream of {rows:,} trips (NDJSON)\n\n{_when(result, 'streams')}",
        "| contestant | rows/s | MB/s | first byte ms | memory grew MiB | CPU µs a row |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name in dict.fromkeys(s["contestant"] for s in result["streams"]):
        mine = [s for s in result["streams"] if s["contestant"] == name]

        def middle(read, mine=mine):
            return statistics.median(read(s) for s in mine)

        text.append(
            f"| {name} | {middle(lambda s: s['rows'] / s['seconds']):,.0f}"
            f" | {middle(lambda s: s['bytes'] / s['seconds']) / 1e6:.1f}"
            f" | {1e3 * middle(lambda s: s['first_byte']):.1f}"
            f" | {middle(lambda s: s['growth']) / (1 << 20):.1f}"
            f" | {1e6 * middle(lambda s: s['cpu_seconds'] / s['rows']):.2f} |"
        )
    text.append("\nThe original sample has no stream.")
    return "\n".join([*text, ""])


def _growths(result: dict) -> str:
    if not result["growth"]:
        return ""
    text = [
        f"## Growth: ours, one connection, all sizes in turn\n\n{_when(result, 'growth')}",
        "| request | rows | p50 ms | p99 ms |",
        "|---|--:|--:|--:|",
    ]
    text += [
        f"| {g['what']} | {g['rows']:,} | {g['p50_ms']:.2f} | {g['p99_ms']:.2f} |"
        for g in result["growth"]
    ]
    return "\n".join([*text, ""])
