"""The system calls of one request, by name.

strace stops a thread at each call, so that the threads of a busy worker wait for one another: 69
futex calls a request at 16 connections, where 5 is right. perf lets the kernel count, but each
call that it counts makes a thread's switch dearer (with all 360, a request takes four times its
CPU time). So strace finds the names, and perf counts the most frequent ones, where it is installed
and allowed to.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MOST_EVENTS = 12
EVENT = "syscalls:sys_enter_"
ATTACH_SECONDS, END_SECONDS = 1.0, 30.0


@dataclass(frozen=True)
class Calls:
    """each: (name, calls of a request), most first. requests: those counted. source: of the
    counts, for the page."""

    each: list[tuple[str, float]]
    requests: int
    source: str


def count_calls(worker: int, load: Callable[[], int]) -> Calls:
    """The calls of the process `worker` during `load`, which returns its number of requests."""
    traced, requests = _traced(worker, load)
    found = Calls(
        _per_request(traced, requests),
        requests,
        "strace, which slows the threads: with several connections futex is far too high",
    )
    names = [name for name, _ in found.each[:MOST_EVENTS]]
    if shutil.which("perf") is None or not names:
        return found
    counted, requests = _counted(worker, load, names)
    if not counted:
        return found
    return Calls(_per_request(counted, requests), requests, "perf stat, the most frequent ones")


def _per_request(counts: dict[str, int], requests: int) -> list[tuple[str, float]]:
    each = ((name, count / max(1, requests)) for name, count in counts.items())
    return sorted(each, key=lambda pair: -pair[1])


def _traced(worker: int, load: Callable[[], int]) -> tuple[dict[str, int], int]:
    with tempfile.NamedTemporaryFile() as output:
        tracing = subprocess.Popen(
            ["strace", "-f", "-c", "-p", str(worker), "-o", output.name],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        requests = _during(tracing, load)
        counts = {}
        for line in Path(output.name).read_text().splitlines():
            # % time, seconds, usecs/call, calls, [errors], syscall
            fields = line.split()
            if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
                counts[fields[-1]] = int(fields[3])
    return counts, requests


def _counted(worker: int, load: Callable[[], int], names: list[str]) -> tuple[dict[str, int], int]:
    """Nothing where the kernel does not let perf count."""
    with tempfile.NamedTemporaryFile() as output:
        events = ",".join(EVENT + name for name in names)
        counting = subprocess.Popen(
            ["perf", "stat", "-x", ",", "-e", events, "-p", str(worker), "-o", output.name],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        requests = _during(counting, load)
        counts = {}
        for line in Path(output.name).read_text().splitlines():
            # count, unit, event, …
            fields = line.split(",")
            if len(fields) > 2 and fields[0].isdigit():
                counts[fields[2].removeprefix(EVENT)] = int(fields[0])
    return counts, requests


def _during(program: subprocess.Popen, load: Callable[[], int]) -> int:
    try:
        time.sleep(ATTACH_SECONDS)
        return load()
    finally:
        program.send_signal(signal.SIGINT)
        program.wait(END_SECONDS)
