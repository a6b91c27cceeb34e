"""Two workers and many clients: every request is counted once and logged once."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
from collections import Counter
from pathlib import Path

import pytest

from testkit.observed_server import Served, serve
from tests.observability.test_metrics import numbers

CLIENTS = 24
REQUESTS = 40
PATHS = {
    "/customer/123": ("/customer/<int:customer_id>", "200"),
    "/customer/999999": ("/customer/<int:customer_id>", "404"),
    "/customers?limit=5": ("/customers", "200"),
    "/taxidata/20?limit=0&format=ndjson": ("/taxidata/<amount>", "200"),
    "/customers?limit=-1": ("/customers", "400"),
    "/nowhere": ("unmatched", "404"),
}


@pytest.fixture(scope="module")
def served(run_folder):
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with serve(run_folder / f"workers-{worker}.log", run_folder / "postgresql") as running:
        yield running


def load(port: int, count: Counter[tuple[str, str]], lock: threading.Lock, offset: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        for number in range(REQUESTS):
            path = list(PATHS)[(number + offset) % len(PATHS)]
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            with lock:
                count[PATHS[path][0], str(response.status)] += 1


def counted(served: Served) -> dict[tuple[str, str], float]:
    text = served.ask("/metrics")[1].decode()
    return {
        (key[2], key[3]): value
        for key, value in numbers(text).items()
        if key[0] == "http_requests_total" and key[2] not in ("/metrics", "/health/live")
    }


@pytest.fixture(scope="module")
def answered(served) -> Counter[tuple[str, str]]:
    """(route, status) of all responses to clients that send requests concurrently."""
    count: Counter[tuple[str, str]] = Counter()
    lock = threading.Lock()
    crowd = [
        threading.Thread(target=load, args=(served.port, count, lock, offset))
        for offset in range(CLIENTS)
    ]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    return count


def test_the_sum_over_workers_is_what_the_clients_counted(served, answered):
    assert answered.total() == CLIENTS * REQUESTS
    assert {key[1] for key in answered} >= {"200", "404", "400"}
    for _ in range(4):  # from either worker
        assert counted(served) == answered


def test_each_request_has_one_line(served, answered):
    said = [json.loads(line) for line in served.log.read_text().splitlines() if line[:1] == "{"]
    told = Counter(
        (line["route"], str(line["status"])) for line in said if line.get("event") == "request"
    )
    assert {key: told[key] for key in answered} == answered
    assert len({line["request_id"] for line in said if line.get("event") == "request"}) == sum(
        told.values()
    )


def test_a_worker_that_ends_leaves_its_counts_and_takes_its_gauges_along(served, answered):
    before = counted(served)
    ended = served.workers()[0]
    served.process.send_signal(1)  # SIGHUP: gunicorn replaces its workers
    while Path(f"/proc/{ended}").exists():
        served.ask("/health/live")
    assert counted(served) == before
    shown = numbers(served.ask("/metrics")[1].decode())
    assert shown["db_pool_max_connections", "embedded"] in (8, 16)


def test_the_metrics_folder_is_removed_with_the_server(run_folder):
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    log = run_folder / f"folder-{worker}.log"
    with serve(log, run_folder / "postgresql", workers=1) as running:
        folder = next(
            Path(os.fsdecode(fd))
            for fd in (
                link.readlink()
                for link in Path(f"/proc/{running.workers()[0]}/map_files").iterdir()
            )
            if "sql-procedures-api-metrics-" in str(fd)
        ).parent
        assert folder.is_dir()
    assert not folder.exists()
