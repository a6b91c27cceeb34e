"""Calls of tools over four workers, while the catalog changes and the server reloads.

Run as `python -m bench.tool_load [--calls N]`. Sixteen clients call reads and keyed writes, each
write twice; procedures are created and dropped five times a second, and SIGHUP replaces all workers
ten times. Exits with 1 where a call failed, or wrote other than once.
"""

from __future__ import annotations

import argparse
import sys

from testkit.tool_load import calls_during_reloads, tool_server


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--agents", type=int, default=16)
    parser.add_argument("--reloads", type=int, default=10)
    options = parser.parse_args()
    with tool_server("bench-tool-load", workers=4, CATALOG_SECONDS="1") as (server, cluster):
        report = calls_during_reloads(server, cluster, **vars(options))
    print(f"{report.calls.total():,} calls in {report.seconds:.0f} s: {dict(report.calls)}")
    print(f"{report.changes} changes of the catalog, {report.reloads} reloads by SIGHUP")
    print(f"{len(report.wrong)} errors", *report.wrong[:20], sep="\n  ")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
