"""Shows that descriptors, threads and memory stay the same over cycles and calls.

Run as `python -m bench.steady_state`. Exits with 1 if anything grew.
"""

from __future__ import annotations

import argparse
import sys
import time

from connection_manager import ConnectionManager
from testkit.cluster import fresh_cluster
from testkit.steady_state import Holding, call_over_and_over, open_and_close

# What the allocator may move up and down by, without anything being kept.
NOISE_BYTES = 1 << 20


def show(what: str, before: Holding, after: Holding, seconds: float) -> bool:
    print(
        f"{what:24} {seconds:6.1f} s"
        f"  descriptors {before.descriptors} -> {after.descriptors}"
        f"  threads {before.threads} -> {after.threads}"
        f"  resident {before.resident / 1024:.0f} -> {after.resident / 1024:.0f} KiB"
    )
    return (
        after.descriptors == before.descriptors
        and after.threads == before.threads
        and after.resident <= before.resident + NOISE_BYTES
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--calls", type=int, default=100_000)
    options = parser.parse_args()
    with fresh_cluster("bench-steady-state") as cluster:
        text = cluster.connection_string()
        open_and_close(text, 10)  # what libraries keep for good, they have now
        before, began = Holding.now(), time.monotonic()
        open_and_close(text, options.cycles)
        steady = show(
            f"{options.cycles} open/close cycles", before, Holding.now(), time.monotonic() - began
        )
        manager = ConnectionManager(text, family="postgresql")
        call_over_and_over(manager, 5_000)
        before, began = Holding.now(), time.monotonic()
        call_over_and_over(manager, options.calls)
        steady &= show(f"{options.calls:,} calls", before, Holding.now(), time.monotonic() - began)
        manager.close()
    return 0 if steady else 1


if __name__ == "__main__":
    sys.exit(main())
