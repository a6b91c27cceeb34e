"""A contestant in its own process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.bench_database import HOME, BenchDatabase
from bench.contestants.registry import WORKERS, Contestant, Form, environment
from bench.process_usage import family
from bench.workloads import READS

START_SECONDS = 30.0
STOP_SECONDS = 15.0


class ServerFailed(RuntimeError):
    """The contestant did not start; the message has the end of its log."""


@dataclass(frozen=True)
class Running:
    contestant: Contestant
    port: int
    pid: int
    form: Form

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextlib.contextmanager
def running(
    contestant: Contestant,
    database: BenchDatabase,
    form: Form | None = None,
    *,
    workers: int = WORKERS,
) -> Iterator[Running]:
    """Start it, wait until it responds, and stop it and its workers at the end.

    form: by default the one for reads.
    """
    form = form or contestant.forms[READS]
    port = free_port()
    log = HOME / "logs" / (contestant.name.replace(" ", "-").replace(",", "") + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    inherited = {k: v for k, v in os.environ.items() if "CONNSTR_" not in k}
    with log.open("wb") as output:
        process = subprocess.Popen(
            contestant.command(port, form.width, workers),
            cwd=contestant.root,
            env={
                **inherited,
                **environment(contestant, database.addresses, form),
                "PYTHONPATH": str(contestant.root),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Its own process group: Ctrl-C reaches only this program, which stops the others.
            start_new_session=True,
        )
        try:
            server = Running(contestant, port, process.pid, form)
            _wait_until_it_answers(server, process, log)
            if form.pinned and not contestant.pins_itself:
                _pin_workers(process.pid)
            yield server
        finally:
            _stop(process)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def _wait_until_it_answers(server: Running, process: subprocess.Popen, log) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            with urllib.request.urlopen(server.url("/customer/123"), timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    tail = log.read_text(errors="replace")[-2000:]
    raise ServerFailed(f"{server.contestant.name} did not answer on its port:\n{tail}")


def _pin_workers(pid: int) -> None:
    """Keep each worker with all its threads to one CPU, as many workers on one as on another."""
    cpus = sorted(os.sched_getaffinity(0))
    for place, worker in enumerate(sorted(p for p in family(pid)[1:] if not _is_tracker(p))):
        for thread in Path(f"/proc/{worker}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {cpus[place % len(cpus)]})


def _is_tracker(pid: int) -> bool:
    """Whether this is a helper of multiprocessing, which uvicorn starts beside its workers."""
    return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    # Workers that outlived their parent; the session is theirs alone.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
