"""Runs many threads on few connections and shows how long each of them waited.

Run as `python -m bench.pool_pressure`. Exits with 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from connection_manager import ConnectionManager
from embedded.cluster import EmbeddedCluster
from testkit.cluster import fresh_cluster
from testkit.pressure import longest_over_median, rush, steady

CONNECTIONS = 8
LONGEST_OVER_MEDIAN = 3.0
SLOWEST_REFUSAL = 0.050


def spread(name: str, values: list[float] | list[int], *, scale: float, unit: str) -> None:
    cuts = statistics.quantiles(values, n=1_000)
    print(
        f"  {name:22} median {scale * cuts[499]:7.1f}{unit}   99 % {scale * cuts[989]:7.1f}{unit}"
        f"   99.9 % {scale * cuts[998]:7.1f}{unit}   longest {scale * max(values):7.1f}{unit}"
        f" = {longest_over_median(values):.2f} x median"
    )


def show_steady(cluster: EmbeddedCluster, threads: int, seconds: float) -> bool:
    manager = ConnectionManager(
        cluster.connection_string(), family="postgresql", max_size=CONNECTIONS
    )
    load = steady(manager, threads=threads, seconds=seconds)
    manager.close()
    print(
        f"{threads} threads on {CONNECTIONS} connections, {seconds:.0f} s:"
        f" {len(load.calls) / seconds:,.0f} calls/s, errors {sum(load.errors.values())},"
        f" invariant broken in {len(load.broken)} of {load.readings} readings"
    )
    spread("wait for a connection", load.waits, scale=1e3, unit=" ms")
    spread("call", load.calls, scale=1e3, unit=" ms")
    spread("others served", load.turns, scale=1, unit="")
    fair = longest_over_median(load.waits) <= LONGEST_OVER_MEDIAN
    return fair and not load.errors and not load.broken


def show_rush(cluster: EmbeddedCluster, threads: int, max_waiting: int) -> bool:
    manager = ConnectionManager(
        cluster.connection_string(),
        family="postgresql",
        max_size=CONNECTIONS,
        max_waiting=max_waiting,
    )
    crowd = rush(manager, threads=threads, hold=0.2)
    manager.close()
    told = len(crowd.answered) + len(crowd.refused)
    slowest = max(crowd.refused)
    print(
        f"{threads} threads at once on {CONNECTIONS} connections, max_waiting {max_waiting}:"
        f" {len(crowd.answered)} answered, {len(crowd.refused)} refused,"
        f" {threads - told} without an answer, errors {sum(crowd.errors.values())}\n"
        f"  refused in {1e3 * statistics.median(crowd.refused):.3f} ms (median),"
        f" {1e3 * slowest:.1f} ms (longest)"
    )
    return told == threads and slowest <= SLOWEST_REFUSAL and not crowd.broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    with fresh_cluster("bench-pool-pressure") as cluster:
        kept = show_steady(cluster, 64, options.seconds)
        kept &= show_rush(cluster, 1_000, 50)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
