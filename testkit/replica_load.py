"""Clients that write at one instance of the API and read at another."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import re
import threading
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

TOKEN = "consistency-token"
CLIENT_TIMEOUT = 60.0
# How long a write is repeated with its key before it counts as not acknowledged.
WRITE_SECONDS = 40.0
ROUTED = re.compile(r"db_routed_reads_total\{(.*?)\} (\S+)")


@dataclass
class Tally:
    """What clients saw. written: the ids of acknowledged orders. failed: answers that are neither
    a success nor a 404, by status. seconds: of each read."""

    written: list[int] = field(default_factory=list)
    reads: int = 0
    stale: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Client:
    """Keeps one connection to each of `urls`; makes a new one after an error."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._hosts = [url.removeprefix("http://") for url in urls]
        self._open: dict[str, http.client.HTTPConnection] = {}

    def ask(
        self, which: int, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers by lower-case name, body). Raises OSError or HTTPException."""
        host = self._hosts[which % len(self._hosts)]
        connection = self._open.pop(host, None)
        if connection is None:
            connection = http.client.HTTPConnection(host, timeout=CLIENT_TIMEOUT)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        text = None
        if body is not None:
            text, sent["Content-Type"] = json.dumps(body), "application/json"
        try:
            connection.request(method, path, text, sent)
            response = connection.getresponse()
            content = response.read()
        except BaseException:
            connection.close()
            raise
        self._open[host] = connection
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, found, content

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()


def pairs(
    urls: Sequence[str],
    count: int,
    *,
    clients: int = 8,
    with_token: bool = True,
    at: Callable[[int], None] = lambda number: None,
) -> Tally:
    """`count` times: an order is created at one of `urls`, then read at the next one.

    A write is repeated with its key until it is acknowledged. at: called with the number of each
    pair before it begins.
    """
    tally, numbers = Tally(), itertools.count()

    def work() -> None:
        with contextlib.closing(Client(urls)) as client:
            while (number := next(numbers)) < count:
                at(number)
                made = _write(client, number)
                if made is None:
                    with tally.lock:
                        tally.failed["write"] += 1
                    continue
                path, token = made
                headers = {"Consistency_Token": token} if with_token else {}
                _read(client, number + 1, path, headers, tally)
                with tally.lock:
                    tally.written.append(int(path.rpartition("/")[2]))

    _run(work, clients)
    return tally


def reads(
    urls: Sequence[str],
    count: int,
    path: str,
    *,
    clients: int = 8,
    at: Callable[[int], None] = lambda number: None,
    **headers: str,
) -> Tally:
    """`count` times GET `path`, at each of `urls` in turn."""
    tally, numbers = Tally(), itertools.count()

    def work() -> None:
        with contextlib.closing(Client(urls)) as client:
            while (number := next(numbers)) < count:
                at(number)
                _read(client, number, path, headers, tally)

    _run(work, clients)
    return tally


def routed(urls: Sequence[str]) -> Counter[str]:
    """How many reads all instances have served, by "replica current", "primary behind", …"""
    found: Counter[str] = Counter()
    for url in urls:
        with urllib.request.urlopen(f"{url}/metrics", timeout=CLIENT_TIMEOUT) as response:
            for labels, number in ROUTED.findall(response.read().decode()):
                named = dict(re.findall(r'(\w+)="(.*?)"', labels))
                found[f"{named['served_by']} {named['reason']}"] += int(float(number))
    return found


@contextlib.contextmanager
def once_at(number: int, act: Callable[[], None]) -> Iterator[Callable[[int], None]]:
    """For `at` of pairs() and reads(): runs `act` in a thread when `number` begins; joins it."""
    thread = threading.Thread(target=act)

    def at(begun: int) -> None:
        if begun == number:
            thread.start()

    yield at
    thread.join()


def wait_until_ready(urls: Sequence[str], states: Sequence[str], *, seconds: float = 30.0) -> None:
    """Return when every instance reports its replicas in `states`, several times in a row, so that
    each of its workers has probed them."""
    give_up = time.monotonic() + seconds
    for url in urls:
        in_a_row = 0
        while in_a_row < 8:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=CLIENT_TIMEOUT) as response:
                report = json.load(response)
            found = [
                r["state"] for d in report["databases"].values() for r in d.get("replicas", ())
            ]
            in_a_row = in_a_row + 1 if found == [*states] else 0
            assert time.monotonic() < give_up, found
            time.sleep(0.02)


def _write(client: Client, number: int) -> tuple[str, str] | None:
    """The new order's path and token; None where it was never acknowledged."""
    name = uuid.uuid4().hex
    key = {"Idempotency_Key": name}
    document = {"customer": name, "amount": 1}
    give_up = time.monotonic() + WRITE_SECONDS
    while time.monotonic() < give_up:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, headers, _ = client.ask(number, "POST", "/order", document, **key)
            if status == 201:
                return headers.get("location") or _path_of(client, name), headers[TOKEN]
            if status < 500:
                return None
        time.sleep(0.05)
    return None


def _path_of(client: Client, customer: str) -> str:
    """The order of a replay without Location: its write was cut off before its response was
    stored. Raises OSError if the primary does not answer."""
    path = f"/orders?customer={customer}"
    status, _, body = client.ask(0, "GET", path, Consistency="primary")
    if status != 200:
        raise OSError(f"{path}: {status}")
    (order,) = json.loads(body)
    return f"/order/{order['order_id']}"


def _read(
    client: Client,
    number: int,
    path: str,
    headers: dict[str, str],
    tally: Tally,
) -> None:
    began = time.monotonic()
    try:
        status, _, _ = client.ask(number, "GET", path, **headers)
        outcome = str(status)
    except (OSError, http.client.HTTPException) as error:
        outcome = type(error).__name__
    seconds = time.monotonic() - began
    with tally.lock:
        tally.reads += 1
        tally.seconds.append(seconds)
        if outcome == "404":
            tally.stale += 1
        elif outcome != "200":
            tally.failed[outcome] += 1


def _run(work: Callable[[], None], clients: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
