"""One limit of rates for all workers and instances, counted on a real Redis or Valkey server."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest

from testkit.api_client import Api
from testkit.rate_storage import PROGRAM, rate_storage
from testkit.server import Server

pytestmark = pytest.mark.skipif(
    PROGRAM is None,
    reason="neither valkey-server nor redis-server is installed: apt-get install redis-server",
)
LIMIT, REQUESTS, CLIENTS = 400, 1000, 8
# Counted, and refused before a connection is used.
PATH = "/customers?limit=none"


def statuses(urls: list[str], requests: int) -> Counter[int]:
    """How often each status came back for so many requests, at each of `urls` in turn."""
    found: Counter[int] = Counter()
    lock = threading.Lock()

    def work(first: int) -> None:
        apis = [Api(url) for url in urls]
        for number in range(first, requests, CLIENTS):
            # A new connection each time, so that every worker gets its part.
            answer = apis[number // CLIENTS % len(apis)].get(PATH, headers={"Connection": "close"})
            with lock:
                found[answer.status_code] += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_two_instances_with_two_workers_each_keep_one_limit_exactly(run_folder: Path):
    with rate_storage() as (url, storage):
        limits = {"RATE_LIMIT": f"{LIMIT} per hour", "RATE_LIMIT_STORAGE": url, "AUTH": "none"}
        # The embedded database of the whole run.
        home = run_folder / "postgresql"
        with Server(home, **limits) as one, Server(home, **limits) as other:
            urls = [one.url, other.url]
            assert statuses(urls, REQUESTS) == {400: LIMIT, 429: REQUESTS - LIMIT}
            storage.terminate()
            storage.wait()
            # Without the storage no request fails: each process counts for itself.
            assert statuses(urls, 40).keys() <= {400, 429}
            assert statuses(urls, 40)[400]
        assert "storage unreachable" in one.log.read_text()
