"""Schemathesis, all checks, against a server with its own embedded database.

usage: python -m bench.fuzz [--max-examples N] [--seed N]
Prints Schemathesis' report; exit code 1 when a check failed or fewer than CASES cases were made.
"""

import argparse
import shutil
import sys

from settings import ROOT
from testkit.fuzz.fuzzing import fuzz
from testkit.server import Server

CASES = 2_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz")
    parser.add_argument("--max-examples", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, metavar="N", help="the same cases again")
    given = parser.parse_args()
    folder = ROOT / ".local" / "tests" / "bench-fuzz"
    try:
        with Server(folder) as server:
            outcome = fuzz(server.url, max_examples=given.max_examples, seed=given.seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(outcome.report)
    return 0 if outcome.passed and outcome.cases >= CASES else 1


if __name__ == "__main__":
    sys.exit(main())
