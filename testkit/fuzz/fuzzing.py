"""Runs Schemathesis against a server, with the OpenAPI document that the server returns."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from settings import ROOT

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


@dataclass(frozen=True)
class Outcome:
    """passed: no check failed. cases: number of generated requests. report: the tool's output."""

    passed: bool
    cases: int
    report: str


def fuzz(url: str, *, max_examples: int, seed: int | None = None) -> Outcome:
    """Send up to `max_examples` generated requests per operation and phase, with all checks.

    seed: the same seed generates the same requests.
    """
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
            *("run", f"{url}/openapi.json", "--max-examples", str(max_examples)),
            *("--generation-database", "none", "--no-color", "--continue-on-failure"),
            *(("--seed", str(seed)) if seed is not None else ()),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )
    cases = re.search(r"(\d+) generated", run.stdout)
    return Outcome(run.returncode == 0, int(cases[1]) if cases else 0, run.stdout + run.stderr)
