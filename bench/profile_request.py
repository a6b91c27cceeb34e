"""Where each microsecond of one request goes: one worker, one connection, one customer.

py-spy samples the thread that holds the interpreter's lock, of which a worker has one, and
bench/system_calls.py counts the system calls, each in a run of its own. Both slow what they look
at, so the CPU time of a request is taken in a run without them. Writes bench/results/profile.md.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from pathlib import Path

from bench.bench_database import ROOT, bench_database
from bench.contestants.registry import CONTESTANTS, Contestant
from bench.machine import description
from bench.measure import load
from bench.process_usage import cpu_seconds, family
from bench.server_process import Running, running
from bench.system_calls import count_calls
from bench.workloads import WORKLOADS, Workload

HERTZ = 500
# The first that a frame's file matches is its layer; what matches none belongs to its caller.
_OWN = re.escape(str(ROOT)) + "/"
LAYERS = (
    ("bench contestant", _OWN + "bench/"),
    ("serving", _OWN + "(serving|gunicorn.conf)"),
    ("authentication", _OWN + "authentication/"),
    ("observability", _OWN + "observability/"),
    ("pool", _OWN + "database/pool/"),
    ("deadline watch", _OWN + r"database/deadline\.py"),
    ("connection manager", _OWN + r"database/(calls|connector|rows|single_flight)\.py"),
    ("session, dialect, driver", _OWN + "database/"),
    ("operations", _OWN + "operations/"),
    ("connection manager", _OWN + "connection_manager"),
    ("protocol", _OWN + "protocol/"),
    ("resources", _OWN + "resources/"),
    ("application", _OWN + r"(app|application)\.py"),
    *((name, f"/{name}/") for name in ("gunicorn", "granian", "uvicorn", "starlette", "fastapi")),
    *((name, f"/{name}/") for name in ("flask_restful", "flask_compress", "flask_cors")),
    *((name, f"/{name}/") for name in ("flask_limiter", "flask_sqlalchemy", "sqlalchemy")),
    *((name, f"/{name}/") for name in ("werkzeug", "flask", "pydantic", "prometheus_client")),
)
_FRAME = re.compile(r"(?P<function>.+) \((?P<file>.+?)(?::(?P<line>\d+))?\)$")


@dataclasses.dataclass(frozen=True)
class Samples:
    """Stacks that held the interpreter's lock, how often, and the requests served in that time."""

    stacks: Counter[tuple[str, ...]]
    requests: int

    def microseconds(self, count: int) -> float:
        """Time of a request that `count` samples stand for."""
        return 1e6 * count / HERTZ / self.requests

    def by_layer(self) -> Counter[str]:
        """Own time: each sample counts for the layer of its innermost frame that has one."""
        found: Counter[str] = Counter()
        for stack, count in self.stacks.items():
            layers = (layer_of(frame) for frame in reversed(stack))
            found[next((layer for layer in layers if layer), "the rest")] += count
        return found

    def by_function(self, *, inclusive: bool) -> Counter[str]:
        found: Counter[str] = Counter()
        for stack, count in self.stacks.items():
            for frame in {name_of(f) for f in (stack if inclusive else stack[-1:])}:
                found[frame] += count
        return found


def layer_of(frame: str) -> str | None:
    parsed = _FRAME.match(frame)
    if parsed is None:
        return None
    return next((name for name, pattern in LAYERS if re.search(pattern, parsed["file"])), None)


def name_of(frame: str) -> str:
    """`function (file)` with a file that is short and names no machine's folder."""
    parsed = _FRAME.match(frame)
    if parsed is None:
        return frame
    file = parsed["file"]
    for prefix in (sysconfig.get_paths()["purelib"] + "/", f"{ROOT}/"):
        file = file.removeprefix(prefix)
    if file.startswith("/"):
        file = file.rpartition("/lib/")[2]
        file = re.sub(r"^python3\.\d+/", "", file)
    return f"{parsed['function']} ({file})"


def worker_of(server: Running) -> int:
    """The process that has used most CPU: the one worker, not its arbiter."""
    return max(family(server.pid), key=_own_cpu)


def _own_cpu(pid: int) -> int:
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(stat[11]) + int(stat[12])
    return 0


def sample(server: Running, workload: Workload, seconds: float, connections: int) -> Samples:
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or "py-spy"
    with tempfile.NamedTemporaryFile() as output:
        recording = subprocess.Popen(
            [
                *(spy, "record", "--pid", str(worker_of(server)), "--rate", str(HERTZ)),
                # nonblocking: stopping every thread for each sample, it saw the lock held in 3 %
                # of those of a pinned worker with 16 connections. A stack that changes while it
                # is read is lost or, rarely, wrong. idle: whether a thread runs is looked up
                # before who holds the lock, and by then another one may run.
                *("--gil", "--idle", "--nonblocking", "--duration", str(round(seconds))),
                *("--format", "raw"),
                *("--full-filenames", "--output", output.name),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            done = load(server, workload, connections=connections, seconds=seconds, tag="profile")
            said = recording.communicate(timeout=60)[1]
        finally:
            recording.kill()
            recording.wait()
        if recording.returncode:
            raise RuntimeError(f"py-spy failed: {said.decode(errors='replace')}")
        stacks: Counter[tuple[str, ...]] = Counter()
        for line in Path(output.name).read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            stacks[tuple(stack.split(";"))] += int(count)
    return Samples(stacks, max(1, done.requests))


def section(
    contestant: Contestant, server: Running, workload: Workload, postmaster: int, options
) -> str:
    load(server, workload, connections=options.connections, seconds=1, tag="profile")
    worker = worker_of(server)
    mine, theirs = cpu_seconds(worker), cpu_seconds(postmaster)
    plain = load(
        server,
        workload,
        connections=options.connections,
        seconds=options.seconds,
        tag="profile",
    )
    mine, theirs = cpu_seconds(worker) - mine, cpu_seconds(postmaster) - theirs
    samples = sample(server, workload, options.seconds, options.connections)

    def again() -> int:
        return load(
            server,
            workload,
            connections=options.connections,
            seconds=options.seconds,
            tag="profile",
        ).requests

    calls = count_calls(worker, again)
    text = [
        f"## {contestant.name}: {workload.name}, {options.connections} connection(s)\n",
        f"{plain.rate:,.0f} requests/s, p50 {1e3 * plain.p50_ms:.0f} µs, p99"
        f" {1e3 * plain.p99_ms:.0f} µs. CPU of a request: worker"
        f" {1e6 * mine / plain.requests:.0f} µs, PostgreSQL {1e6 * theirs / plain.requests:.0f} µs."
        "\n\nTime with the interpreter's lock, by layer, what a layer calls in the standard"
        " library and in C included; waiting and system calls are not in it"
        f" (py-spy, {samples.requests:,} requests):\n",
        "| layer | µs a request | % |\n|---|--:|--:|",
    ]
    whole = sum(samples.stacks.values()) or 1
    for name, count in samples.by_layer().most_common():
        text.append(f"| {name} | {samples.microseconds(count):.1f} | {100 * count / whole:.1f} |")
    for title, inclusive in (("Own time by function", False), ("With what they call", True)):
        text.append(f"\n{title}:\n\n| function | µs a request |\n|---|--:|")
        for name, count in samples.by_function(inclusive=inclusive).most_common(options.lines):
            text.append(f"| `{name}` | {samples.microseconds(count):.1f} |")
    text.append(
        f"\nSystem calls ({calls.source}; {calls.requests:,} requests):\n\n"
        "| call | a request |\n|---|--:|"
    )
    text += [f"| {name} | {each:.2f} |" for name, each in calls.each if each >= 0.005]
    text.append(f"| all | {sum(each for _, each in calls.each):.2f} |\n")
    return "\n".join(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each of the three runs")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--lines", type=int, default=30, help="functions listed")
    parser.add_argument("--workload", default="one customer")
    parser.add_argument("--only", action="append", help="a contestant's name; may be repeated")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("results") / "profile.md"
    )
    options = parser.parse_args()
    workload = next(w for w in WORKLOADS if w.name == options.workload)
    wanted = options.only or [c.name for c in CONTESTANTS if c.ours]
    chosen = [c for c in CONTESTANTS if c.name in wanted]
    machine = description(chosen)
    parts = [
        f"# Where the time of one request goes\n\nMade by `bench/run profile`, {machine['date']},"
        f" {machine['processor']}, one worker, light load.\n"
    ]
    with bench_database("postgresql") as database:
        for contestant in chosen:
            with running(contestant, database, workers=1) as server:
                parts.append(section(contestant, server, workload, database.postmaster, options))
                database.forget_created()
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text("\n".join(parts))
    print("\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
