"""The catalog alone serves the sample's customers and trips, under the same routes.

The Python resources are left out by giving the database a name of its own: they are registered for
WWIF and TAXI only. What differs, and why:
- /passengers is SQLAlchemy's, not a procedure's.
- POST /customers takes {"Customers": […]} instead of an array: a document parameter is an object.
- A document is passed on unread, so that a wrong value is refused by the procedure (422) and an
  unknown member is not refused at all; Python's schemas answer 400 or 422 and name each fault.
- /customers is not limited to 1,000 rows unless `limit` says so, and `fields` is repeated instead
  of joined by commas: both rules are the Python resource's own.
- Lists are JSON only: the procedure makes the text of a whole list. Python calls its `_rows` twin.
- Concurrent equal reads of trips do not share one call.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app import close_app, create_app
from operations.python_routes import python_routes
from settings import read_settings
from testkit.api_client import Api, assert_problem, one, unique_name
from testkit.engines import changed_sample
from testkit.server import Server

SAMPLE_ONLY = {("GET", "/passengers")}
SAME = (
    *("/customer/123", "/customer/999999999"),
    *("/customers?limit=3", "/customers?limit=3&after=5&sort=-CustomerID"),
    *("/customers?limit=2&name=Toys&sort=CustomerName", "/customers?limit=0&name=Toys"),
    *("/taxidata?limit=2", "/taxidataall?limit=2&offset=1", "/taxidata?limit=3&payment_type=2"),
    *("/taxidata/20?limit=2", "/taxidataprice/20?limit=2", "/taxidateprice/20?limit=1"),
    *("/taxidata/summary?by=hour", "/taxidata/summary?by=payment_type"),
)
# (status of the Python resource, status by the catalog)
DIFFERENT = {
    # To Flask a number's route does not match a word; the catalog names the fault.
    "/customer/x": (404, 400),
    # The document's numbers are bigint; the procedure's own CAST refuses it.
    "/customer/2147483648": (404, 422),
    # A route that ends in a parameter is that of one item.
    "/taxidata/-99999": (200, 404),
    # Values of a document are the procedure's to refuse, and unknown ones to ignore.
    "/customers?sort=x": (400, 422),
    "/customers?limit=1&nonsense=1": (400, 200),
}
KEPT_HEADERS = ("Content-Type", "ETag", "Location", "Link", "Allow")


@pytest.fixture(scope="module")
def sample(run_folder, worker_id) -> Iterator[dict[str, str]]:
    """The settings that serve the sample's database by the Python resources."""
    folder = run_folder / f"sample-{worker_id}"
    with changed_sample(folder, "SELECT 1") as (_, settings):
        yield settings


def by_catalog(sample: dict[str, str]) -> dict[str, str]:
    text = sample["POSTGRESQLCONNSTR_WWIF"]
    return {"POSTGRESQLCONNSTR_SAMPLE": text, "EXPOSED_SCHEMAS": "web,dbo"}


@pytest.fixture(scope="module")
def both(sample, run_folder, worker_id) -> Iterator[tuple[Api, Api]]:
    """A client of the Python resources, and one of the catalog, over one database."""
    folder = run_folder / f"sample-servers-{worker_id}"
    with (
        Server(folder / "python", workers=1, **sample) as python,
        Server(folder / "catalog", workers=1, **by_catalog(sample)) as catalog,
        Api(python.url) as first,
        Api(catalog.url) as second,
    ):
        yield first, second


def test_the_catalog_has_every_route_of_the_python_resources(sample, tmp_path):
    shapes = []
    for settings in (sample, by_catalog(sample)):
        app = create_app(read_settings({"LOCAL_DIR": str(tmp_path), **settings}))
        operations = app.extensions["catalog"].live.current.operations
        shapes.append({o.shape for o in operations} or {*python_routes(app)})
        own = {*python_routes(app)}
        close_app(app)
    python, catalog = shapes
    only_python = {s for s in python - own - catalog if s[0] not in ("HEAD", "OPTIONS")}
    assert only_python == SAMPLE_ONLY
    assert catalog <= python


@pytest.mark.parametrize("path", SAME)
def test_reads_are_answered_alike(both, path):
    python, catalog = (api.get(path) for api in both)
    assert catalog.status_code == python.status_code
    if python.status_code == 200:
        assert catalog.json() == python.json()
        for name in KEPT_HEADERS:
            ours, theirs = (r.headers.get(name) for r in (catalog, python))
            # The server's address, and the order of the query, are not the procedure's.
            assert (ours or "").partition("?")[2:] == (theirs or "").partition("?")[2:] or (
                name == "Link" and ours and theirs
            )
    else:
        assert catalog.json()["type"] == python.json()["type"]


@pytest.mark.parametrize(("path", "statuses"), DIFFERENT.items(), ids=DIFFERENT)
def test_what_differs_is_known(both, path, statuses):
    assert tuple(api.get(path).status_code for api in both) == statuses


def test_a_known_etag_is_not_modified(both):
    for api in both:
        tag = api.get("/customer/123").headers["ETag"]
        assert api.get("/customer/123", headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_customer_lives_alike(both, method):
    seen = []
    for api in both:
        name, steps = unique_name(), []
        key = {"Idempotency-Key": name}
        made = api.request(method, "/customer", json={"CustomerName": name}, headers=key)
        again = api.request(method, "/customer", json={"CustomerName": name}, headers=key)
        row = one(made)
        path = f"/customer/{row.pop('CustomerID')}"
        steps += [made.status_code, again.status_code, again.content == made.content]
        steps += [again.headers["Idempotency-Replayed"], made.headers["Location"] == path]
        steps += ["ETag" in made.headers, row["CustomerName"] == name]
        changed = api.patch(path, json={"PhoneNumber": "1", "Delivery": {"PostalCode": "9"}})
        steps += [changed.status_code, one(changed)["PhoneNumber"], one(changed)["Delivery"]]
        steps += [one(api.patch(path, json={"PhoneNumber": None})).get("PhoneNumber")]
        steps += [sorted(one(api.put(path, json={"CustomerName": name})))]
        twin = api.put("/customer", json={"CustomerName": name})
        steps += [twin.status_code, twin.json()["type"]]
        deleted = api.delete(path)
        steps += [deleted.status_code, one(deleted) == {"CustomerID": int(path.split("/")[2])}]
        for request in (api.delete, api.get):
            steps.append(assert_problem(request(path), 404)["type"])
        seen.append(steps)
    assert seen[0] == seen[1]


def test_many_customers_are_made_from_a_document(both):
    _, catalog = both
    names = [unique_name() for _ in range(3)]
    response = catalog.post("/customers", json={"Customers": [{"CustomerName": n} for n in names]})
    assert response.status_code == 201, response.text
    assert [row["CustomerName"] for row in response.json()] == names


def test_passengers_and_the_api_s_own_procedures_are_not_served(both):
    _, catalog = both
    for path in ("/passengers", "/expired_requests", "/customers_rows", "/delete_expired_requests"):
        assert_problem(catalog.get(path), 404)
