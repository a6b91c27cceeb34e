"""Lists go out as the database delivers them: JSON, NDJSON, CSV, Arrow; whole or visibly not."""

import csv
import io
import json
import re
import time
from datetime import datetime
from pathlib import Path

import pyarrow
import pyarrow.ipc
import pytest
import requests

from app import close_app, create_app
from protocol import formats
from resources.taxidata import TRIP
from settings import read_settings
from testkit.api_client import TYPE_PREFIX, Api, assert_problem
from testkit.engines import ENGINES, changed_sample
from testkit.server import Server

TRIPS = 2_000
MEDIA_TYPES = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
}
# One of each list of the sample.
LISTS = (
    *("/taxidata?limit=5", "/taxidata/20?limit=5", "/taxidata/summary?by=hour"),
    *("/customers?limit=5&fields=CustomerID,CustomerName,Delivery", "/passengers?limit=5"),
)
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
    if form == "arrow":
        return pyarrow.ipc.open_stream(response.content).read_all().to_pylist()
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
    forms = {
        form: rows_of(api.get(f"/taxidata?limit=0&format={form}"), form) for form in MEDIA_TYPES
    }
    assert forms["ndjson"] == whole

    def as_text(name, value):
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        # A column of amounts has a point in every row.
        return str(float(value) if TRIP[name] is float else value)

    assert forms["csv"] == [{k: as_text(k, v) for k, v in trip.items()} for trip in whole]

    def as_json(value):
        return value.isoformat() if isinstance(value, datetime) else value

    assert [{k: as_json(v) for k, v in trip.items()} for trip in forms["arrow"]] == whole


@pytest.mark.parametrize("form", MEDIA_TYPES)
@pytest.mark.parametrize("path", LISTS)
def test_every_list_has_every_form(api, path, form):
    response = api.get(f"{path}&format={form}")
    assert response.status_code == 200
    assert response.headers["Content-Type"].split(";")[0] == MEDIA_TYPES[form]
    assert len(rows_of(response, form)) == len(api.get(path).json()) > 0


def test_arrow_has_the_declared_types(api):
    content = api.get("/customers?limit=0&format=arrow&fields=CustomerID,Delivery").content
    table = pyarrow.ipc.open_stream(content).read_all()
    names = ("AddressLine1", "AddressLine2", "PostalCode")
    address = pyarrow.struct([(name, pyarrow.string()) for name in names])
    assert table.schema == pyarrow.schema([("CustomerID", pyarrow.int64()), ("Delivery", address)])
    assert table.num_rows == len(api.get("/customers?limit=0").json())


# NDJSON has the numbers as FOR JSON writes them, which is up to the engine.
@pytest.mark.parametrize(
    ("engine", "form"),
    [("postgresql", "ndjson"), *((engine, "csv") for engine in ENGINES)],
    indirect=["engine"],
)
def test_amounts_have_a_point_in_every_row(api, form):
    lines = api.get(f"/taxidata?limit=0&format={form}").text.splitlines()
    assert all(re.search(r',(?:"congestion_surcharge":)?-?\d+\.\d+}?$', row) for row in lines[1:])


@pytest.mark.parametrize("form", ["csv", "ndjson", "arrow"])
@pytest.mark.parametrize("path", ["/taxidata?limit=0", "/passengers?limit=9"])
def test_a_short_list_is_read_in_parts_as_a_file_is(api, path, form):
    url = f"{path}&format={form}"
    content = api.get(url).content
    head = api.head(url)
    assert (head.headers["Content-Length"], head.content) == (str(len(content)), b"")
    assert head.headers["Accept-Ranges"] == "bytes"
    parts = []
    for wanted in ("0-99", f"100-{len(content) + 500}"):
        headers = {"Range": f"bytes={wanted}", "If-Range": head.headers["ETag"]}
        parts.append(api.get(url, headers={**headers, "Accept-Encoding": "gzip"}))
    assert [part.status_code for part in parts] == [206, 206]
    assert b"".join(part.content for part in parts) == content
    # A part of another version is no part of this one.
    stale = api.get(url, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    impossible = api.get(url, headers={"Range": f"bytes={len(content) + 9}-"})
    for response in (stale, impossible):
        assert (response.status_code, response.content) == (200, content)


@pytest.mark.parametrize("form", MEDIA_TYPES)
def test_a_long_list_takes_no_more_memory_than_a_short_one(endless, form):
    """2 MB of Arrow or CSV are about 100,000 rows, which would be 40 MB of text alone."""
    with Api(endless.url) as api:
        headers = {"Accept-Encoding": "identity"}
        response = api.get(f"/taxidata?limit=0&format={form}", headers=headers, stream=True)
        pieces = response.iter_content(50_000)
        next(pieces)
        before, size = peak_megabytes(endless), 0
        while size < 2_000_000:
            size += len(next(pieces))
        assert peak_megabytes(endless) - before < 20
        response.close()


def peak_megabytes(server):
    """The largest memory that the server's one worker has had."""
    pid = server._process.pid
    (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    status = Path(f"/proc/{worker}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def test_a_long_list_has_no_length_and_ignores_ranges(endless):
    with Api(endless.url) as api:
        assert "Content-Length" not in api.head("/taxidata?limit=0&format=ndjson").headers
        headers = {"Range": "bytes=0-9", "Accept-Encoding": "identity"}
        response = api.get("/taxidata?limit=0&format=ndjson", headers=headers, stream=True)
        assert response.status_code == 200
        assert len(next(response.iter_content(100_000))) > 10
        response.close()


def test_without_its_package_arrow_is_refused(run_folder, monkeypatch):
    monkeypatch.setattr(formats, "installed", lambda: False)
    app = create_app(read_settings({"LOCAL_DIR": str(run_folder / "postgresql")}))
    try:
        refused = app.test_client().get("/taxidata?format=arrow")
    finally:
        close_app(app)
    assert (refused.status_code, refused.json["type"].rpartition(":")[2]) == (501, "not-installed")


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
