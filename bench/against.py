"""This working tree against one of its commits, in one run: bench/run against COMMIT.

Both run under gunicorn with every feature on, on the same PostgreSQL, and wrk loads them in turn.
The ratio is the median of the rounds' ratios, because a slow round slows both. Prints a table.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import statistics
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from bench.bench_database import HOME, ROOT, bench_database
from bench.contestants.registry import CONTESTANTS, Contestant, Form
from bench.measure import alternate
from bench.server_process import Running, running
from bench.summary import OURS, pair_ratios
from bench.workloads import WORKLOADS

HERE = "this tree"
STREAM_RATE = "4M"  # bytes per second, in the form of curl's --limit-rate


def tree_of(commit: str) -> Path:
    """A folder with the files of `commit`."""
    name = subprocess.run(
        ["git", "rev-parse", "--short", commit],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    folder = HOME / "trees" / name
    if not folder.exists():
        archive = subprocess.run(
            ["git", "archive", name], cwd=ROOT, check=True, capture_output=True
        ).stdout
        folder.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
    return folder


def contestants(commit: str, setting: str) -> list[Contestant]:
    """This tree and `commit`; and, with a setting, this tree with it."""
    ours = next(c for c in CONTESTANTS if c.name == OURS)
    found = [
        dataclasses.replace(ours, name=HERE),
        dataclasses.replace(ours, name=commit, root=tree_of(commit)),
    ]
    if setting:
        name, _, value = setting.partition("=")
        found.append(dataclasses.replace(ours, name=setting, environment={name: value}))
    return found


@contextlib.contextmanager
def streams(server: Running, number: int) -> Iterator[None]:
    """Clients that read streams of trips, one after another, at STREAM_RATE each."""
    urls = [server.url("/taxidata?limit=0&format=ndjson")] * 1000
    command = ["curl", "--silent", "--limit-rate", STREAM_RATE, *urls]
    clients = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(number)]
    try:
        yield
    finally:
        for client in clients:
            client.kill()
            client.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("commit", nargs="?", default="HEAD")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--width", type=int, default=2, help="connections of a worker")
    parser.add_argument("--workload", action="append", help="a workload's name; may be repeated")
    parser.add_argument("--connections", type=int, action="append", help="may be repeated")
    parser.add_argument("--streams", type=int, default=0, help="slow streams next to the load")
    parser.add_argument("--setting", default="", help="NAME=VALUE: this tree with it, as a third")
    options = parser.parse_args()
    chosen = [w for w in WORKLOADS if w.name in (options.workload or ("one customer", "patch"))]
    print(
        "| workload | connections | contestant | requests/s | this tree/it | p99 ms | CPU µs |"
        " errors |"
    )
    print("|---|--:|---|--:|---|--:|--:|--:|")
    with bench_database("postgresql") as database, contextlib.ExitStack() as started:
        servers = [
            started.enter_context(running(c, database, Form(options.width, pinned=True)))
            for c in contestants(options.commit, options.setting)
        ]
        for workload in chosen:
            for connections in options.connections or (16,):
                figures = alternate(
                    servers,
                    workload,
                    database,
                    connections=connections,
                    rounds=options.rounds,
                    seconds=options.seconds,
                    around=lambda server: streams(server, options.streams),
                )
                for name in dict.fromkeys(f["contestant"] for f in figures):
                    mine = [f for f in figures if f["contestant"] == name]
                    ratios = pair_ratios(figures, "rate", HERE, name)
                    low, middle, high = ratios[workload.name, connections]
                    rate, p99, cpu = (
                        statistics.median(f[quantity] for f in mine)
                        for quantity in ("rate", "p99_ms", "cpu_per_request")
                    )
                    print(
                        f"| {workload.name} | {connections} | {name} | {rate:,.0f}"
                        f" | {middle:.2f} ({low:.2f} to {high:.2f}) | {p99:.2f}"
                        f" | {1e6 * cpu:.0f} | {sum(f['errors'] for f in mine)} |",
                        flush=True,
                    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
