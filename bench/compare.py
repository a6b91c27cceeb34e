"""Compares the product with its alternatives: bench/run [--quick].

Each contestant runs in its own process, on the same PostgreSQL. All are started, checked for right
answers and warmed up; then wrk loads them in turn. Stops everything it started, also on
Ctrl-C. Writes bench/results/<name>.json and, for the full run, bench/results/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.bench_database import BenchDatabase, bench_database
from bench.ceilings import bare_pyodbc, pgbench
from bench.contestants.registry import CONTESTANTS, WORKERS, Contestant, Form
from bench.correctness import WrongAnswer, check
from bench.growth import grow
from bench.machine import description
from bench.measure import WritesMissing, alternate, measure, warm
from bench.server_process import Running, ServerFailed, running
from bench.stream_client import StreamBroken, read_stream
from bench.summary import cell_medians, markdown
from bench.workloads import CONNECTIONS, READS, TUNED_BY, WORKLOADS, Workload

RESULTS = Path(__file__).with_name("results")
STREAM_ROWS = 1_000_000
QUICK_STREAM_ROWS = 100_000
PARTS = ("figures", "ceilings", "streams", "growth")
TUNING_ROUNDS = 5
BY_DEFAULT = [c.name for c in CONTESTANTS if c.by_default]


def say(sentence: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {sentence}", flush=True)


def options_of(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and rows")
    parser.add_argument("--rounds", type=int, help="alternations (default 5; quick 3)")
    parser.add_argument("--seconds", type=float, help="of each run of wrk (default 1)")
    parser.add_argument("--only", action="append", help="a contestant's name; may be repeated")
    parser.add_argument("--workload", action="append", help="a workload's name; may be repeated")
    parser.add_argument("--connections", type=int, action="append", help="may be repeated")
    parser.add_argument("--tune", action="store_true", help="find each one's best form first")
    parser.add_argument("--no-stream", action="store_true")
    parser.add_argument("--no-growth", action="store_true")
    parser.add_argument("--no-ceilings", action="store_true")
    parser.add_argument("--name", help="of the result files (default: full or quick)")
    options = parser.parse_args(argv)
    quick = options.quick
    options.rounds = options.rounds or (3 if quick else 5)
    options.seconds = options.seconds or 1.0
    options.name = options.name or ("quick" if quick else "full")
    names = {c.name for c in CONTESTANTS}
    if options.only and (unknown := set(options.only) - names):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(sorted(names))}")
    workloads = {w.name for w in WORKLOADS}
    if options.workload and (unknown := set(options.workload) - workloads):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(sorted(workloads))}")
    return options


def connections_of(workload: Workload, options: argparse.Namespace) -> Sequence[int]:
    if options.connections:
        return options.connections
    return CONNECTIONS if workload.name == "one customer" else (16,)


def compare_loads(
    servers: list[Running],
    database: BenchDatabase,
    work: str,
    options: argparse.Namespace,
    figures: list[dict],
) -> None:
    """Add the figures of each workload of this kind of work and each number of connections."""
    for workload in WORKLOADS:
        if workload.work != work or (options.workload and workload.name not in options.workload):
            continue
        for connections in connections_of(workload, options):
            figures += alternate(
                servers,
                workload,
                database,
                connections=connections,
                rounds=options.rounds,
                seconds=options.seconds,
            )
            show(figures, workload, connections)


def show(figures: list[dict], workload: Workload, connections: int) -> None:
    for (name, c, contestant), cell in cell_medians(figures).items():
        if (name, c) == (workload.name, connections):
            say(
                f"{name:14} {c:4} connections  {contestant:18} {cell['rate']:8,.0f}/s"
                f"  p50 {cell['p50_ms']:7.2f} ms  p99 {cell['p99_ms']:8.2f} ms"
                f"  CPU {1e6 * cell['cpu_per_request']:6.0f} µs  errors {cell['errors']:.0f}"
            )


def compare_streams(servers: list[Running], rows: int, rounds: int, streams: list[dict]) -> None:
    path = f"/taxidata?limit={rows}&format=ndjson"
    for turn in range(rounds):
        for server in servers:
            if not server.contestant.streams:
                continue
            stream = read_stream(server, path)
            if stream.rows != rows:
                raise StreamBroken(f"{server.contestant.name} sent {stream.rows} of {rows} rows")
            name = server.contestant.name
            streams.append({"contestant": name, "round": turn, **asdict(stream)})
            say(
                f"stream {name:18} {stream.rate:10,.0f} rows/s  first byte"
                f" {1e3 * stream.first_byte:7.1f} ms  memory grew {stream.growth / 1e6:6.1f} MB"
            )


def best_forms(contestant: Contestant, database: BenchDatabase) -> dict[str, Form]:
    """For each kind of work, the form with the highest rate at 16 connections: first the best
    width, then pinned or not."""
    widths = [Form(width, contestant.pins_itself) for width in contestant.widths]
    found = fastest(contestant, database, dict.fromkeys(TUNED_BY, widths))
    pinned_or_not = {
        work: [Form(form.width, False), Form(form.width, True)] for work, form in found.items()
    }
    return fastest(contestant, database, pinned_or_not)


def fastest(
    contestant: Contestant, database: BenchDatabase, alternatives: dict[str, list[Form]]
) -> dict[str, Form]:
    """By kind of work, the fastest of its alternatives."""
    if all(len(forms) == 1 for forms in alternatives.values()):
        return {work: forms[0] for work, forms in alternatives.items()}
    rates: dict[tuple[str, Form], list[float]] = {}
    with contextlib.ExitStack() as started:
        servers = {
            form: started.enter_context(running(contestant, database, form))
            for form in dict.fromkeys(form for forms in alternatives.values() for form in forms)
        }
        for work, forms in alternatives.items():
            workload = TUNED_BY[work]
            for form in forms:
                warm(servers[form], workload, connections=16, tag="tune")
            order = list(forms)
            for _ in range(TUNING_ROUNDS):
                for form in order:
                    figure = measure(
                        servers[form], workload, database, connections=16, seconds=1.0, tag="tune"
                    )
                    rates.setdefault((work, form), []).append(figure.rate)
                order.append(order.pop(0))
                if workload.writes:
                    database.forget_created()
    medians = {key: statistics.median(taken) for key, taken in rates.items()}
    for work, forms in alternatives.items():
        listed = ", ".join(f"{form}: {medians[work, form]:,.0f}/s" for form in forms)
        say(f"{contestant.name}, {work}: {listed}")
    return {w: max(f, key=lambda form: medians[w, form]) for w, f in alternatives.items()}


def ceilings(database: BenchDatabase, options: argparse.Namespace) -> list[dict]:
    found = [
        pgbench(database, connections=c, seconds=options.seconds)
        for c in options.connections or CONNECTIONS
    ]
    found += [bare_pyodbc(database, seconds=options.seconds, processes=n) for n in (1, WORKERS)]
    for ceiling in found:
        say(f"{ceiling.name} {ceiling.connections}: {ceiling.rate:,.0f}/s")
    return [asdict(ceiling) for ceiling in found]


def run(options: argparse.Namespace, result: dict) -> None:
    """Fill `result` part by part, so that completed parts are kept if a later one fails."""
    chosen = [c for c in CONTESTANTS if c.name in (options.only or BY_DEFAULT)]
    result |= {
        "machine": description(chosen),
        "quick": options.quick,
        "rounds": options.rounds,
        "seconds": options.seconds,
        **{part: [] for part in PARTS},
    }
    forms = {c.name: dict(c.forms) for c in chosen}
    with bench_database("postgresql") as database:
        database.forget_created()
        if options.tune:
            forms |= {c.name: best_forms(c, database) for c in chosen}
        result["forms"] = {
            name: {work: str(form) for work, form in best.items()} for name, best in forms.items()
        }
        if not options.no_ceilings:
            result["ceilings"] = ceilings(database, options)
        for work in TUNED_BY:
            with contextlib.ExitStack() as started:
                servers = []
                for contestant in chosen:
                    server = running(contestant, database, forms[contestant.name][work])
                    servers.append(started.enter_context(server))
                    check(servers[-1], database, tag=f"{contestant.name} {work}")
                say(f"{work}: all answer rightly")
                database.forget_created()
                compare_loads(servers, database, work, options, result["figures"])
    if not options.no_stream:
        rows = QUICK_STREAM_ROWS if options.quick else STREAM_ROWS
        with bench_database("stream") as database, contextlib.ExitStack() as started:
            say(f"making {rows:,} trips")
            database.grow_trips(rows)
            servers = [
                started.enter_context(running(c, database, forms[c.name][READS]))
                for c in chosen
                if c.streams
            ]
            compare_streams(servers, rows, options.rounds, result["streams"])
    if not options.no_growth:
        figures = grow(quick=options.quick, rounds=options.rounds, say=say)
        result["growth"] = [figure.as_dict() for figure in figures]


def keep_what_was_not_measured(result: dict, earlier: dict) -> None:
    """Copy the parts that `result` lacks from an earlier result, each with its date."""
    dates = result["dates"] = {}
    for part in PARTS:
        if not result[part] and earlier.get(part):
            result[part] = earlier[part]
            dates[part] = earlier.get("dates", {}).get(part, earlier["machine"]["date"])
        else:
            dates[part] = result["machine"]["date"]


def write(name: str, result: dict) -> None:
    RESULTS.mkdir(exist_ok=True)
    written = RESULTS / f"{name}.json"
    earlier = json.loads(written.read_text()) if written.exists() else {}
    keep_what_was_not_measured(result, earlier)
    written.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    # Imported here: a run that fails at once should not wait for it.
    from bench.plot import draw

    drawn = [path.name for path in draw(name)]
    page = markdown(result)
    if name == "full":
        (RESULTS / "README.md").write_text(page + "\n".join(f"![]({d})" for d in drawn) + "\n")
    print(f"\n{page}")
    say(f"written: {written.relative_to(RESULTS.parent.parent)}, {', '.join(drawn)}")


def main(argv: Sequence[str] | None = None) -> int:
    options = options_of(argv)
    # Told to stop, it unwinds, and so stops what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    result: dict = {}
    failed = ""
    try:
        run(options, result)
    except (ServerFailed, WrongAnswer, WritesMissing, StreamBroken) as error:
        failed = str(error)
    except KeyboardInterrupt:
        failed = "Interrupted."
    if result.get("figures"):
        # Under a name that no published result has.
        write(options.name + "-partial" if failed else options.name, result)
    if failed:
        say(failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
