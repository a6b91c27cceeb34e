"""The product in a process of its own, started as anyone would start it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from settings import PREFIXES, ROOT, SETTINGS, TARGETS, variable_names

STOP_SECONDS = 40


def bare_environment(**overrides: str) -> dict[str, str]:
    """This process's environment without a setting of the product; a `.env` can't set one back."""
    named = [variable for target in TARGETS for variable in variable_names(target)]
    named += [variable for variable in os.environ if variable.startswith(PREFIXES)]
    named += [s.name for s in SETTINGS] + ["TOKEN", "WEBSITE_SITE_NAME"]
    return {**os.environ, **dict.fromkeys(named, ""), **overrides}


class Server:
    """`gunicorn app:app` with two workers and a process group of its own, on a free port.

    folder: LOCAL_DIR and the server's log. program, workers: instead of `app:app` and two.
    As a context it is started and stopped.
    """

    def __init__(
        self, folder: Path, *, program: str = "app:app", workers: int = 2, **environment: str
    ) -> None:
        self.folder = folder
        self._program = program
        self._workers = workers
        # Later reads of the catalog would use connections that tests count.
        environment.setdefault("CATALOG_SECONDS", "86400")
        self._environment = bare_environment(LOCAL_DIR=str(folder), **environment)
        self._process: subprocess.Popen | None = None
        self.url = ""

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def start(self) -> Server:
        """Begin to serve. The socket listens from here on, so a first request needs no waiting."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            socket.create_server(("127.0.0.1", 0), backlog=512) as listener,
            self.log.open("ab") as log,
        ):
            # gunicorn sets it too, but a test connects before that, and its kept-alive connection
            # would wait 40 ms in each response for the delayed ACK.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gunicorn", "--workers", str(self._workers)),
                    *("--bind", f"fd://{listener.fileno()}", self._program),
                ],
                cwd=ROOT,
                env=self._environment,
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def reload(self) -> None:
        """Replace the workers, as SIGHUP does."""
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> int:
        """End it as a service manager would; its exit status."""
        self._process.terminate()
        return self._process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """kill -9 of the server and its workers."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.stop()
