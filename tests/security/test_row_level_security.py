"""The example of docs/row-level-security.md works: a caller sees the customers of its territories,
on connections that all callers share, and leaves nothing of itself on them."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import close_app, create_app
from settings import ROOT, read_settings
from testkit.api_client import unique_name
from testkit.callers import Headers, api_keys

EXAMPLE = ROOT / "sql" / "examples" / "row_level_security_postgresql.sql"
TERRITORIES = {"ann": "9", "ben": "5"}
ONE_OF_ANNS = 123
INTERLEAVED = 1000


def customers_of(territory: str) -> list[int]:
    with (ROOT / "data" / "customers.csv").open(encoding="utf-8", newline="") as file:
        return [
            int(row["CustomerID"])
            for row in csv.DictReader(file)
            if row["DeliveryPostalCode"].startswith(territory)
        ]


SAMPLE = {name: customers_of(territory) for name, territory in TERRITORIES.items()}


@pytest.fixture(scope="module")
def keys() -> tuple[str, dict[str, Headers]]:
    return api_keys((name, "read,write") for name in TERRITORIES)


@pytest.fixture(scope="module")
def app(run_folder: Path, keys: tuple[str, dict[str, Headers]]) -> Iterator[Flask]:
    """The application over an embedded default with the example, and one connection to it."""
    environment = {
        "LOCAL_DIR": str(run_folder / "row-level-security"),
        "POOL_MAX_SIZE": "1",
        "TAXI_CACHE_SECONDS": "60",
        "AUTH": "keys",
        "AUTH_ANONYMOUS": "read",
        "API_KEYS": keys[0],
    }
    app = create_app(read_settings(environment))
    cluster = app.extensions["databases"].cluster()
    for _ in range(2):  # it may be run again
        cluster.run_sql(EXAMPLE.read_text(encoding="utf-8"))
    for name, territory in TERRITORIES.items():
        cluster.run_sql(
            f"INSERT INTO sales.caller_territories VALUES ('api-keys', '{name}', '{territory}')"
        )
    yield app
    close_app(app)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def headers(keys: tuple[str, dict[str, Headers]]) -> dict[str, Headers]:
    return keys[1]


def seen_by(client: FlaskClient, headers: Headers, query: str = "") -> list[int]:
    response = client.get(f"/customers{query}", headers=headers)
    assert response.status_code == 200, response.text
    return [customer["CustomerID"] for customer in response.json]


def on_the_connection(app: Flask) -> str | None:
    """The claims that the next request on the only connection would find."""
    with app.extensions["databases"].manager("WWIF").checkout() as connection:
        return connection.execute("SELECT current_setting('request.caller', true)").fetchval()


def test_two_callers_on_one_connection_see_their_own_customers_a_thousand_times(
    app: Flask, headers: dict[str, Headers]
):
    chance = random.Random(7)
    orders = [chance.choices(list(TERRITORIES), k=INTERLEAVED // 2) for _ in range(2)]

    def ask(order: list[str]) -> int:
        client = app.test_client()
        for turn, name in enumerate(order):
            # Every fifth is streamed: a cursor in a transaction instead of one statement.
            query = "?limit=0" if turn % 5 == 0 else ""
            assert seen_by(client, headers[name], query) == SAMPLE[name]
        return len(order)

    stats = app.extensions["databases"].manager("WWIF").stats
    before = stats()
    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(ask, orders)) == INTERLEAVED
    after = stats()
    # Identical concurrent reads of one caller were one statement.
    assert INTERLEAVED / 2 < after.checkouts_total - before.checkouts_total <= INTERLEAVED
    assert (after.max_size, after.connects_total) == (1, max(1, before.connects_total))


def test_without_a_caller_no_customer_is_visible(client: FlaskClient, headers: dict[str, Headers]):
    assert seen_by(client, headers["ann"]) == SAMPLE["ann"]
    assert seen_by(client, {}) == []
    assert seen_by(client, {}, "?limit=0") == []
    assert client.get(f"/customer/{ONE_OF_ANNS}").status_code == 404


@pytest.mark.parametrize(
    ("line", "body", "status"),
    [
        (f"GET /customer/{ONE_OF_ANNS}", None, 200),
        ("GET /customers?limit=0&format=ndjson", None, 200),
        ("GET /customers?limit=0&fields=CustomerID,Delivery", None, 200),
        (f"PATCH /customer/{SAMPLE['ben'][0]}", {"PhoneNumber": "1"}, 404),
        (f"PATCH /customer/{ONE_OF_ANNS}", {"Delivery": {"PostalCode": "50000"}}, 403),
        ("PUT /customer", {"CustomerName": "Tailspin Toys (Roe Park, NY)"}, 403),
    ],
)
def test_the_claims_of_a_caller_are_gone_before_the_next_request(
    app: Flask, headers: dict[str, Headers], line: str, body: dict | None, status: int
):
    method, path = line.split()
    response = app.test_client().open(path, method=method, json=body, headers=headers["ann"])
    assert response.status_code == status, response.text
    assert response.text
    assert on_the_connection(app) in (None, "")


def test_the_claims_are_gone_after_an_aborted_stream(
    app: Flask, client: FlaskClient, headers: dict[str, Headers]
):
    response = client.get("/customers?limit=0", headers=headers["ann"], buffered=False)
    assert next(response.iter_encoded())
    response.close()
    assert on_the_connection(app) in (None, "")
    assert seen_by(client, headers["ben"]) == SAMPLE["ben"]


def test_a_caller_can_change_only_its_own_customers(
    client: FlaskClient, headers: dict[str, Headers]
):
    path = f"/customer/{SAMPLE['ben'][1]}"
    for change in ({"PhoneNumber": "1"}, {"Delivery": {"PostalCode": "90000"}}):
        assert client.patch(path, json=change, headers=headers["ann"]).status_code == 404
    assert client.delete(path, headers=headers["ann"]).status_code == 404
    assert client.patch(path, json={"PhoneNumber": "1"}, headers=headers["ben"]).status_code == 200


def test_a_new_customer_belongs_to_the_territory_of_its_creator(
    client: FlaskClient, headers: dict[str, Headers]
):
    def make(code: str):
        body = {"CustomerName": unique_name(), "Delivery": {"PostalCode": code}}
        return client.put("/customer", json=body, headers=headers["ann"])

    refused = make("51234")
    assert refused.status_code == 403
    assert refused.json["type"] == "urn:sql-procedures-api:forbidden"
    made = make("91234")
    assert made.status_code == 201
    number = made.json[0]["CustomerID"]
    assert client.get(f"/customer/{number}", headers=headers["ann"]).status_code == 200
    assert client.get(f"/customer/{number}", headers=headers["ben"]).status_code == 404
    assert client.delete(f"/customer/{number}", headers=headers["ann"]).status_code == 200


ANY_INSERT = """
CREATE POLICY any_insert ON sales.customers FOR INSERT TO procedures WITH CHECK (true)
"""


WRITTEN = "SELECT (SELECT count(*) FROM sales.customers), (SELECT count(*) FROM web.requests)"


@pytest.mark.parametrize("bulk", [False, True])
def test_a_new_row_that_its_creator_could_not_read_is_refused_and_rolled_back(
    app: Flask, client: FlaskClient, headers: dict[str, Headers], bulk: bool
):
    cluster = app.extensions["databases"].cluster()
    body = {"CustomerName": unique_name(), "Delivery": {"PostalCode": "51234"}}
    before = cluster.run_sql(WRITTEN)
    cluster.run_sql(ANY_INSERT)
    try:
        response = client.open(
            "/customers" if bulk else "/customer",
            method="POST" if bulk else "PUT",
            json=[body] if bulk else body,
            headers=headers["ann"],
        )
    finally:
        cluster.run_sql("DROP POLICY any_insert ON sales.customers")
    assert response.status_code == 403, response.text
    assert "row-level security policy hides" in response.json["detail"]
    assert cluster.run_sql(WRITTEN) == before


def test_idempotency_keys_are_separate_for_each_caller(
    client: FlaskClient, headers: dict[str, Headers]
):
    made = {}
    for name, territory in TERRITORIES.items():
        for replayed in (None, "true"):
            response = client.put(
                "/customer",
                json={
                    "CustomerName": f"Of {name}",
                    "Delivery": {"PostalCode": territory},
                },
                headers={**headers[name], "Idempotency-Key": "the same"},
            )
            assert response.status_code == 201, response.text
            assert response.headers.get("Idempotency-Replayed") == replayed
            made[name] = response.json[0]["CustomerID"]
    assert len(set(made.values())) == len(TERRITORIES)
    for name, number in made.items():
        client.delete(f"/customer/{number}", headers=headers[name])


def test_a_shared_read_is_shared_only_within_one_caller(
    app: Flask, client: FlaskClient, headers: dict[str, Headers]
):
    stats = app.extensions["databases"].manager("TAXI").stats
    checkouts = []
    for name in ("ann", "ann", "ben", "ben"):
        before = stats().checkouts_total
        client.get("/taxidata/summary?by=hour", headers=headers[name])
        checkouts.append(stats().checkouts_total - before)
    assert checkouts == [1, 0, 1, 0]
