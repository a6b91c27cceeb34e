"""Writes whose conversation is cut, and the database's own word on what became of them."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from embedded.cluster import EmbeddedCluster
from testkit.cluster import ledger, socket_of
from testkit.load_client import Reply, ask, serve
from testkit.proxy import Direction, How, Proxy

ANSWER_TIMEOUT = 30.0
# While the database is refused: shorter than the API would go on trying.
IMPATIENCE = 0.25


class Place(Enum):
    """Which conversation is cut."""

    CALL = "the call, on a kept database connection"
    LOGIN = "login and call, on a new database connection"
    HTTP = "the HTTP request"


class Write(Enum):
    """A write, and where chaos.changes shows it: (Change, the column with the label)."""

    CREATE = ("INSERT", "CustomerName")
    PATCH = ("UPDATE", "PhoneNumber")
    DELETE = ("DELETE", "CustomerName")


@dataclass(frozen=True)
class Job:
    """One write and its cut, after `offset` bytes in `direction`.

    keyed: the client sends an Idempotency-Key and repeats until answered; else it asks once.
    refused: after the cut the database can't be reached, until the first answer.
    """

    write: Write
    place: Place
    direction: Direction
    offset: int
    how: How
    keyed: bool = True
    refused: bool = False


@dataclass(frozen=True)
class Outcome:
    """`label` marks the write's traces; reply is the last one, None if none came whole."""

    job: Job
    label: str
    reply: Reply | None
    asked: int
    happened: bool  # the cut


class Lane:
    """client - proxy - API with one database connection - proxy - PostgreSQL; one job at a time."""

    def __init__(self, cluster: EmbeddedCluster, database: Proxy, web: Proxy) -> None:
        self._cluster = cluster
        self._database = database
        self._web = web
        # 15 hex digits and a count of 5 fill a PhoneNumber.
        self._run = uuid.uuid4().hex[:15]
        self._count = itertools.count()
        self._victims: list[tuple[str, int]] = []

    def lengths(self, place: Place, write: Write, *, keyed: bool = True) -> dict[Direction, int]:
        """Bytes of an uncut conversation in each direction."""
        # The least of several: beside some writes the API tidies its store of keys up.
        measured = [self._measure(place, write, keyed) for _ in range(3)]
        return {d: min(m[d] for m in measured) for d in Direction}

    def _measure(self, place: Place, write: Write, keyed: bool) -> dict[Direction, int]:
        proxy = self._prepare(place)
        before = proxy.passed()
        _, reply, _ = self._perform(write, keyed=keyed)
        assert reply is not None and reply.acknowledged, reply
        return {d: count - before[d] for d, count in proxy.passed().items()}

    def run(self, job: Job) -> Outcome:
        proxy = self._prepare(job.place)
        proxy.cut_after(job.offset, job.direction, job.how, refuse=job.refused)
        label, reply, asked = self._perform(job.write, keyed=job.keyed, refused=job.refused)
        happened = not proxy.disarm()
        proxy.accept()
        return Outcome(job, label, reply, asked, happened)

    def _prepare(self, place: Place) -> Proxy:
        """The proxy to cut, the API's database connection kept or gone as `place` needs it."""
        answered(lambda: ask(self._web.port, "GET", "/customer/123"))
        if place is Place.LOGIN:
            self._database.cut_all()
        return self._web if place is Place.HTTP else self._database

    def _perform(
        self, write: Write, *, keyed: bool, refused: bool = False
    ) -> tuple[str, Reply | None, int]:
        label, method, path, document = self._request(write)
        key = f"key-{label}" if keyed else None
        asked = 0

        def once() -> Reply:
            nonlocal asked
            asked += 1
            if refused and asked > 1:
                self._database.accept()
            timeout = IMPATIENCE if refused and asked == 1 else None
            return ask(self._web.port, method, path, document, key=key, timeout=timeout)

        if keyed:
            return label, answered(once), asked
        with contextlib.suppress(OSError, http.client.HTTPException):
            return label, once(), asked
        return label, None, asked

    def _request(self, write: Write) -> tuple[str, str, str, dict | None]:
        if write is Write.DELETE:
            label, customer_id = self._victim()
            return label, "DELETE", f"/customer/{customer_id}", None
        label = f"{self._run}{next(self._count):05}"
        if write is Write.CREATE:
            return label, "POST", "/customer", {"CustomerName": label}
        _, customer_id = self._victim()
        return label, "PATCH", f"/customer/{customer_id}", {"PhoneNumber": label}

    def _victim(self) -> tuple[str, int]:
        if not self._victims:
            first = next(self._count)
            self._count = itertools.count(first + 500)
            made = self._cluster.run_sql(
                'INSERT INTO sales.customers ("CustomerName")'
                f" SELECT '{self._run}' || to_char(n, 'FM00000')"
                f" FROM generate_series({first}, {first + 499}) n"
                ' RETURNING "CustomerName", "CustomerID"'
            )
            rows = (line.split("|") for line in made.splitlines())
            self._victims = [(name, int(number)) for name, number in rows]
        return self._victims.pop()


@contextlib.contextmanager
def open_lane(cluster: EmbeddedCluster) -> Iterator[Lane]:
    with Proxy(socket_of(cluster)) as database:
        text = f"SERVER=127.0.0.1;PORT={database.port};DATABASE=app;UID=webapp"
        with serve(text, pool_max_size=1) as port, Proxy(("127.0.0.1", port)) as web:
            yield Lane(cluster, database, web)


def answered(once: Callable[[], Reply]) -> Reply:
    """What a client gets that repeats until answered: no 503, no 504, no broken connection."""
    give_up = time.monotonic() + ANSWER_TIMEOUT
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            reply = once()
            if reply.status not in (503, 504):
                return reply
        if time.monotonic() > give_up:
            raise TimeoutError("The API did not answer in time.")


@dataclass(frozen=True)
class Verdict:
    """What the database says about outcomes. `wrong` has a sentence for each broken promise."""

    writes: int
    cut: int
    acknowledged: int
    replayed: int  # acknowledged from the store: the first answer was lost
    done_unacknowledged: int
    wrong: list[str]


def judge(cluster: EmbeddedCluster, outcomes: Iterable[Outcome]) -> Verdict:
    """Hold every outcome against the ledger: acknowledged is once, unacknowledged at most once."""
    outcomes = list(outcomes)
    ledgers = {write: ledger(cluster, *write.value) for write in Write}
    wrong = []
    silent = 0
    for outcome in outcomes:
        job, reply = outcome.job, outcome.reply
        done = ledgers[job.write][outcome.label]
        acknowledged = reply is not None and reply.acknowledged
        where = (
            f"{job.write.name} cut in {job.place.name} after {job.offset} bytes"
            f" {job.direction.name}, {job.how.name}"
        )
        if done > 1:
            wrong.append(f"{where}: done {done} times")
        if acknowledged and not done:
            wrong.append(f"{where}: acknowledged with {reply.status} and not done")
        if job.keyed and not acknowledged:
            wrong.append(f"{where}: answered {reply.status if reply else 'nothing'}")
        if reply and not acknowledged and reply.status not in (503, 504):
            wrong.append(f"{where}: status {reply.status}")
        silent += bool(done and not acknowledged)
    return Verdict(
        writes=len(outcomes),
        cut=sum(o.happened for o in outcomes),
        acknowledged=sum(bool(o.reply and o.reply.acknowledged) for o in outcomes),
        replayed=sum(bool(o.reply and o.reply.replayed) for o in outcomes),
        done_unacknowledged=silent,
        wrong=wrong,
    )


def jobs_at(
    lengths: dict[Direction, int],
    write: Write,
    place: Place,
    *,
    step: int = 1,
    keyed: bool = True,
    refused: bool = False,
) -> Iterator[Job]:
    """A job for every `step`-th offset of a conversation, in both directions, FIN and RST in turn.

    The last offset in each direction is that after the last byte.
    """
    turn = itertools.cycle(How)
    for direction, length in lengths.items():
        for offset in sorted({*range(0, length, step), length}):
            yield Job(write, place, direction, offset, next(turn), keyed, refused)
