"""Users of an embedded cluster and its server, killed and stopped at random moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from embedded.cluster import EmbeddedCluster
from settings import ROOT

# Longer than the longest stop and recovery of so small a database.
PATIENCE_SECONDS = 60
# Uses the cluster of argv[1] as a worker does: starts, watches, writes, prints what is committed.
USER = """
import sys
from pathlib import Path
from embedded.cluster import EmbeddedCluster, EmbeddedError
from tests.chaos.kills import prepare

cluster = EmbeddedCluster(Path(sys.argv[1]), prepare=prepare, fingerprint="kills")
try:
    cluster.start()
    cluster.watch()
    while True:
        try:
            number = cluster.run_sql("INSERT INTO kept DEFAULT VALUES RETURNING n")
            print(number, end="", flush=True)
        except EmbeddedError:
            pass
except KeyboardInterrupt:
    pass
finally:
    cluster.stop()
"""
DEEDS = ("kill a user", "stop a user", "kill the server", "kill both", "kill a child of the server")
# Freezing costs a start both timeouts of a stop, so it is done less often.
RARE_DEED, RARE_EVERY = "freeze the server", 20


def prepare(cluster: EmbeddedCluster) -> None:
    cluster.run_sql(
        "CREATE TABLE IF NOT EXISTS kept (n serial, filler text DEFAULT repeat('x', 200));"
        # Recovery has something to do.
        "INSERT INTO kept (filler) SELECT repeat('y', 200) FROM generate_series(1, 20000)"
    )


@dataclass
class Report:
    """starts: seconds of the start after each deed; wrong: what must not be, a sentence each."""

    deeds: Counter[str] = field(default_factory=Counter)
    starts: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    committed: int = 0


def kill_and_start(directory: Path, *, rounds: int, seed: int) -> Report:
    """`rounds` times: one or two users of the cluster in `directory`, one deed of DEEDS after up to
    1.5 s, and a start in this process, which must answer and have every row that was committed.
    """
    # A job in the background of a script inherits it ignored, and so would the users.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chance, report = random.Random(seed), Report()
    for number in range(rounds):
        cluster = EmbeddedCluster(directory, prepare=prepare, fingerprint="kills")
        users = [_user(cluster.directory) for _ in range(chance.choice([1, 2]))]
        time.sleep(chance.uniform(0, 1.5))
        deed = RARE_DEED if number % RARE_EVERY == RARE_EVERY - 1 else chance.choice(DEEDS)
        report.deeds[deed] += 1
        _do(deed, cluster, users[0], chance)
        began = time.monotonic()
        try:
            if chance.random() < 0.5:
                # Else the start is at the same time as the stop, or as the restart by a user.
                _end(users)
            cluster.start()
            report.starts.append(time.monotonic() - began)
            _end(users)
            found = {int(n) for n in cluster.run_sql("SELECT n FROM kept").split()}
            committed = {int(n) for user in users for n in _lines(user)}
            report.committed += len(committed)
            if committed - found:
                report.wrong.append(f"Round {number}, {deed}: {len(committed - found)} rows lost.")
        except Exception as error:
            report.wrong.append(f"Round {number}, {deed}: {type(error).__name__}: {error}")
        finally:
            for user in users:
                user.kill()
                user.wait()
            cluster.stop()
    give_up = time.monotonic() + PATIENCE_SECONDS
    while left := servers_of(directory):
        if time.monotonic() > give_up:
            report.wrong.append(f"Left running at the end: {left}")
            break
        time.sleep(0.05)
    return report


def servers_of(directory: Path) -> list[int]:
    """The processes of PostgreSQL whose working directory is the cluster's."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd") == str(directory / "data"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def _user(directory: Path) -> subprocess.Popen:
    # To a file: a pipe that is full would stop the user, and one that is closed end it.
    with (directory.parent / f"user-{time.monotonic_ns()}.log").open("wb") as output:
        user = subprocess.Popen(
            [sys.executable, "-c", USER, str(directory)],
            cwd=ROOT,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    user.output = Path(output.name)
    return user


def _lines(user: subprocess.Popen) -> list[str]:
    """The numbers that the user printed, without one that a kill cut short."""
    whole = user.output.read_text(errors="replace").rpartition("\n")[0].split()
    user.output.unlink()
    return [word for word in whole if word.isdigit()]


def _do(deed: str, cluster: EmbeddedCluster, user: subprocess.Popen, chance: random.Random) -> None:
    server = servers_of(cluster.directory)
    if deed in ("kill the server", "kill both", "freeze the server"):
        try:
            first = int((cluster.data / "postmaster.pid").read_text().split()[0])
        except (OSError, IndexError, ValueError):
            first = None
        if first in server:
            _signal(first, signal.SIGSTOP if deed == "freeze the server" else signal.SIGKILL)
    elif deed == "kill a child of the server" and server:
        _signal(chance.choice(server), signal.SIGKILL)
    if deed in ("kill a user", "kill both"):
        os.killpg(user.pid, signal.SIGKILL)
    elif deed == "stop a user":
        user.send_signal(signal.SIGINT)


def _signal(process: int, number: signal.Signals) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def _end(users: list[subprocess.Popen]) -> None:
    for user in users:
        if user.poll() is None:
            user.send_signal(signal.SIGINT)
    for user in users:
        user.wait(PATIENCE_SECONDS)
