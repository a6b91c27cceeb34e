"""Kills and stops users of an embedded database, and its server, at random moments.

Run as `python -m bench.embedded_kills`. After each a start must answer, with every committed row.
Exits with 1 when one did not, or when a server was left running.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys

from tests.chaos.kills import kill_and_start
from tests.places import TESTS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=12)
    options = parser.parse_args()
    folder = TESTS / "bench-embedded-kills"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    report = kill_and_start(folder / "cluster", rounds=options.rounds, seed=options.seed)
    print(", ".join(f"{deed}: {n}" for deed, n in sorted(report.deeds.items())))
    print(f"starts that answered: {len(report.starts)} of {options.rounds}")
    if report.starts:
        median, longest = statistics.median(report.starts), max(report.starts)
        print(f"seconds from the deed to the answer: median {median:.1f}, longest {longest:.1f}")
    print(f"committed rows, all found: {report.committed}")
    print(f"broken promises: {len(report.wrong)}")
    for sentence in report.wrong[:20]:
        print(f"  {sentence}")
    if not report.wrong:
        shutil.rmtree(folder)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
