"""Procedures are created, replaced and dropped while clients call others, and no request fails."""

from __future__ import annotations

import itertools
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from database.connect.drivers import Driver
from embedded.cluster import API_ROLE, OWNER
from testkit.api_client import Api
from testkit.engines import CONNECTION_STRING, LOGIN_TIMEOUT_SECONDS
from tests.foreign.conftest import serving

CHANGES, CLIENTS, WORKERS = 200, 32, 3
SERVED_WITHIN_SECONDS = 2.0


@pytest.fixture
def run(engine, shop):
    """run(sql), by the owner of the schema."""
    (text,) = shop.values()
    text = text.replace(f"UID={API_ROLE}", f"UID={OWNER}")
    if engine == "sqlserver":
        text = CONNECTION_STRING
    connection = Driver(text, family=engine).connect(LOGIN_TIMEOUT_SECONDS)
    yield lambda sql: connection.execute(sql).close()
    connection.close()


@pytest.fixture
def reloading(engine, folder, shop):
    with serving(folder, workers=WORKERS, CATALOG_SECONDS="1", **shop) as server:
        yield server


def created(engine: str, name: str, number: int) -> str:
    if engine == "sqlserver":
        return f"CREATE PROCEDURE shop.{name} AS SELECT {number} AS n"
    return (
        f"CREATE FUNCTION shop.{name}() RETURNS TABLE (n int)"
        f" LANGUAGE sql STABLE AS 'SELECT {number}'"
    )


def replaced(engine: str, number: int) -> str:
    """A procedure that clients call at this moment, as another text of the same meaning."""
    if engine == "sqlserver":
        return f"ALTER PROCEDURE shop.list_answer AS SELECT {number} - {number} + 42 AS list_answer"
    return (
        "CREATE OR REPLACE FUNCTION shop.list_answer() RETURNS int"
        f" LANGUAGE sql STABLE AS 'SELECT {number} - {number} + 42'"
    )


def dropped(engine: str, name: str) -> str:
    return f"DROP {'PROCEDURE' if engine == 'sqlserver' else 'FUNCTION'} IF EXISTS shop.{name}"


def test_a_new_procedure_is_served_by_all_workers_soon_after_its_creation(engine, run, reloading):
    with Api(reloading.url) as api:
        # The first round is not timed: Babelfish parses a connection's first queries for seconds.
        for name in ("list_first", "list_second"):
            run(dropped(engine, name))
            assert api.get("/answer").status_code == 200
            run(created(engine, name, 1))
            path = f"/{name.removeprefix('list_')}"
            served_within = seconds_until_served(api, path)
            run(dropped(engine, name))
    assert served_within < SERVED_WITHIN_SECONDS


def seconds_until_served(api: Api, path: str) -> float:
    """Until the first of many responses of 200 in a row, by all workers."""
    began = time.monotonic()
    right, first = 0, math.inf
    # Connections of their own reach every worker; a 404 makes a worker read its catalog.
    while right < 10 * WORKERS:
        assert time.monotonic() - began < 30
        response = api.get(path, headers={"Connection": "close"})
        right = right + 1 if response.status_code == 200 else 0
        if right == 1:
            first = time.monotonic() - began
    return first


def test_no_request_fails_while_the_schema_changes(engine, run, reloading):
    done = threading.Event()

    def call(client: int) -> list[tuple[int, str]]:
        found = []
        with Api(reloading.url) as api:
            for number in itertools.count():
                if done.is_set():
                    return found
                if number % 4 == 3:
                    response = api.get("/answer")
                    right = [{"list_answer": 42}]
                elif number % 3 == 0:
                    response = api.post("/values/echo", json={"a": client, "b": str(number)})
                    right = [{"a": client, "b": str(number)}]
                else:
                    response = api.get(f"/temporary?n={number % 4}")
                    right = [{"square": n * n} for n in range(1, number % 4 + 1)]
                if response.status_code != 200 or response.json() != right:
                    found.append((response.status_code, response.text))
            return found

    with ThreadPoolExecutor(CLIENTS) as pool:
        calls = [pool.submit(call, client) for client in range(CLIENTS)]
        for number in range(CHANGES // 3 + 1):
            name = f"list_changing_{number % 10}"
            run(dropped(engine, name))
            run(created(engine, name, number))
            run(replaced(engine, number))
        time.sleep(1.2)  # one more interval of the catalog
        done.set()
        failed = [failure for made in calls for failure in made.result()]
    for number in range(10):
        run(dropped(engine, f"list_changing_{number}"))
    assert failed == [], failed[:3]
