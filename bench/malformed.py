"""Ten thousand requests, each invalid in a different way, with valid ones among them.

usage: python -m bench.malformed [--requests N] [--seed N]
The API runs in this process, over the embedded default, so that its pool can be read. Held to:
no 500, every refusal a problem without a word of a driver, no connection taken by what is
invalid, and every valid name back as it was sent. Exit code 1 when one of these does not hold.
"""

import argparse
import contextlib
import json
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from app import close_app, create_app
from connection_manager import ConnectionManager
from settings import ROOT, read_settings
from testkit.api_client import NOT_FOR_CLIENTS
from testkit.malformed_requests import Maker, Sent

SETTLE_SECONDS = 10.0
SETTLING_SEED = 1 << 40


@dataclass
class Findings:
    """statuses: number of responses by status; faults: a sentence for each broken promise."""

    statuses: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    checkouts: int = 0


class QuietHandler(WSGIRequestHandler):
    """Keeps connections open, as gunicorn does, and logs no requests."""

    protocol_version = "HTTP/1.1"

    def log(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[BaseWSGIServer, Flask]]:
    """The API on its own port, in a thread of this process."""
    app = create_app(read_settings({"LOCAL_DIR": str(folder)}))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server, app
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        close_app(app)


def hold_to_it(folder: Path, *, requests: int, seed: int) -> Findings:
    """Send `requests` requests, one after another; returns the findings."""
    found = Findings()
    with serving(folder) as (server, app):
        manager = app.extensions["databases"].manager("WWIF")
        _settle(server.server_port, manager)
        for sent in Maker(seed).requests(requests):
            before = manager.stats().checkouts_total
            status, text = _send(server.server_port, sent)
            taken = manager.stats().checkouts_total - before
            found.statuses[status] += 1
            found.checkouts += taken
            found.faults += _judge(sent, status, text, taken)
    return found


def _settle(port: int, manager: ConnectionManager) -> None:
    """The first write, and the clean-up that it starts, are done: both take a connection."""
    _send(port, next(Maker(SETTLING_SEED).requests(1)))
    ended = time.monotonic() + SETTLE_SECONDS
    while manager.stats().checkouts_total < 2 and time.monotonic() < ended:
        time.sleep(0.01)


def _send(port: int, sent: Sent) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": sent.content_type}
    try:
        # Refused by its length, a large body is not read to its end.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(sent.method, sent.path, sent.body or None, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def _judge(sent: Sent, status: int, text: str, taken: int) -> Iterator[str]:
    what = f"{sent.method} {sent.path} with {sent.body[:80]!r} of {sent.content_type!r}"
    if sent.name is not None:
        if status != 201 or json.loads(text)[0]["CustomerName"] != sent.name:
            yield f"{what}: the name {sent.name!r} came back as {status} {text[:200]}"
        return
    if not 400 <= status < 500 or json.loads(text)["status"] != status:
        yield f"{what}: answered {status} {text[:200]}"
    if taken:
        yield f"{what}: refused, but took a connection"
    for words in NOT_FOR_CLIENTS:
        if words in text:
            yield f"{what}: said {words} in {text[:200]}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.malformed")
    parser.add_argument("--requests", type=int, default=10_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    given = parser.parse_args()
    folder = ROOT / ".local" / "tests" / "bench-malformed"
    try:
        found = hold_to_it(folder, requests=given.requests, seed=given.seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for status, count in sorted(found.statuses.items()):
        print(f"{status}: {count:,}")
    print(f"connections taken: {found.checkouts:,}")
    print("\n".join(found.faults) or "Nothing broke a promise.")
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
