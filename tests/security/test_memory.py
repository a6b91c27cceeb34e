"""A body with many faults costs little memory, and its response is short."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from testkit.api_client import Api, assert_problem
from testkit.memory import PEAK
from testkit.routes import NOWHERE
from testkit.server import Server

CLIENTS, ROUNDS = 16, 1
# With 16 at a time; one of them at rest takes about 100.
MOST_MEGABYTES = 900
LONGEST_ANSWER = 4000


def keys(count: int, first: int = 0) -> str:
    return ",".join(f'"key{number}":1' for number in range(first, first + count))


BODIES = {
    "unknown keys": ("PUT", "/customer", "{" + keys(74_000) + "}"),
    "unknown keys below": ("PATCH", "/customer/1", '{"Delivery":{' + keys(74_000) + "}}"),
    "unknown keys in many": (
        "POST",
        "/customers",
        "[" + ",".join("{" + keys(90) + "}" for _ in range(900)) + "]",
    ),
    "unknown keys of one letter": (
        "POST",
        "/customers",
        "[" + ",".join(['{"a":1}'] * 120_000) + "]",
    ),
    "keys given twice": ("PUT", "/customer", "{" + ",".join([keys(1000)] * 80) + "}"),
    "empty objects": ("POST", "/customers", "[" + "{}," * 330_000 + "{}]"),
    "numbers": ("POST", "/customers", "[" + "1," * 490_000 + "1]"),
    "lists": ("PUT", "/customer", "[" + "[]," * 330_000 + "[]]"),
    "wrong types": (
        "POST",
        "/customers",
        json.dumps([{"CustomerName": 1, "PhoneNumber": [], "Delivery": {"PostalCode": {}}}] * 999),
    ),
}


@pytest.fixture(scope="module")
def limited(run_folder: Path, worker_id: str) -> Iterator[Server]:
    server = Server(
        run_folder / f"limited-{worker_id}",
        program="tests.security.limited:app",
        workers=1,
        POSTGRESQLCONNSTR_WWIF=NOWHERE,
    )
    with server:
        yield server


@pytest.mark.parametrize("what", BODIES)
def test_sixteen_clients_with_bodies_of_faults_stop_no_worker(what: str, limited: Server):
    method, path, body = BODIES[what]
    assert len(body) < 1 << 20

    def send(_: int):
        with Api(limited.url) as api:
            return api.request(
                method, path, data=body, headers={"Content-Type": "application/json"}
            )

    with Api(limited.url) as api, ThreadPoolExecutor(CLIENTS) as threads:
        before = api.get(PEAK).json()
        answers = list(threads.map(send, range(CLIENTS * ROUNDS)))
        after = api.get(PEAK).json()
    assert after["pid"] == before["pid"]
    assert after["peak_mb"] < MOST_MEGABYTES
    for answer in answers:
        assert_problem(answer, 422, "invalid-body")
        assert len(answer.content) < LONGEST_ANSWER


def test_a_form_of_many_fields_is_refused_without_parsing(limited: Server):
    with Api(limited.url) as api:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = api.put("/customer", data="a&" * 500_000, headers=form)
        problem = assert_problem(answer, 422, "invalid-body")
        assert problem["detail"] == "The form must have the field customer only, once."
        assert api.get(PEAK).json()["peak_mb"] < MOST_MEGABYTES


@pytest.mark.parametrize(
    ("body", "first", "last", "more"),
    [
        ("{" + keys(21) + "}", "/key0", "/key19", "and 1 more"),
        ("{" + keys(70_000) + "}", "/key0", "/key19", "and 69,980 more"),
        (
            '{"CustomerName":"x","Delivery":{' + keys(12) + "}," + keys(12, first=12) + "}",
            "/key12",
            "/Delivery/key7",
            "and 4 more",
        ),
    ],
)
def test_the_first_faults_are_listed_and_further_ones_counted(
    body: str, first: str, last: str, more: str, limited: Server
):
    with Api(limited.url) as api:
        answer = api.put("/customer", data=body, headers={"Content-Type": "application/json"})
    *listed, counted = assert_problem(answer, 422, "invalid-body")["errors"]
    assert len(listed) == 20
    assert (listed[0]["pointer"], listed[-1]["pointer"]) == (first, last)
    assert {fault["detail"] for fault in listed} == {"is unknown; remove it"}
    assert counted == {"detail": more}


def test_twenty_faults_are_all_listed(limited: Server):
    with Api(limited.url) as api:
        answer = api.put("/customer", json=dict.fromkeys(map(str, range(19)), 1))
    errors = assert_problem(answer, 422, "invalid-body")["errors"]
    assert len(errors) == 20
    assert errors[0] == {"pointer": "/CustomerName", "detail": "is required"}


def test_further_faults_of_a_query_are_counted(limited: Server):
    with Api(limited.url) as api:
        answer = api.get("/customers?" + "&".join(f"p{number}=1" for number in range(100)))
    errors = assert_problem(answer, 400, "invalid-query")["errors"]
    assert errors[-1] == {"detail": "and 80 more"}
