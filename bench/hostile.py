"""Honest clients next to hostile ones: the honest are served, and the server does not grow.

Run as `python -m bench.hostile --minutes 30`; `--only silent,trickling` leaves out the other kinds
of hostility. Two gunicorn workers over an embedded PostgreSQL of their own, all on loopback. Prints
what the honest clients saw, how long the server let each hostile connection live, and what the
workers hold before and after. Exits with 1 when fewer than 99.9% of the honest requests succeeded,
or their 99th percentile is not below a second, or something grew.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import multiprocessing
import os
import random
import resource
import select
import shutil
import socket
import statistics
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from settings import ROOT
from testkit.callers import api_keys
from testkit.observed_server import Served, serve
from testkit.raw_http import request_bytes, send

HONEST_CLIENTS = 8
# Each client's own pace: the load does not rise when answers come faster.
REQUESTS_A_SECOND = 10.0
REQUESTS_A_CONNECTION = 25
PATHS = ("/customer/123", "/customers?limit=20", "/taxidata?limit=5", "/health/live")
WRITE_EVERY = 5
REQUEST_SECONDS = 60.0
BUSY_SECONDS = 0.02  # between two requests of those that make requests
HALF_BODIES, STALLED = 100, 40
# What may go up without being a leak: an attack starts all threads of both workers, up to 232,
# which then stay, with some memory each (55 MiB in all, after 1.5 as after 2.5 minutes).
DESCRIPTORS_NOISE, RESIDENT_NOISE = 12, 96 << 20
SUCCESS, P99_SECONDS = 0.999, 1.0
# Longest that the server may keep a hostile connection: its limits are 10 and 30 seconds.
SETTLE_SECONDS = 45.0
PAGE = os.sysconf("SC_PAGE_SIZE")

HALF_HEAD = b"GET /customer/123 HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
HALF_BODY = request_bytes("PUT", "/customer", length=100)
PIPELINE = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100
MALFORMED = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /customer/123 HTTP/1.1\r\n\r\n",
    b"PUT /customer HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    b"PUT /customer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /customer/123 HTTP/1.1\nHost: x\n\n",
)
OVERSIZED = (
    request_bytes(target="/" + "a" * 16_384),
    request_bytes(headers=[("X-Long", "a" * 16_384)]),
    request_bytes(headers=[(f"X-{n}", "1") for n in range(100)]),
    request_bytes("PUT", "/customer", body=b" " * 3_000_000),
    request_bytes("PUT", "/customer", length=1 << 40),
)
UNAUTHORIZED = (
    request_bytes(),
    request_bytes("DELETE", headers=[("X-API-Key", "spa_" + "A" * 43)]),
    request_bytes("PUT", "/customer", [("Authorization", "Bearer a.b.c")], b'{"CustomerName":"x"}'),
    request_bytes(target="/metrics"),
)


class Held:
    """Connections that are held until the server closes them, each then replaced by a new one."""

    def __init__(self, port: int, number: int, sent: bytes, *, then: bytes, reads: bool) -> None:
        self._port, self._number, self._sent = port, number, sent
        self._then, self._reads = then, reads
        self.closed = 0
        self.longest = 0.0

    def run(self, over: Callable[[], bool]) -> None:
        poll, held, next_piece = select.poll(), {}, time.monotonic() + 1
        while not over():
            for _ in range(min(100, self._number - len(held))):
                with contextlib.suppress(OSError):
                    connection = self._open()
                    held[connection.fileno()] = (connection, time.monotonic())
                    poll.register(connection, select.POLLIN if self._reads else 0)
            for descriptor, event in poll.poll(100):
                connection, began = held[descriptor]
                if event & (select.POLLHUP | select.POLLERR) or self._ended(connection):
                    poll.unregister(descriptor)
                    connection.close()
                    del held[descriptor]
                    self.closed += 1
                    self.longest = max(self.longest, time.monotonic() - began)
            if self._then and time.monotonic() > next_piece:
                next_piece = time.monotonic() + 1
                for connection, _ in held.values():
                    with contextlib.suppress(OSError):
                        connection.send(self._then)
        now = time.monotonic()
        self.longest = max([self.longest, *(now - began for _, began in held.values())])
        for connection, _ in held.values():
            connection.close()

    def _open(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), 10)
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.send(self._sent)
        return connection

    def _ended(self, connection: socket.socket) -> bool:
        try:
            return not connection.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            return True


class Repeated:
    """Requests one after another, each on a new connection, until the time is over."""

    def __init__(self, port: int, requests: tuple[bytes, ...]) -> None:
        self._url, self._requests = f"http://127.0.0.1:{port}", requests
        self.statuses: Counter[int] = Counter()

    def run(self, over: Callable[[], bool]) -> None:
        for request in itertools.cycle(self._requests):
            if over():
                return
            try:
                self.statuses[send(self._url, request).status] += 1
            except OSError:
                self.statuses[0] += 1
            time.sleep(BUSY_SECONDS)


def hostilities(port: int, silent: int, trickling: int, key: tuple[str, str]) -> dict[str, object]:
    admitted = request_bytes("PUT", "/customer", [key], b"{", length=100)
    return {
        "silent": Held(port, silent, b"", then=b"", reads=True),
        "trickling": Held(port, trickling, HALF_HEAD, then=b"x", reads=True),
        "half bodies, no key": Held(port, HALF_BODIES, HALF_BODY, then=b"", reads=True),
        "half bodies, a key": Held(port, HALF_BODIES, admitted, then=b" ", reads=True),
        "stalled": Held(port, STALLED, PIPELINE, then=b"", reads=False),
        "malformed": Repeated(port, MALFORMED),
        "oversized": Repeated(port, OVERSIZED),
        "unauthorized": Repeated(port, UNAUTHORIZED),
    }


def attack(options: argparse.Namespace, port: int, key: tuple[str, str], seconds: float, told):
    """Runs in its own process, so that it does not slow the honest clients."""
    # It ends by itself.
    end = time.monotonic() + seconds
    kinds = hostilities(port, options.silent, options.trickling, key)
    kinds = {name: kind for name, kind in kinds.items() if chosen(name, options.only)}
    threads = [
        threading.Thread(target=kind.run, args=(lambda: time.monotonic() > end,))
        for kind in kinds.values()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.put(
        {
            name: f"{kind.closed} closed by the server, the longest held {kind.longest:.1f} s"
            if isinstance(kind, Held)
            else f"statuses {dict(sorted(kind.statuses.items()))}"
            for name, kind in kinds.items()
        }
    )


def chosen(name: str, only: str) -> bool:
    return not only or any(name.startswith(word) for word in only.split(","))


class Honest(threading.Thread):
    """Reads and writes at its own pace. `times`: seconds of each request that succeeded."""

    def __init__(self, port: int, key: tuple[str, str], until: float, number: int) -> None:
        super().__init__(daemon=True)
        self._port, self._until, self._headers = port, until, dict([key])
        self._chance = random.Random(number)
        self.times: list[float] = []
        self.failures: Counter[str] = Counter()

    def run(self) -> None:
        while time.monotonic() < self._until:
            connection = http.client.HTTPConnection(
                "127.0.0.1", self._port, timeout=REQUEST_SECONDS
            )
            with contextlib.closing(connection):
                for number in range(REQUESTS_A_CONNECTION):
                    if time.monotonic() > self._until or not self._one(connection, number):
                        break

    def _one(self, connection: http.client.HTTPConnection, number: int) -> bool:
        began = time.monotonic()
        try:
            if number % WRITE_EVERY == WRITE_EVERY - 1:
                body = json.dumps({"CustomerName": f"Honest {uuid.uuid4()}"})
                headers = {**self._headers, "Content-Type": "application/json"}
                connection.request("PUT", "/customer", body, headers)
            else:
                connection.request("GET", self._chance.choice(PATHS), headers=self._headers)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            self.failures[type(error).__name__] += 1
            return False
        if response.status in (200, 201):
            self.times.append(time.monotonic() - began)
        else:
            self.failures[str(response.status)] += 1
        time.sleep(max(0.0, began + 1 / REQUESTS_A_SECOND - time.monotonic()))
        return True


def held_by(served: Served) -> dict[str, int]:
    """Descriptors, threads and resident bytes of all workers."""
    total: Counter[str] = Counter()
    for pid in served.workers():
        process = Path(f"/proc/{pid}")
        total["descriptors"] += len(os.listdir(process / "fd"))
        total["threads"] += len(os.listdir(process / "task"))
        total["resident"] += int((process / "statm").read_text().split()[1]) * PAGE
    return dict(total)


def shown(held: dict[str, int]) -> str:
    return (
        f"{held['descriptors']} descriptors, {held['threads']} threads,"
        f" {held['resident'] / (1 << 20):.0f} MiB"
    )


@contextlib.contextmanager
def server() -> Iterator[tuple[Served, tuple[str, str]]]:
    folder = ROOT / ".local" / "hostile"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    setting, keys = api_keys([("honest", "read,write")])
    environment = {"AUTH": "keys", "API_KEYS": setting}
    try:
        with serve(folder / "server.log", folder / "postgresql", **environment) as served:
            yield served, next(iter(keys["honest"].items()))
    finally:
        shutil.rmtree(folder / "postgresql", ignore_errors=True)


def honest_clients(port: int, key: tuple[str, str], seconds: float) -> list[Honest]:
    until = time.monotonic() + seconds
    clients = [Honest(port, key, until, number) for number in range(HONEST_CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(seconds + REQUEST_SECONDS + 10)
    return clients


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--silent", type=int, default=2000, help="silent connections")
    parser.add_argument("--trickling", type=int, default=200, help="heads, a byte a second each")
    parser.add_argument("--only", default="", help="kinds of hostility, by the beginning of a name")
    options = parser.parse_args()
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = options.silent + options.trickling + 1000
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(limit, needed)), hard))
    seconds = options.minutes * 60
    with server() as (served, key):
        honest_clients(served.port, key, min(15.0, seconds / 4))  # caches and connections
        before = held_by(served)
        workers = served.workers()
        context = multiprocessing.get_context("spawn")
        told = context.Queue()
        hostile = context.Process(
            target=attack, args=(options, served.port, key, seconds + 2, told), daemon=True
        )
        hostile.start()
        clients = honest_clients(served.port, key, seconds)
        attacks = told.get(timeout=REQUEST_SECONDS * 2)
        hostile.join()
        time.sleep(SETTLE_SECONDS)
        after = held_by(served)
        same = served.workers() == workers
    return report(clients, attacks, before, after, same)


def report(
    clients: list[Honest], attacks: dict[str, str], before: dict, after: dict, same: bool
) -> int:
    times = sorted(time for client in clients for time in client.times)
    failures = sum((client.failures for client in clients), Counter())
    success = len(times) / max(1, len(times) + failures.total())
    p99 = times[int(len(times) * 0.99)] if times else float("inf")
    for name, sentence in attacks.items():
        print(f"{name}: {sentence}")
    total = len(times) + failures.total()
    print(f"honest: {len(times)} of {total} ({success:.3%}) {dict(failures) or ''}")
    if times:
        middle = statistics.median(times)
        print(f"honest: p50 {middle:.4f} s, p99 {p99:.4f} s, longest {times[-1]:.3f} s")
    print(f"before: {shown(before)}")
    print(f"after: {shown(after)}; {'the same' if same else 'OTHER'} workers")
    grew = (
        after["descriptors"] > before["descriptors"] + DESCRIPTORS_NOISE
        or after["resident"] > before["resident"] + RESIDENT_NOISE
    )
    return 0 if same and success >= SUCCESS and p99 < P99_SECONDS and not grew else 1


if __name__ == "__main__":
    sys.exit(main())
