"""The API as it is served, in a process of its own, and a client that never repeats unasked."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from settings import SETTINGS, TARGETS, variable_names
from testkit.cluster import ROOT
from tests.places import TESTS

START_TIMEOUT = 30.0
# Long enough that only a hang reaches it: every request has a deadline far below.
CLIENT_TIMEOUT = 40.0


@dataclass(frozen=True)
class Reply:
    """What the client got: status, headers (names in lower case) and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def acknowledged(self) -> bool:
        return 200 <= self.status < 300

    @property
    def replayed(self) -> bool:
        return self.headers.get("idempotency-replayed") == "true"

    def json(self) -> Any:
        return json.loads(self.body)


@contextlib.contextmanager
def serve(connection_string: str, **settings: object) -> Iterator[int]:
    """One gunicorn worker on PostgreSQL at `connection_string`; yields its port on 127.0.0.1.

    settings: environment variables in lower case, such as pool_max_size=1.
    """
    # Set, not removed: a variable that is absent may come from the developer's .env.
    blank = [v for target in TARGETS for v in variable_names(target)]
    environment = {
        **os.environ,
        **dict.fromkeys((s.name for s in SETTINGS), ""),
        **dict.fromkeys((*blank, "TOKEN", "WEBSITE_SITE_NAME"), ""),
        **{f"POSTGRESQLCONNSTR_{target}": connection_string for target in TARGETS},
        **{name.upper(): str(value) for name, value in settings.items()},
        "WEB_CONCURRENCY": "1",
    }
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    with listener, (TESTS / "gunicorn.log").open("ab") as said:
        port = listener.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}", "app:app"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        try:
            _wait_until_served(port, server)
            yield port
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def ask(
    port: int,
    method: str,
    path: str,
    document: dict | None = None,
    *,
    key: str | None = None,
    timeout: float | None = None,
) -> Reply:
    """One request on a connection of its own. `timeout`: the request's own deadline, in seconds.

    Raises OSError or http.client.HTTPException when no whole answer comes.
    """
    headers = {"Connection": "close"}
    if key is not None:
        headers["Idempotency-Key"] = key
    if timeout is not None:
        headers["Request-Timeout"] = str(timeout)
    body = None
    if document is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(document)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CLIENT_TIMEOUT)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Reply(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )


def _wait_until_served(port: int, server: subprocess.Popen) -> None:
    """Until a route that does not exist is answered with 404, which takes no database."""
    give_up = time.monotonic() + START_TIMEOUT
    while True:
        if server.poll() is not None:
            raise RuntimeError(f"gunicorn ended with {server.returncode}; see its log.")
        try:
            # The listener is ours, so this waits for the worker instead of being refused.
            if ask(port, "GET", "/no-such-route").status == 404:
                return
        except (OSError, http.client.HTTPException):
            pass
        if time.monotonic() > give_up:
            raise TimeoutError("gunicorn did not answer in time.")
        time.sleep(0.02)
