"""SIGTERM under load: accepted requests are served, later ones refused, no connection reset."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import threading
import time
from collections import Counter

import pytest

from testkit.observed_server import serve

CLIENTS = 64
BEFORE = 6 * CLIENTS  # answers before the signal
GRACE_SECONDS = 35


class Client(threading.Thread):
    """Asks until it is refused. `faults` are connections that were made and gave no answer.

    keep: on one connection for as long as the server lets it, else on a new one each time.
    """

    def __init__(self, port: int, path: str, *, keep: bool, answered: Counter[int]) -> None:
        super().__init__(daemon=True)
        self._port, self._path, self._keep = port, path, keep
        self._answered = answered
        self.refused = False
        self.faults: list[str] = []
        self.told_to_close = 0

    def run(self) -> None:
        while not self.refused and not self.faults:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            try:
                connection.connect()
            except ConnectionRefusedError:
                self.refused = True
                return
            with contextlib.closing(connection):
                try:
                    self._use(connection)
                except (OSError, http.client.HTTPException) as error:
                    self.faults.append(repr(error))

    def _use(self, connection: http.client.HTTPConnection) -> None:
        headers = {} if self._keep else {"Connection": "close"}
        while True:
            connection.request("GET", self._path, headers=headers)
            response = connection.getresponse()
            body = response.read()
            if response.status == 200:
                json.loads(body)
            self._answered[response.status] += 1
            if response.headers.get("Connection") == "close":
                self.told_to_close += 1
                return


@pytest.mark.parametrize("workers", [1, 2])
def test_every_accepted_request_is_answered_and_none_reset(run_folder, workers):
    log = run_folder / f"shutdown-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-{workers}.log"
    with serve(log, run_folder / "postgresql", workers=workers) as served:
        answered: Counter[int] = Counter()
        paths = ["/customer/123", "/customers?limit=20", "/taxidata?limit=0", "/health/live"]
        crowd = [
            Client(served.port, paths[n % 4], keep=n % 8 < 4, answered=answered)
            for n in range(CLIENTS)
        ]
        for client in crowd:
            client.start()
        while answered.total() < BEFORE and not any(client.faults for client in crowd):
            time.sleep(0.001)
        served.process.send_signal(signal.SIGTERM)
        status = served.process.wait(GRACE_SECONDS)
        for client in crowd:
            client.join(60)
    assert [fault for client in crowd for fault in client.faults] == []
    assert all(client.refused for client in crowd)
    assert answered[200] >= BEFORE / 2
    assert set(answered) <= {200, 503}  # 503: the pool's queue may be full
    assert status == 0
    # Responses on kept connections closed them.
    assert any(client.told_to_close for client in crowd if client._keep)
    said = [json.loads(line) for line in log.read_text().splitlines() if line[:1] == "{"]
    assert [line for line in said if line.get("complete") is False] == []
    assert [line for line in said if "exception" in line] == []


def test_a_reload_resets_no_connection_and_keeps_serving(run_folder):
    log = run_folder / f"reload-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}.log"
    with serve(log, run_folder / "postgresql") as served:
        answered: Counter[int] = Counter()
        crowd = [
            Client(served.port, "/customer/123", keep=n % 2 == 0, answered=answered)
            for n in range(16)
        ]
        for client in crowd:
            client.start()
        old = served.workers()
        served.process.send_signal(signal.SIGHUP)
        while set(old) & set(served.workers()):
            time.sleep(0.01)
        after = answered.total()
        while answered.total() < after + 100 and not any(client.faults for client in crowd):
            time.sleep(0.001)
        assert [fault for client in crowd for fault in client.faults] == []
        assert served.ask("/health/live")[0] == 200
        served.process.send_signal(signal.SIGTERM)
        for client in crowd:
            client.join(60)
    assert [fault for client in crowd for fault in client.faults] == []
