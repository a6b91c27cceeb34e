"""Real workers keep to one CPU each, and what they start does not."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testkit.api_client import Api
from testkit.server import Server

CPUS = os.sched_getaffinity(0)
pytestmark = pytest.mark.skipif(len(CPUS) < 2, reason="a machine with one CPU")


def eventually(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def workers_of(server: Server) -> dict[int, set[int]]:
    """The CPUs that each thread of each worker may use, by the worker's process id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == server._process.pid:
                threads = [int(thread.name) for thread in (process / "task").iterdir()]
                found[int(process.name)] = set().union(*map(os.sched_getaffinity, threads))
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def pinned(run_folder: Path) -> Iterator[Server]:
    with Server(run_folder / "pinned", workers=3) as server, Api(server.url) as api:
        assert api.get("/customer/123").status_code == 200
        yield server


def singles(server: Server) -> list[int]:
    return sorted(cpu for cpus in workers_of(server).values() if len(cpus) == 1 for cpu in cpus)


def even(server: Server) -> bool:
    """Three workers: with three CPUs or more each has its own, with two the third is free."""
    return singles(server) == sorted(CPUS)[:3] and len(workers_of(server)) == 3


def test_no_cpu_has_more_workers_than_another(pinned):
    eventually(lambda: even(pinned))


def test_a_worker_that_replaces_a_killed_one_takes_its_cpu(pinned):
    eventually(lambda: even(pinned))
    victim = next(pid for pid, cpus in workers_of(pinned).items() if len(cpus) == 1)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in workers_of(pinned) and even(pinned))


def test_a_reload_leaves_the_new_workers_as_even(pinned):
    eventually(lambda: even(pinned))
    old = set(workers_of(pinned))
    os.kill(pinned._process.pid, signal.SIGHUP)
    eventually(lambda: not old & set(workers_of(pinned)) and even(pinned))


def test_the_embedded_database_uses_every_cpu(pinned):
    postmaster = next(pinned.folder.rglob("postmaster.pid"))
    assert os.sched_getaffinity(int(postmaster.read_text().split()[0])) == CPUS


@pytest.mark.parametrize("case", ["turned off", "one CPU allowed"])
def test_workers_use_every_allowed_cpu_where_pinning_is_off(run_folder, pinned, case):
    allowed = CPUS if case == "turned off" else {min(CPUS)}
    with contextlib.ExitStack() as running:
        os.sched_setaffinity(0, allowed)
        try:
            setting = "no" if case == "turned off" else "yes"
            server = running.enter_context(Server(run_folder / "pinned", PIN_WORKERS=setting))
        finally:
            os.sched_setaffinity(0, CPUS)
        with Api(server.url) as api:
            assert api.get("/health/live").status_code == 200
        eventually(lambda: list(workers_of(server).values()) == [allowed] * 2)
