"""Cuts writes by foreign procedures at byte offsets of their conversations, and counts the rows.

Every write has an Idempotency-Key and is repeated until it is answered. Run as
`python -m bench.foreign_cuts`. Exits with 1 when a write was lost or done twice.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import queue
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum

from deploy.templates import fill
from embedded.cluster import API_ROLE, EmbeddedCluster
from settings import ROOT
from testkit.cluster import new_cluster, socket_of
from testkit.cuts import Place, answered
from testkit.load_client import Reply, ask, serve
from testkit.proxy import Direction, How, Proxy

SCRIPTS = (
    *sorted((ROOT / "sql" / "keys" / "postgresql").glob("*.sql")),
    ROOT / "tests" / "foreign" / "postgresql.sql",
)


class Write(Enum):
    """A write: its path, its document for a label, and the query that lists the labels done."""

    ROWS = ("/order", "customer", "SELECT customer FROM shop.orders")
    CALL = ("/mark", "label", "SELECT label FROM shop.marks")
    DOCUMENT = ("/document", "label", "SELECT label FROM shop.marks")

    def document(self, label: str) -> dict[str, object]:
        return {self.value[1]: label, **({"amount": 1} if self is Write.ROWS else {})}


@dataclass(frozen=True)
class Job:
    """One write, cut after `offset` bytes in `direction`."""

    write: Write
    place: Place
    direction: Direction
    offset: int
    how: How


@dataclass(frozen=True)
class Outcome:
    """`label` marks the row that the write makes; reply is the one that ended the repetition."""

    job: Job
    label: str
    reply: Reply
    happened: bool  # the cut


@contextlib.contextmanager
def foreign_cluster(name: str) -> Iterator[EmbeddedCluster]:
    """A new cluster in TESTS with the key table and the foreign procedures."""

    def prepare(cluster: EmbeddedCluster) -> None:
        for script in SCRIPTS:
            text = script.read_text(encoding="utf-8")
            cluster.run_sql(fill(text, {"AppName": API_ROLE}, engine="postgresql"))

    with new_cluster(name, prepare) as cluster:
        yield cluster


class Lane:
    """client - proxy - API with one database connection - proxy - PostgreSQL; one job at a time."""

    def __init__(self, database: Proxy, web: Proxy) -> None:
        self._database = database
        self._web = web
        self._run = uuid.uuid4().hex[:20]
        self._count = itertools.count()

    def jobs(self, step: int) -> Iterator[Job]:
        """A job for every `step`-th offset of each conversation, FIN and RST in turn."""
        turn = itertools.cycle(How)
        for write, place in itertools.product(Write, Place):
            measured = [self._measure(write, place) for _ in range(3)]
            for direction in Direction:
                length = min(m[direction] for m in measured)
                for offset in sorted({*range(0, length, step), length}):
                    yield Job(write, place, direction, offset, next(turn))

    def run(self, job: Job) -> Outcome:
        proxy = self._prepare(job.place)
        proxy.cut_after(job.offset, job.direction, job.how)
        label, reply = self._perform(job.write)
        happened = not proxy.disarm()
        return Outcome(job, label, reply, happened)

    def _measure(self, write: Write, place: Place) -> dict[Direction, int]:
        proxy = self._prepare(place)
        before = proxy.passed()
        _, reply = self._perform(write)
        assert reply.acknowledged, reply
        return {d: count - before[d] for d, count in proxy.passed().items()}

    def _prepare(self, place: Place) -> Proxy:
        """The proxy to cut, the API's database connection kept or gone as `place` needs it."""
        answered(lambda: ask(self._web.port, "GET", "/marks?label=none"))
        if place is Place.LOGIN:
            self._database.cut_all()
        return self._web if place is Place.HTTP else self._database

    def _perform(self, write: Write) -> tuple[str, Reply]:
        label = f"{self._run}{next(self._count)}"
        document = write.document(label)
        path, *_ = write.value
        return label, answered(lambda: ask(self._web.port, "POST", path, document, key=label))


@contextlib.contextmanager
def open_lane(cluster: EmbeddedCluster) -> Iterator[Lane]:
    with Proxy(socket_of(cluster)) as database:
        text = f"SERVER=127.0.0.1;PORT={database.port};DATABASE=app;UID={API_ROLE}"
        with (
            serve_shop(text, pool_max_size=1) as port,
            Proxy(("127.0.0.1", port)) as web,
        ):
            yield Lane(database, web)


def serve_shop(
    connection_string: str, **settings: object
) -> contextlib.AbstractContextManager[int]:
    """The API over the foreign procedures; the catalog is read once."""
    return serve(connection_string, exposed_schemas="WWIF:shop", catalog_seconds=86400, **settings)


def judge(cluster: EmbeddedCluster, outcomes: Iterable[Outcome]) -> list[str]:
    """A sentence for each write that was not acknowledged, lost, or done more than once."""
    done: dict[Write, Counter[str]] = {
        write: Counter(cluster.run_sql(write.value[2]).splitlines()) for write in Write
    }
    wrong = []
    for outcome in outcomes:
        job, times = outcome.job, done[outcome.job.write][outcome.label]
        where = (
            f"{job.write.name} cut in {job.place.name} after {job.offset} bytes"
            f" {job.direction.name}, {job.how.name}"
        )
        if not outcome.reply.acknowledged:
            wrong.append(f"{where}: status {outcome.reply.status}")
        if times != 1:
            wrong.append(f"{where}: done {times} times")
    return wrong


def twins(port: int, number: int, *, clients: int = 32) -> list[Reply]:
    """The replies to `number` equal writes with one key, `clients` at a time."""
    label = f"twins-{uuid.uuid4().hex[:20]}"

    def send(_: int) -> Reply:
        return answered(
            lambda: ask(port, "POST", "/order", {"customer": label, "amount": 1}, key=label)
        )

    with ThreadPoolExecutor(clients) as pool:
        replies = list(pool.map(send, range(number)))
    found = ask(port, "GET", f"/orders?customer={label}").json()
    assert len(found) == 1, f"{len(found)} rows of one key"
    return replies


def run_all(cluster: EmbeddedCluster, jobs: Iterable[Job], *, lanes: int) -> list[Outcome]:
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    outcomes: list[Outcome] = []

    def work(_: int) -> None:
        with open_lane(cluster) as lane, contextlib.suppress(queue.Empty):
            while True:
                outcomes.append(lane.run(waiting.get_nowait()))

    with ThreadPoolExecutor(lanes) as pool:
        for _ in pool.map(work, range(lanes)):
            pass
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, default=5, help="every n-th offset (default: 5)")
    parser.add_argument("--lanes", type=int, default=2, help="conversations at a time")
    parser.add_argument("--twins", type=int, default=1000, help="equal writes with one key")
    options = parser.parse_args()
    began = time.monotonic()
    with foreign_cluster(f"bench-foreign-cuts-{threading.get_native_id()}") as cluster:
        with open_lane(cluster) as lane:
            jobs = [*lane.jobs(options.step)]
        outcomes = run_all(cluster, jobs, lanes=options.lanes)
        wrong = judge(cluster, outcomes)
        for (write, place), group in itertools.groupby(sorted(outcomes, key=_place), key=_place):
            found = [*group]
            replayed = sum(o.reply.replayed for o in found)
            cut = sum(o.happened for o in found)
            print(f"{write:9} {place:6} {len(found):6} writes {cut:6} cuts {replayed:6} replayed")
        cuts = sum(o.happened for o in outcomes)
        print(f"{cuts} cuts in {time.monotonic() - began:.0f} s, {len(wrong)} broken promises")
        for sentence in wrong[:20]:
            print(f"  {sentence}")
        with serve_shop(cluster.connection_string(role=API_ROLE)) as port:
            replies = twins(port, options.twins)
    kept = sum(reply.replayed and b"not stored" not in reply.body for reply in replies)
    print(
        f"{len(replies)} twins: 1 row, {sum(not r.replayed for r in replies)} first responses,"
        f" {kept} replays, {sum(b'not stored' in r.body for r in replies)} without a body;"
        f" statuses {sorted({r.status for r in replies})}"
    )
    return 1 if wrong or not cuts else 0


def _place(outcome: Outcome) -> tuple[str, str]:
    return outcome.job.write.name, outcome.job.place.name


if __name__ == "__main__":
    sys.exit(main())
