"""Two instances of the API, clients that write at one and read at the other, servers that die.

The long form, with 10,000 pairs, is `python -m bench.replicas`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from testkit.cluster import socket_of
from testkit.proxy import Proxy
from testkit.replica_load import once_at, pairs, reads, routed, wait_until_ready
from testkit.replicated import Replicated, replicated
from testkit.server import Server
from testkit.standby import await_standbys

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
READ_ONLY = "/order/1"


@dataclass(frozen=True)
class Instances:
    """Two servers on one primary, which they reach through `proxy`, as through a DNS name."""

    databases: Replicated
    proxy: Proxy
    urls: list[str]
    logs: list[Path]

    def log(self) -> str:
        return "".join(log.read_text() for log in self.logs)


@pytest.fixture(scope="module")
def instances(run_folder: Path) -> Iterator[Instances]:
    with replicated(f"instances-{WORKER}", "0", "1s") as databases, contextlib.ExitStack() as stack:
        await_standbys(databases.primary, "standby_1")
        proxy = stack.enter_context(Proxy(socket_of(databases.primary)))
        settings = databases.settings(
            POSTGRESQLCONNSTR_WWIF=f"SERVER=127.0.0.1;PORT={proxy.port};DATABASE=app;UID=webapp",
            REPLICA_WAIT_SECONDS="0.2",
        )
        servers = [
            stack.enter_context(
                Server(run_folder / f"instances-{WORKER}-{n}", workers=1, **settings)
            )
            for n in (1, 2)
        ]
        urls = [server.url for server in servers]
        wait_until_ready(urls, ["ready", "ready"])
        yield Instances(databases, proxy, urls, [server.log for server in servers])


def test_no_read_with_a_token_is_stale(instances):
    tally = pairs(instances.urls, 150)
    assert (tally.reads, tally.stale, dict(tally.failed)) == (150, 0, {})
    # The pairs prove something: without tokens some of them are stale.
    assert pairs(instances.urls, 50, with_token=False).stale


def test_reads_without_a_token_leave_the_primary_alone(instances):
    before = routed(instances.urls)
    assert not reads(instances.urls, 200, READ_ONLY).failed
    found = routed(instances.urls) - before
    assert found["replica current"] >= 0.9 * found.total()


def test_no_read_fails_while_a_standby_is_killed(instances):
    with once_at(100, instances.databases.standbys[1].kill) as at:
        tally = reads(instances.urls, 400, READ_ONLY, at=at)
    assert not tally.failed
    tally = pairs(instances.urls, 40)
    assert (tally.stale, dict(tally.failed)) == (0, {})
    wait_until_ready(instances.urls, ["ready", "unreachable"])
    assert "WWIF-replica-2" in instances.log()


def test_no_acknowledged_write_is_lost_when_a_standby_is_promoted(instances):
    promoted = instances.databases.standbys[0]

    def fail_over() -> None:
        instances.databases.primary.stop()
        promoted.promote()
        instances.proxy.redirect(socket_of(promoted))

    with once_at(40, fail_over) as at:
        tally = pairs(instances.urls, 120, at=at)
    assert (len(tally.written), tally.stale) == (120, 0)
    # While there is no primary, a read may find none; it is refused, and never answered wrongly.
    assert tally.failed.keys() <= {"503"}
    kept = promoted.run_sql("SELECT order_id FROM api.orders").split()
    assert {str(number) for number in tally.written} <= {*kept}
    give_up = time.monotonic() + 20
    while "WWIF-replica-1" not in instances.log() or "promoted" not in instances.log():
        reads(instances.urls, 2, READ_ONLY)
        assert time.monotonic() < give_up
