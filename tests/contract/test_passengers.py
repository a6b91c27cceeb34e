"""/passengers: SQLAlchemy statements on pooled connections, with responses like all others."""

import csv
import sys

import pytest

from app import create_app
from settings import ROOT, read_settings
from testkit.api_client import assert_problem

COLUMNS = [
    *("id", "Survived", "Pclass", "Name", "Sex", "Age", "sibling_or_spouse"),
    *("parents_or_children", "Fare"),
]
NUMBERS = {"Age": float, "Fare": float, "Name": str, "Sex": str}


def sample():
    """The shipped passengers, as the API should return them."""
    with (ROOT / "data" / "passengers.csv").open(encoding="utf-8", newline="") as file:
        return [{c: NUMBERS.get(c, int)(row[c]) for c in COLUMNS} for row in csv.DictReader(file)]


def test_passengers_have_the_columns_of_the_table_in_the_order_of_their_ids(api):
    response = api.get("/passengers")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == sample()
    assert [*response.json()[0]] == COLUMNS


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"survived": "true"}, lambda p: p["Survived"] == 1),
        ({"survived": "false"}, lambda p: p["Survived"] == 0),
        ({"pclass": 2}, lambda p: p["Pclass"] == 2),
        ({"sex": "female"}, lambda p: p["Sex"] == "female"),
        (
            {"sex": "male", "pclass": 3, "survived": "true"},
            lambda p: (p["Sex"], p["Pclass"], p["Survived"]) == ("male", 3, 1),
        ),
        ({"after": 90, "pclass": 1}, lambda p: p["id"] > 90 and p["Pclass"] == 1),
        ({"after": 100}, lambda p: False),
    ],
)
def test_filters_select_the_matching_passengers(api, query, wanted):
    assert api.get("/passengers", params=query).json() == [p for p in sample() if wanted(p)]


@pytest.mark.parametrize("limit", [1, 7, 50, 99])
def test_following_the_link_lists_every_passenger_once(api, limit):
    path, found, pages = f"/passengers?sex=female&limit={limit}", [], 0
    while path:
        response = api.get(path)
        assert len(response.json()) <= limit
        found += response.json()
        pages += 1
        following = response.links.get("next")
        path = following and following["url"].removeprefix(api.url)
    expected = [p for p in sample() if p["Sex"] == "female"]
    assert found == expected
    assert pages == -(-len(expected) // limit)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("survived=perhaps", "survived"),
        ("pclass=0", "pclass"),
        ("pclass=4", "pclass"),
        ("sex=Male", "sex"),
        ("sex=male'--", "sex"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("after=-1", "after"),
        ("after=2147483648", "after"),
        ("name=x", "name"),
        ("sex=male&sex=female", "sex"),
    ],
)
def test_an_invalid_query_is_refused(api, query, parameter):
    assert_problem(api.get(f"/passengers?{query}"), 400, "invalid-query", parameters={parameter})


def test_passengers_keep_to_the_deadline_of_the_request(api):
    response = api.get("/passengers", headers={"Request-Timeout": "0.000001"})
    assert_problem(response, 504, "deadline")


def test_without_sqlalchemy_only_passengers_are_unavailable(run_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    for module in ("database.sqlalchemy_session", "database.passenger_table"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    app = create_app(read_settings({"LOCAL_DIR": str(run_folder / "postgresql")}))
    try:
        client = app.test_client()
        refused = client.get("/passengers")
        assert (refused.status_code, refused.content_type) == (501, "application/problem+json")
        assert "SQLAlchemy" in refused.json["detail"]
        assert client.get("/customer/123").json[0]["CustomerID"] == 123
    finally:
        app.extensions["databases"].close()


@pytest.mark.parametrize("written", ["true", "True", "1"])
def test_a_boolean_is_read_as_clients_write_it(api, written):
    found = api.get(f"/passengers?survived={written}&limit=1000").json()
    assert found == api.get("/passengers?survived=true&limit=1000").json()
    assert {row["Survived"] for row in found} == {1}
