"""Numbers in files are those that prometheus_client would write, and its collector reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

ROOT = Path(__file__).parents[2]
# With "ours", observability.numbers has replaced prometheus_client's class.
COUNT = """
import os, sys, threading
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
ours = sys.argv[1] == "ours"
if ours:
    from observability.numbers import Number, TimedCount
registry = CollectorRegistry()
requests = Counter("requests", "Requests.", ["route"], registry=registry)
seconds = Histogram("seconds", "Their time.", ["route"], registry=registry, buckets=(0.5, 1, 2))
live = Gauge("live", "Now.", ["name"], registry=registry, multiprocess_mode="livesum")
least = Gauge("least", "Least.", registry=registry, multiprocess_mode="min")
latest = Gauge("latest", "Latest.", registry=registry, multiprocess_mode="mostrecent")
assert (type(requests.labels("/")._value).__name__ == "Number") is ours

def count(route, times=1):
    if ours:
        timed = TimedCount(requests.labels(route), seconds.labels(route))
    for number in range(times):
        duration = (number % 6) / 2
        if ours:
            timed.observe(duration)
        else:
            requests.labels(route).inc()
            seconds.labels(route).observe(duration)

def count_all(process):
    threads = [threading.Thread(target=count, args=("/busy", 5000)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(200):  # more than the file's first size
        count(f"/é/{number}" + "x" * 300)
    requests.labels("/busy").inc(2.5)
    live.labels("a").set(3)
    live.labels("a").inc(-1)
    least.set(5 - process)
    latest.set(7 + process)
    assert latest._value.get() == 7 + process

for process in range(3):
    count_all(process)
    # A child goes on; it must not repeat the counts of its parent.
    if process < 2 and os.fork():
        os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def collected(folder: Path, whose: str) -> str:
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", COUNT, whose], env=environ, check=True, timeout=120)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))
    return generate_latest(registry).decode()


@pytest.fixture(scope="module")
def expositions(tmp_path_factory) -> tuple[str, str]:
    ours, theirs = (
        collected(tmp_path_factory.mktemp(whose), whose) for whose in ("ours", "theirs")
    )
    return ours, theirs


def test_the_collector_reads_what_prometheus_client_would_have_written(expositions):
    ours, theirs = (sorted(text.splitlines()) for text in expositions)
    assert ours == theirs


def test_each_process_counts_its_own(expositions):
    lines = expositions[0].splitlines()
    assert 'requests_total{route="/busy"} 60007.5' in lines
    assert 'seconds_bucket{le="+Inf",route="/busy"} 60000.0' in lines
    assert 'live{name="a"} 6.0' in lines
    assert "least 3.0" in lines
    assert "latest 9.0" in lines
