"""Clients that read and write while PostgreSQL goes down and comes back."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

from embedded.cluster import EmbeddedCluster
from testkit.cluster import ledger, restart
from testkit.load_client import Reply, ask

# Between two attempts of a client; Retry-After asks for more, so this is the harsher client.
IMPATIENCE = 0.05
GIVE_UP = 30.0


@dataclass
class Told:
    """What one client was told. Written by its thread alone."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)  # names and phone numbers, answered or not
    created: list[str] = field(default_factory=list)  # names, acknowledged
    patched: list[str] = field(default_factory=list)  # phone numbers, acknowledged
    deleted: list[str] = field(default_factory=list)  # names, acknowledged
    successes: list[float] = field(default_factory=list)  # time.monotonic() of each 2xx


class Client:
    """Creates, reads, patches, lists and deletes customers of its own until told to stop.

    Every write has a key and is repeated with it until answered.
    """

    def __init__(self, port: int, stop: threading.Event) -> None:
        self.told = Told()
        self._port = port
        self._stop = stop
        self._random = random.Random()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._live()
            except Exception as error:
                self.told.wrong.append(f"{type(error).__name__}: {error}")

    def _live(self) -> None:
        name, phone = uuid.uuid4().hex, uuid.uuid4().hex[:20]
        self.told.asked |= {name, phone}
        made = self._until_answered("POST", "/customer", {"CustomerName": name})
        if made is None:
            return
        self.told.created.append(name)
        path = made.headers["location"]
        read = self._until_answered("GET", path)
        if read is not None and read.json()[0]["CustomerName"] != name:
            self.told.wrong.append(f"{name} was acknowledged and reads as another")
        if self._until_answered("PATCH", path, {"PhoneNumber": phone}):
            self.told.patched.append(phone)
        self._until_answered("GET", "/customers?limit=20")
        if self._random.random() < 0.5 and self._until_answered("DELETE", path):
            self.told.deleted.append(name)

    def _until_answered(self, method: str, path: str, document: dict | None = None) -> Reply | None:
        key = None if method == "GET" else uuid.uuid4().hex
        give_up = time.monotonic() + GIVE_UP
        while time.monotonic() < give_up:
            reply = ask(self._port, method, path, document, key=key)
            self.told.statuses[reply.status] += 1
            if reply.acknowledged:
                self.told.successes.append(time.monotonic())
                return reply
            if reply.status == 503 and "retry-after" not in reply.headers:
                self.told.wrong.append("503 without Retry-After")
            elif reply.status not in (503, 504):
                self.told.wrong.append(f"{method} was answered {reply.status} {reply.body[:200]}")
                return None
            time.sleep(IMPATIENCE)
        self.told.wrong.append(f"{method} found no answer within {GIVE_UP} s")
        return None


@dataclass(frozen=True)
class Report:
    """Of all clients. gaps: seconds from the server's return to the first success, by restart."""

    statuses: Counter[int]
    acknowledged: int
    gaps: list[float]
    wrong: list[str]


def restart_under_load(
    cluster: EmbeddedCluster, port: int, *, clients: int, modes: list[str], calm: float
) -> Report:
    """Restart `cluster` once for each of `modes`, `calm` seconds apart, and hold the ledger
    against what the clients were told.
    """
    stop = threading.Event()
    crowd = [Client(port, stop) for _ in range(clients)]
    back = []
    stop.wait(calm)
    for mode in modes:
        back.append(restart(cluster, mode))
        stop.wait(calm)
    stop.set()
    for client in crowd:
        client.join()
    told = [client.told for client in crowd]
    successes = sorted(moment for t in told for moment in t.successes)
    gaps = [min((s - moment for s in successes if s >= moment), default=60.0) for moment in back]
    wrong = [sentence for t in told for sentence in t.wrong]
    asked = set().union(*(t.asked for t in told))
    for change, column, attribute in (
        ("INSERT", "CustomerName", "created"),
        ("UPDATE", "PhoneNumber", "patched"),
        ("DELETE", "CustomerName", "deleted"),
    ):
        done = ledger(cluster, change, column)
        for label in (label for t in told for label in getattr(t, attribute)):
            if done[label] != 1:
                wrong.append(f"{change} {label} was acknowledged and done {done[label]} times")
        wrong += [
            f"{change} {label} was done {n} times"
            for label, n in done.items()
            if n > 1 and label in asked
        ]
    return Report(
        statuses=sum((t.statuses for t in told), Counter()),
        acknowledged=sum(len(t.created) + len(t.patched) + len(t.deleted) for t in told),
        gaps=gaps,
        wrong=wrong,
    )
