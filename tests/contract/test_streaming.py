"""Collections go out as the database delivers them: JSON, NDJSON, CSV; whole or visibly not."""

import csv
import io
import json
import time

import pytest
import requests

from testkit.api_client import TYPE_PREFIX, Api, assert_problem
from testkit.engines import changed_sample
from testkit.server import Server

TRIPS = 2_000
MEDIA_TYPES = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
}
# Far more rows than fit any buffer between the database and a client; row 5,000 fails on demand.
ENDLESS = """
CREATE OR REPLACE FUNCTION dbo.get_taxidata_rows(p_json text) RETURNS refcursor
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_rows refcursor;
BEGIN
    OPEN v_rows NO SCROLL FOR
        SELECT format('{"n":%s,"filler":"%s","q":%s}', n, repeat('x', 300),
                      CASE WHEN p_json::json ->> 'payment_type' = '7'
                           THEN 1 / (5000 - n) ELSE 1 END)
          FROM (SELECT generate_series(1, 50000000) AS n) numbers;
    RETURN v_rows;
END $$;
"""


@pytest.fixture(scope="module")
def endless(run_folder, worker_id):
    """A server of one worker and one connection, whose trips never end."""
    folder = run_folder / f"endless-{worker_id}"

    with (
        changed_sample(folder / "own", ENDLESS) as (_, settings),
        Server(folder, workers=1, POOL_MAX_SIZE="1", **settings) as server,
    ):
        yield server


def rows_of(response, form):
    if form == "json":
        return response.json()
    if form == "ndjson":
        return [json.loads(line) for line in response.text.splitlines()]
    return [*csv.DictReader(io.StringIO(response.text))]


@pytest.mark.parametrize("form", MEDIA_TYPES)
@pytest.mark.parametrize("asked_by", ["format", "Accept"])
def test_every_form_holds_every_trip(api, form, asked_by):
    query = {"limit": "0"} | ({"format": form} if asked_by == "format" else {})
    headers = {"Accept": MEDIA_TYPES[form]} if asked_by == "Accept" else {}
    response = api.get("/taxidata", params=query, headers=headers)
    assert response.status_code == 200
    assert response.headers["Content-Type"].split(";")[0] == MEDIA_TYPES[form]
    rows = rows_of(response, form)
    assert len(rows) == TRIPS
    assert next(iter(rows[0])) == "VendorID"
    assert len(rows[0]) == 18


def test_the_forms_tell_the_same(api):
    whole = api.get("/taxidata?limit=0").json()
    lines = rows_of(api.get("/taxidata?limit=0&format=ndjson"), "ndjson")
    table = rows_of(api.get("/taxidata?limit=0&format=csv"), "csv")
    assert lines == whole

    def as_text(value):
        if value is None:
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value)

    assert table == [{k: as_text(v) for k, v in trip.items()} for trip in whole]


def test_customers_stream_with_nested_columns_by_name(api):
    fields = "CustomerID,CustomerName,Delivery"
    response = api.get(f"/customers?limit=3&after=121&format=csv&fields={fields}")
    rows = rows_of(response, "csv")
    assert list(rows[0]) == [
        *("CustomerID", "CustomerName"),
        *("Delivery.AddressLine1", "Delivery.AddressLine2", "Delivery.PostalCode"),
    ]
    assert rows[1]["CustomerName"] == "Tailspin Toys (Roe Park, NY)"
    assert rows[1]["Delivery.PostalCode"] == "90775"


@pytest.mark.parametrize("form", MEDIA_TYPES)
def test_nothing_found_is_an_empty_collection(api, form):
    response = api.get(f"/taxidata?limit=0&total_amount=-9999&format={form}")
    assert response.status_code == 200
    assert rows_of(response, form) == []


def test_a_media_type_that_is_not_offered_is_refused(api):
    assert_problem(
        api.get("/taxidata", headers={"Accept": "application/xml"}), 406, "not-acceptable"
    )


def test_what_fails_before_the_first_row_is_a_problem(endless):
    with Api(endless.url) as api:
        headers = {"Request-Timeout": "0.000001"}
        response = api.get("/taxidata?limit=0", headers=headers)
        assert_problem(response, 504, "deadline")


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("form", MEDIA_TYPES)
def test_a_failure_in_the_midst_is_seen_by_the_client(endless, form, encoding):
    with Api(endless.url) as api:
        path = f"/taxidata?limit=0&payment_type=7&format={form}"
        response = api.get(path, headers={"Accept-Encoding": encoding}, stream=True)
        assert response.status_code == 200
        received = bytearray()
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            for chunk in response.iter_content(None):
                received += chunk
    assert b"division" not in received
    if form == "ndjson":
        last = json.loads(received.splitlines()[-1])
        assert last["type"].startswith(TYPE_PREFIX)
        assert last["status"] >= 400


def test_a_client_that_goes_away_frees_its_connection_and_stops_the_statement(endless):
    with Api(endless.url) as api:
        headers = {"Accept-Encoding": "identity"}
        response = api.get("/taxidata?limit=0&format=ndjson", headers=headers, stream=True)
        assert len(next(response.iter_content(100_000))) > 0
        response.close()
    left = time.monotonic()
    # There is one connection, so that this answer can come by no other.
    with Api(endless.url) as api:
        assert api.get("/customer/123").status_code == 200
    assert time.monotonic() - left < 1.0
