"""Restarts PostgreSQL under clients that read and write, and counts their responses.

Run as `python -m bench.restarts`. Exits with 1 when a promise was broken, or when the first
success came more than a second after the database was back.
"""

from __future__ import annotations

import argparse
import itertools
import sys

from testkit.cluster import fresh_cluster
from testkit.load_client import serve
from testkit.restarts import restart_under_load

LONGEST_GAP = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--calm", type=float, default=2.0, help="seconds between restarts")
    options = parser.parse_args()
    modes = list(itertools.islice(itertools.cycle(["immediate", "fast"]), options.restarts))
    with fresh_cluster("bench-restarts") as cluster, serve(cluster.connection_string()) as port:
        report = restart_under_load(
            cluster, port, clients=options.clients, modes=modes, calm=options.calm
        )
    print(f"{options.clients} clients, restarts: {', '.join(modes)}")
    print("answers: " + ", ".join(f"{s}: {n}" for s, n in sorted(report.statuses.items())))
    print(f"acknowledged writes, each held against the ledger: {report.acknowledged}")
    gaps = ", ".join(f"{1000 * gap:.0f}" for gap in report.gaps)
    print(f"first success after the database was back, ms: {gaps}")
    print(f"broken promises: {len(report.wrong)}")
    for sentence in report.wrong[:20]:
        print(f"  {sentence}")
    return 1 if report.wrong or max(report.gaps) > LONGEST_GAP else 0


if __name__ == "__main__":
    sys.exit(main())
