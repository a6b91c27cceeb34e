"""Steady load with faults on the way to the database: descriptors, threads and memory stay flat.

Run as `python -m bench.soak --minutes 15`. Two gunicorn workers over a PostgreSQL of their own,
which they reach through a proxy that cuts, delays, freezes and refuses, in turn. What the workers
hold is read from /proc once a second, what they did from /metrics; docs/soak.png shows both.
Exits with 1 when something grew, or when a write was lost or done twice.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import statistics
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from prometheus_client.parser import text_string_to_metric_families as parse

from settings import ROOT
from testkit.cluster import fresh_cluster, ledger, socket_of
from testkit.observed_server import Served, serve
from testkit.proxy import Direction, How, Proxy

PAGE = os.sysconf("SC_PAGE_SIZE")
FAULT_EVERY_SECONDS = 5.0
WARM_UP_SECONDS = 120  # until every thread, cursor and cache has been used
# Each client's own pace, so that the load does not rise when the answers come faster.
REQUESTS_A_SECOND = 12.0
CLIENTS = 8
READS = ("/customer/123", "/customers?limit=20", "/taxidata/20", "/taxidata?limit=0&payment_type=1")
WRITE_EVERY = 4  # requests of a client
# Then a new one, so that chance does not leave all clients with one of the workers.
REQUESTS_A_CONNECTION = 25
# What may go up and down without being kept: a client's connections, allocator and arena noise.
DESCRIPTORS_NOISE, THREADS_NOISE, RESIDENT_NOISE = 4, 2, 4 << 20


@dataclass
class Reading:
    """The resources of one worker, `at` seconds after the start; `resident` in bytes."""

    at: float
    descriptors: int
    threads: int
    resident: int

    @classmethod
    def of(cls, pid: int, at: float) -> Reading:
        process = Path(f"/proc/{pid}")
        return cls(
            at,
            len(os.listdir(process / "fd")),
            len(os.listdir(process / "task")),
            int((process / "statm").read_text().split()[1]) * PAGE,
        )


@dataclass
class Story:
    """All findings: readings by worker, (seconds, {series: total}) of /metrics, faults."""

    held: dict[int, list[Reading]] = field(default_factory=dict)
    scraped: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    faults: list[tuple[float, str]] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    written: dict[str, bool] = field(default_factory=dict)  # name: whether it was acknowledged


class Client(threading.Thread):
    """Sends reads, and writes that it repeats with their key until they get a response.

    Its own connection to the server is not cut by the faults, so a broken one counts as a failure.
    """

    def __init__(self, port: int, story: Story, stop: threading.Event, offset: int) -> None:
        super().__init__(daemon=True)
        self._port, self._story, self._stop_asked, self._offset = port, story, stop, offset
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def run(self) -> None:
        for number in itertools.count(self._offset):
            began = time.monotonic()
            if number % REQUESTS_A_CONNECTION == 0:
                self._connection.close()
            if number % WRITE_EVERY:
                self._ask("GET", READS[number % len(READS)])
            else:
                self._write()
            if self._stop_asked.wait(max(0.0, began + 1 / REQUESTS_A_SECOND - time.monotonic())):
                self._connection.close()
                return

    def _write(self) -> None:
        name = f"Soak {uuid.uuid4().hex}"
        headers = {"Content-Type": "application/json", "Idempotency-Key": name}
        for _ in range(20):
            self._story.written.setdefault(name, False)
            status = self._ask("POST", "/customer", json.dumps({"CustomerName": name}), headers)
            if status == 201:
                self._story.written[name] = True
                return
            time.sleep(0.1)

    def _ask(
        self, method: str, path: str, body: str | None = None, headers: dict | None = None
    ) -> int:
        try:
            self._connection.request(method, path, body, headers or {})
            response = self._connection.getresponse()
            response.read()
            self._story.answers[str(response.status)] += 1
        except (OSError, http.client.HTTPException) as error:
            # A stream ends like this if its database is gone; any other end would be our fault.
            self._story.answers[f"{method} broken off: {type(error).__name__}"] += 1
            self._connection.close()
            return 0
        return response.status


def faults(proxy: Proxy) -> Iterator[tuple[str, Callable[[], None]]]:
    """(name, function) of each fault, repeating; a fault ends when its function returns."""

    def frozen() -> None:
        proxy.freeze()
        time.sleep(1.0)
        proxy.thaw()

    def refused() -> None:
        proxy.refuse()
        proxy.cut_all(How.RST)
        time.sleep(2.0)
        proxy.accept()

    def slow() -> None:
        proxy.delay(0.02)
        time.sleep(2.0)
        proxy.delay(0.0)

    yield from itertools.cycle(
        (
            ("cut", lambda: proxy.cut_all(How.FIN)),
            ("slow", slow),
            ("cut in an answer", lambda: proxy.cut_after(700, Direction.DOWN, How.RST)),
            ("frozen", frozen),
            ("reset", lambda: proxy.cut_all(How.RST)),
            ("cut in a question", lambda: proxy.cut_after(90, Direction.UP, How.FIN)),
            ("refused", refused),
        )
    )


def watch(served: Served, story: Story, stop: threading.Event) -> None:
    began = time.monotonic()
    for tick in itertools.count():
        at = time.monotonic() - began
        for pid in served.workers():
            with contextlib.suppress(FileNotFoundError):
                story.held.setdefault(pid, []).append(Reading.of(pid, at))
        if tick % 5 == 0:
            _, text = served.ask("/metrics")
            story.scraped.append((at, series(text.decode())))
        if stop.wait(max(0.0, began + tick + 1 - time.monotonic())):
            return


def series(text: str) -> dict[str, float]:
    """Totals of an exposition by "metric label value"."""
    wanted = {"http_requests_total": "status", "db_retries_total": "kind"}
    wanted |= {"db_pool_connections": "state"}
    found: dict[str, float] = {}
    for family in parse(text):
        for sample in family.samples:
            if sample.name in wanted:
                key = f"{sample.name} {sample.labels[wanted[sample.name]]}"
                found[key] = found.get(key, 0.0) + sample.value
    return found


def show(story: Story, path: Path, title: str) -> None:
    figure, axes = pyplot.subplots(3, 2, figsize=(13, 10), sharex=True, layout="constrained")
    figure.suptitle(title)
    (requests, descriptors), (retries, threads), (connections, resident) = axes
    for label, axis, unit in (
        ("descriptors", descriptors, 1),
        ("threads", threads, 1),
        ("resident", resident, 1 << 20),
    ):
        for number, readings in enumerate(story.held.values()):
            values = [getattr(reading, label) / unit for reading in readings]
            axis.plot([r.at / 60 for r in readings], values, label=f"worker {number + 1}")
        axis.set_title({"resident": "resident memory, MiB"}.get(label, label))
        axis.set_ylim(bottom=0)
    for metric, axis, caption in (
        ("http_requests_total", requests, "requests a second, by status"),
        ("db_retries_total", retries, "retries a second, by kind"),
    ):
        for key in sorted({k for _, found in story.scraped for k in found if k.startswith(metric)}):
            points = [(at, found.get(key, 0.0)) for at, found in story.scraped]
            rates = [
                ((a + b) / 120, (y - x) / (b - a)) for (a, x), (b, y) in itertools.pairwise(points)
            ]
            axis.plot(*zip(*rates, strict=True), label=key.split(maxsplit=1)[1])
        axis.set_title(caption)
    for state in ("idle", "in_use", "connecting"):
        points = [(at / 60, f.get(f"db_pool_connections {state}", 0)) for at, f in story.scraped]
        connections.plot(*zip(*points, strict=True), label=state.replace("_", " "))
    connections.set_title("connections of both workers")
    for axis in axes.flat:
        for at, _ in story.faults:
            axis.axvline(at / 60, color="tab:red", alpha=0.2, linewidth=1)
        axis.legend(loc="lower right", fontsize="small")
        axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("minutes (red: a fault)")
    figure.savefig(path, dpi=110)


def verdict(story: Story, names: Counter[str]) -> bool:
    """Whether nothing grew from the tenth after the warm-up to the last one, and every write is
    there once. A run that is hardly longer than the warm-up is judged by its writes alone."""
    good = True
    for number, readings in enumerate(story.held.values()):
        tenth = max(1, len(readings) // 10)
        early, late = readings[WARM_UP_SECONDS:][:tenth], readings[-tenth:]
        if len(readings) < 3 * WARM_UP_SECONDS:
            print(f"worker {number + 1}: too short a run to see growth")
            continue
        for label, noise, unit in (
            ("descriptors", DESCRIPTORS_NOISE, 1),
            ("threads", THREADS_NOISE, 1),
            ("resident", RESIDENT_NOISE, 1 << 20),
        ):
            before = statistics.median(getattr(r, label) for r in early)
            after = statistics.median(getattr(r, label) for r in late)
            grew = after - before > noise
            good &= not grew
            print(
                f"worker {number + 1} {label:12} {before / unit:8.1f} -> {after / unit:8.1f}"
                f"{'  GREW' if grew else ''}"
            )
    acknowledged = {name for name, done in story.written.items() if done}
    lost = [name for name in acknowledged if not names[name]]
    twice = [name for name in story.written if names[name] > 1]
    print(f"writes: {len(story.written)}, acknowledged {len(acknowledged)}", end="")
    print(f", lost {len(lost)}, done twice {len(twice)}")
    return good and not lost and not twice and len(story.held) == 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "soak.png")
    options = parser.parse_args()
    story, stop = Story(), threading.Event()
    log = ROOT / ".local" / "soak.log"
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(fresh_cluster("soak"))
        proxy = stack.enter_context(Proxy(socket_of(cluster)))
        text = f"SERVER=127.0.0.1;PORT={proxy.port};DATABASE=app;UID=webapp"
        settings = {f"POSTGRESQLCONNSTR_{name}": text for name in ("WWIF", "TAXI")}
        # Shorter than the run, so that their ends are part of it.
        settings |= {"POOL_MAX_LIFETIME_SECONDS": "60", "POOL_MAX_IDLE_SECONDS": "20"}
        served = stack.enter_context(serve(log, ROOT / ".local" / "soak", **settings))
        began = time.monotonic()
        crowd = [Client(served.port, story, stop, offset) for offset in range(CLIENTS)]
        crowd.append(threading.Thread(target=watch, args=(served, story, stop), daemon=True))
        for thread in crowd:
            thread.start()
        for name, fault in faults(proxy):
            time.sleep(FAULT_EVERY_SECONDS)
            if time.monotonic() - began > 60 * options.minutes:
                break
            story.faults.append((time.monotonic() - began, name))
            fault()
        stop.set()
        for thread in crowd:
            thread.join(90)
        names = ledger(cluster, "INSERT", "CustomerName")
    answers = ", ".join(f"{k}: {n}" for k, n in sorted(story.answers.items()))
    print(f"{options.minutes:g} minutes, {len(story.faults)} faults; answers: {answers}")
    show(
        story,
        options.picture,
        f"{options.minutes:g} minutes, {sum(story.answers.values()):,} requests of"
        f" {CLIENTS} clients, {len(story.faults)} faults between API and database",
    )
    return 0 if verdict(story, names) else 1


if __name__ == "__main__":
    sys.exit(main())
