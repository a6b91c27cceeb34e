"""Checks that a contestant returns the results of the procedures; otherwise it is not measured."""

from __future__ import annotations

import json
import urllib.request
from urllib.parse import urlencode

from bench.bench_database import BenchDatabase
from bench.server_process import Running

SOME_IDS = (1, 123, 200, 1061)
STREAMED = 2500


class WrongAnswer(AssertionError):
    """A contestant's response differs from the database's result."""


def check(server: Running, database: BenchDatabase, *, tag: str) -> None:
    """Send each kind of request once. Raises WrongAnswer with the first that differs."""
    for customer_id in SOME_IDS:
        expected = database.ask("web.get_customer", {"CustomerID": customer_id})
        path = f"/customer/{customer_id}"
        _same(server, path, fetch(server, "GET", path), expected)
    for path, procedure, document in (
        ("/customers", "web.get_customers", {}),
        ("/taxidata/20", "dbo.get_taxidataAmount", {"total_amount": 20}),
    ):
        _same(server, path, fetch(server, "GET", path), database.ask(procedure, document))
    _check_writes(server, database, tag)
    if server.contestant.streams:
        _check_stream(server, database)


def fetch(server: Running, method: str, path: str, document: dict | None = None) -> object:
    """The JSON of a response; an array of one object becomes the object, as in the sample."""
    data, headers = None, {}
    if document is not None:
        text = json.dumps(document)
        form = server.contestant.body_form
        data = (urlencode({"customer": text}) if form else text).encode()
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        headers = {"Content-Type": kind}
    asked = urllib.request.Request(server.url(path), data, headers, method=method)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.load(answer)


def _check_writes(server: Running, database: BenchDatabase, tag: str) -> None:
    customer = {
        "CustomerName": f"bench {tag} checked",
        "PhoneNumber": "(555) 555-0100",
        "Delivery": {"PostalCode": "90410"},
    }
    made = fetch(server, "PUT", "/customer", customer)[0]
    customer_id = made["CustomerID"]
    stored = database.ask("web.get_customer", {"CustomerID": customer_id})
    _same(server, "PUT /customer", [made], stored)
    _same(server, "PUT /customer", made, {"CustomerID": customer_id, **customer})
    path = f"/customer/{customer_id}"
    changed = fetch(server, "PATCH", path, {"PhoneNumber": "(555) 555-0199"})
    stored = database.ask("web.get_customer", {"CustomerID": customer_id})
    _same(server, "PATCH " + path, changed, stored)
    _same(server, "PATCH " + path, stored[0]["PhoneNumber"], "(555) 555-0199")


def _check_stream(server: Running, database: BenchDatabase) -> None:
    path = f"/taxidata?limit={STREAMED}&format=ndjson"
    with urllib.request.urlopen(server.url(path), timeout=30) as answer:
        trips = [json.loads(line) for line in answer]
    _same(server, path, trips, database.ask("dbo.get_taxidata", {"limit": STREAMED}))


def _same(server: Running, what: str, answered: object, expected: object) -> None:
    if answered != expected:
        raise WrongAnswer(
            f"{server.contestant.name} answered {what} with {str(answered)[:300]}"
            f" instead of {str(expected)[:300]}"
        )
