"""Load by wrk: one run against one address, and its results."""

from __future__ import annotations

import itertools
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.workloads import IDS

SCRIPT = Path(__file__).with_name("workload.lua")
# None of these is a request that a contestant may leave unanswered.
ERRORS = ("connect", "read", "write", "status", "timeout")
_runs = itertools.count(1)


@dataclass(frozen=True)
class Load:
    """What one run of wrk reports. Latencies in milliseconds; errors: any kind, all together."""

    requests: int
    seconds: float
    bytes: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    errors: int

    @property
    def rate(self) -> float:
        """Requests per second with a response of 2xx or 3xx."""
        return max(0, self.requests - self.errors) / self.seconds


def drive(
    url: str, kind: str, *, connections: int, seconds: float, body_form: bool, tag: str
) -> Load:
    """Send requests of `kind` (see workload.lua) for whole `seconds`, one wrk thread."""
    unique = f"{tag}-{next(_runs)}"
    done = subprocess.run(
        [
            *("wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"),
            *("-s", str(SCRIPT), url, "--", kind, "form" if body_form else "json", unique),
            *(str(IDS[0]), str(IDS[-1])),
        ],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise RuntimeError(f"wrk reported nothing: {done.stdout}{done.stderr}")
    said = json.loads(lines[0].removeprefix("RESULT "))
    errors = sum(said.pop(kind_of_error) for kind_of_error in ERRORS)
    return Load(**said, errors=errors)
