"""Agents that call tools while the catalog changes and the server reloads."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import requests

from embedded.cluster import API_ROLE, EmbeddedCluster
from settings import ROOT
from testkit.agent import Agent
from testkit.cluster import fresh_cluster
from testkit.places import TESTS
from testkit.server import Server

SCRIPT = ROOT / "tests" / "mcp" / "procedures.sql"
GRANTS = f"""
GRANT USAGE ON SCHEMA api TO "{API_ROLE}";
GRANT SELECT, INSERT, DELETE ON api.orders TO "{API_ROLE}";
"""


@dataclass
class Report:
    """calls: by tool. wrong: sentences about calls that did not succeed, or wrote other than once.

    changes: of the catalog. reloads: by SIGHUP.
    """

    calls: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    changes: int = 0
    reloads: int = 0
    seconds: float = 0.0


@contextlib.contextmanager
def tool_server(
    name: str, *, workers: int, **settings: str
) -> Iterator[tuple[Server, EmbeddedCluster]]:
    """A server over a cluster of its own, which outlives every worker."""
    with fresh_cluster(name) as cluster:
        cluster.run_sql(SCRIPT.read_text() + GRANTS)
        text = cluster.connection_string(role=API_ROLE)
        folder = TESTS / f"{name}-server"
        with Server(folder, workers=workers, POSTGRESQLCONNSTR_WWIF=text, **settings) as server:
            yield server, cluster
        shutil.rmtree(folder)


def calls_during_reloads(
    server: Server, cluster: EmbeddedCluster, *, calls: int, agents: int, reloads: int
) -> Report:
    """Call tools `calls` times from `agents` clients, evenly interrupted by `reloads`.

    A reload is a SIGHUP, which replaces all workers. Procedures are created, replaced and dropped
    all the time.
    """
    report = Report()
    done = threading.Event()
    numbers = itertools.count(1)
    reload_at = {calls * n // (reloads + 1) for n in range(1, reloads + 1)}
    began = time.monotonic()

    def change() -> None:
        while not done.wait(0.2):
            report.changes += 1
            number = report.changes
            cluster.run_sql(
                f"DROP FUNCTION IF EXISTS api.list_changing_{(number - 3) % 10}();"
                f"CREATE OR REPLACE FUNCTION api.list_changing_{number % 10}() RETURNS TABLE"
                f" (n integer) LANGUAGE sql STABLE AS 'SELECT {number}';"
            )

    def call(client: int) -> tuple[Counter[str], list[str]]:
        made: Counter[str] = Counter()
        wrong = []
        with Agent(server.url) as agent:
            for number in range(calls // agents):
                if next(numbers) in reload_at:
                    server.reload()
                    made["reload"] += 1
                try:
                    name = _call(agent, number)
                except (AssertionError, requests.RequestException, KeyError) as error:
                    wrong.append(f"client {client}, call {number}: {error!r}"[:500])
                    continue
                made[name] += 1
        return made, wrong

    changes = threading.Thread(target=change)
    changes.start()
    try:
        with ThreadPoolExecutor(agents) as pool:
            for made, wrong in pool.map(call, range(agents)):
                report.reloads += made.pop("reload", 0)
                report.calls += made
                report.wrong += wrong
    finally:
        done.set()
        changes.join()
    report.seconds = time.monotonic() - began
    doubled = cluster.run_sql(
        "SELECT customer FROM api.orders GROUP BY customer HAVING count(*) > 1"
    )
    report.wrong += [f"{name} was written twice" for name in doubled.split()]
    return report


def _call(agent: Agent, number: int) -> str:
    """One call; every tenth is a write that is repeated with its key. The name of the tool."""
    if number % 10 == 9:
        name = uuid.uuid4().hex
        order = {"customer": name, "amount": 1, "idempotency_key": name}
        first = agent.rows("create_order", **order)
        assert agent.rows("create_order", **order) == first
        return "create_order"
    if number % 10 == 8:
        assert "get_order" in agent.tools()
        return "tools/list"
    if number % 2:
        (row,) = agent.rows("get_order", order_id=1 + number % 20)
        assert row["order_id"] == 1 + number % 20
        return "get_order"
    (row,) = agent.rows("get_customer", customer_id=123)
    assert row["CustomerID"] == 123
    return "get_customer"
