"""Texts that a spreadsheet would calculate: sent as they are, or marked as text if so set."""

import csv
import io

import pytest

from testkit.api_client import Api, unique_name
from testkit.server import Server

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "\uff1d1", "\uff20x")
TEXTS = ("'=1", "a=1", " =1", "1-1")


@pytest.fixture(scope="module")
def escaping(run_folder, worker_id):
    with Server(run_folder / f"escaping-{worker_id}", workers=1, CSV_FORMULAS="escape") as server:
        yield server


def cells(api, customer, *, media_type="text/csv"):
    """The customer's two texts as CSV has them."""
    response = api.get(
        "/customers",
        params={"name": customer["CustomerName"], "fields": "CustomerName,PhoneNumber"},
        headers={"Accept": media_type},
    )
    assert response.status_code == 200
    (row,) = csv.DictReader(io.StringIO(response.content.decode(), newline=""))
    return row


def test_a_text_that_is_a_formula_is_kept_as_it_is_unless_set(api):
    made = api.new_customer(unique_name("="), PhoneNumber="=1+1")
    assert cells(api, made) == {"CustomerName": made["CustomerName"], "PhoneNumber": "=1+1"}


@pytest.mark.parametrize("text", [*FORMULAS, *TEXTS], ids=ascii)
def test_escaped_it_begins_with_an_apostrophe_in_csv_only(escaping, text):
    with Api(escaping.url) as api:
        made = api.new_customer(unique_name("@"), PhoneNumber=text)
        assert made["PhoneNumber"] == text
        assert cells(api, made) == {
            "CustomerName": "'" + made["CustomerName"],
            "PhoneNumber": "'" + text if text in FORMULAS else text,
        }
        found = api.get("/customers", params={"name": made["CustomerName"], "format": "ndjson"})
        assert found.json()["CustomerName"] == made["CustomerName"]


def test_a_number_below_zero_stays_a_number(escaping):
    with Api(escaping.url) as api:
        trips = api.get("/taxidata", params={"limit": 0, "format": "csv"}).text
    assert "'" not in trips
    assert ",-" in trips
