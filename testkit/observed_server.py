"""The product on two workers, its log in a file of its own, and a crowd of clients."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from settings import ROOT
from testkit.server import bare_environment

START_SECONDS = 60


@dataclass(frozen=True)
class Served:
    """A running server: its port on 127.0.0.1, its process, and where it logs."""

    port: int
    process: subprocess.Popen
    log: Path

    def ask(self, path: str, **headers: str) -> tuple[int, bytes]:
        """One request on a connection of its own; (status, body)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Connection": "close", **headers})
            response = connection.getresponse()
            return response.status, response.read()

    def workers(self) -> list[int]:
        """The processes of its workers."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in children.split()]


@contextlib.contextmanager
def serve(log: Path, local_dir: Path, *, workers: int = 2, **environment: str) -> Iterator[Served]:
    """`gunicorn app:app` on a port that it finds itself, ready when this yields.

    Ended by SIGTERM, if it has not ended already.
    """
    with log.open("wb") as said:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "--workers", str(workers)),
                *("--bind", "127.0.0.1:0", "app:app"),
            ],
            cwd=ROOT,
            env=bare_environment(LOCAL_DIR=str(local_dir), LOG_FORMAT="json", **environment),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        served = Served(_port(log, process), process, log)
        # Until each worker has begun to answer.
        while sum(b"/health/live" in line for line in log.read_bytes().splitlines()) < 2:
            served.ask("/health/live")
        yield served
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(45)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def _port(log: Path, process: subprocess.Popen) -> int:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        for line in log.read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                message = json.loads(line).get("message", "")
                if message.startswith("Listening at: "):
                    return int(message.split()[2].rsplit(":", 1)[1])
        time.sleep(0.05)
    raise RuntimeError(f"The server did not start: {log.read_text()}")
