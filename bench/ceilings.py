"""The maximum rates of database and driver: pgbench, and bare pyodbc on a kept cursor."""

from __future__ import annotations

import math
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pyodbc

from bench.bench_database import BenchDatabase
from bench.contestants.registry import WORKERS
from bench.workloads import IDS
from embedded.configuration import API_ROLE, DATABASE, PORT
from embedded.folder import unprivileged_account
from embedded.installation import find_binaries

SCRIPT = f"""\\set id random({IDS[0]}, {IDS[-1]})
SELECT * FROM web.get_customer('{{"CustomerID":' || :id || '}}');
"""


@dataclass(frozen=True)
class Ceiling:
    name: str
    connections: int
    rate: float
    p50_ms: float
    p99_ms: float


def pgbench(database: BenchDatabase, *, connections: int, seconds: float) -> Ceiling:
    """The same prepared call by pgbench, as many threads as contestants have workers."""
    whole = max(1, math.ceil(seconds))
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        script = Path(folder, "one_customer.sql")
        script.write_text(SCRIPT)
        account = {}
        if os.geteuid() == 0:
            # pgbench writes its log under the account that runs it, which need not be root.
            user = unprivileged_account()
            os.chown(folder, user.pw_uid, user.pw_gid)
            account = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        subprocess.run(
            [
                *(str(find_binaries() / "pgbench"), "-n", "-M", "prepared", "-f", str(script)),
                *("-c", str(connections), "-j", str(min(WORKERS, connections)), "-T", str(whole)),
                *("-l", "--log-prefix", str(Path(folder, "log"))),
                *("-h", str(database.cluster.socket_directory), "-p", str(PORT)),
                *("-U", API_ROLE, DATABASE),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **account,
        )
        taken = sorted(
            int(line.split()[2]) / 1e3
            for log in Path(folder).glob("log.*")
            for line in log.read_text().splitlines()
        )
    return _ceiling("pgbench", connections, taken, whole)


def bare_pyodbc(database: BenchDatabase, *, seconds: float, processes: int) -> Ceiling:
    """pyodbc on one kept cursor in each of `processes`, without any other work."""
    # Not forked: a child may not inherit anything of a driver that was in use.
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        jobs = [(database.addresses.odbc, seconds, worker) for worker in range(processes)]
        taken = sorted(ms for part in pool.starmap(_call_over_and_over, jobs) for ms in part)
    return _ceiling("bare pyodbc, kept cursor", processes, taken, seconds)


def _call_over_and_over(address: str, seconds: float, worker: int) -> list[float]:
    """Milliseconds of each call."""
    pyodbc.pooling = False
    connection = pyodbc.connect(address, autocommit=True)
    cursor = connection.cursor()
    taken = []
    ends = time.perf_counter() + seconds
    while (began := time.perf_counter()) < ends:
        worker += 29
        document = f'{{"CustomerID":{IDS[worker % len(IDS)]}}}'
        cursor.execute("SELECT * FROM web.get_customer(?)", document).fetchall()
        taken.append((time.perf_counter() - began) * 1e3)
    connection.close()
    return taken


def _ceiling(name: str, connections: int, taken: list[float], seconds: float) -> Ceiling:
    cuts = statistics.quantiles(taken, n=100)
    return Ceiling(name, connections, len(taken) / seconds, cuts[49], cuts[98])
