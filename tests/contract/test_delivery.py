"""Responses: compression, caching headers and cross-origin requests."""

import gzip
import json
import zlib

import brotli
import pytest

from testkit.api_client import Api, assert_problem, unique_name
from testkit.server import Server

ORIGIN = "https://app.example.com"
LARGE = "/customers"
STREAM = "/taxidata?limit=0&format=ndjson"
DECODE = {"gzip": gzip.decompress, "br": brotli.decompress}


def raw(api, path, encoding, **headers):
    """The response, and its body as sent on the wire."""
    response = api.get(path, headers={"Accept-Encoding": encoding, **headers}, stream=True)
    return response, b"".join(response.raw.stream(decode_content=False))


@pytest.mark.parametrize("encoding", DECODE)
@pytest.mark.parametrize("path", [LARGE, STREAM, "/openapi.json", "/assets/swagger-ui-bundle.js"])
def test_a_compressed_response_has_the_same_content(api, path, encoding):
    plain, whole = raw(api, path, "identity")
    assert "Content-Encoding" not in plain.headers
    packed, body = raw(api, path, encoding)
    if len(whole) < 500:  # not worth it
        assert body == whole
        return
    assert packed.headers["Content-Encoding"] == encoding
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert len(body) < len(whole) / 2
    assert DECODE[encoding](body) == whole


@pytest.mark.parametrize("encoding", ["gzip;q=0", "identity", "identity;q=1, *;q=0", "deflate", ""])
@pytest.mark.parametrize("path", [LARGE, STREAM])
def test_a_client_without_accept_encoding_gets_no_compression(api, path, encoding):
    response, _ = raw(api, path, encoding)
    assert "Content-Encoding" not in response.headers
    assert "Accept-Encoding" in response.headers["Vary"]


def test_the_first_rows_of_a_compressed_stream_can_be_read_before_the_rest_is_sent(api):
    with api.get(STREAM, headers={"Accept-Encoding": "gzip"}, stream=True) as response:
        first = next(response.raw.stream(decode_content=False))
    lines = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(first).splitlines()
    assert json.loads(lines[0])["tpep_pickup_datetime"] == "2019-01-28T00:02:14"


@pytest.fixture
def path(api):
    """A customer large enough to be compressed."""
    address = {"AddressLine1": "x" * 60, "AddressLine2": "y" * 60}
    made = api.new_customer(unique_name(), WebsiteURL="z" * 256, Delivery=address)
    return f"/customer/{made['CustomerID']}"


@pytest.mark.parametrize("encoding", DECODE)
def test_the_tag_of_a_compressed_response_differs_and_works_in_both_preconditions(
    api, path, encoding
):
    plain, _ = raw(api, path, "identity")
    packed, _ = raw(api, path, encoding)
    assert packed.headers["Content-Encoding"] == encoding
    tag = packed.headers["ETag"]
    assert tag != plain.headers["ETag"]
    unchanged, body = raw(api, path, encoding, **{"If-None-Match": tag})
    assert (unchanged.status_code, body) == (304, b"")
    assert unchanged.headers["ETag"] == tag
    changed = api.patch(path, json={"PhoneNumber": "1"}, headers={"If-Match": tag})
    assert changed.status_code == 200
    stale = api.patch(path, json={"PhoneNumber": "2"}, headers={"If-Match": tag})
    assert_problem(stale, 412, "precondition-failed")


@pytest.mark.parametrize(
    "path", ["/customer/123", LARGE, "/taxidata", "/", "/docs", "/openapi.json"]
)
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_head_is_get_without_the_body(api, path, encoding):
    headers = {"Accept-Encoding": encoding}
    get, head = api.get(path, headers=headers), api.head(path, headers=headers)
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    for name in ("Content-Type", "Content-Length", "Content-Encoding", "ETag", "Vary"):
        assert head.headers.get(name) == get.headers.get(name)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/customer/123", "private, no-cache"),
        (LARGE, "private, no-cache"),
        (STREAM, "private, no-cache"),
        ("/openapi.json", "private, no-cache"),
        ("/health/ready", "no-store"),
        ("/customer/0", "no-store"),
        ("/nothing", "no-store"),
        ("/taxidata?limit=x", "no-store"),
        ("/assets/landing.css", "public, max-age=0"),
        ("/assets/chartist.js", "public, max-age=86400"),
    ],
)
def test_every_response_has_cache_control(api, path, says):
    assert api.get(path).headers["Cache-Control"] == says


def test_options_lists_the_methods_and_the_accepted_media_types(api):
    response = api.options("/customer/123")
    assert response.status_code == 200
    methods = set(response.headers["Allow"].split(", "))
    assert methods == {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"}
    assert "application/json" in response.headers["Accept-Patch"]
    assert "Accept-Post" not in response.headers
    assert "application/json" in api.options("/customers").headers["Accept-Post"]


def test_without_cors_origins_no_origin_is_allowed(api):
    response = api.get("/customer/123", headers={"Origin": ORIGIN})
    assert not [name for name in response.headers if name.startswith("Access-Control-")]


@pytest.fixture(scope="module")
def shared(run_folder, worker_id):
    with Server(run_folder / f"cors-{worker_id}", CORS_ORIGINS=ORIGIN) as server:
        yield server


def test_a_configured_origin_may_call_and_read_the_exposed_headers(shared):
    with Api(shared.url) as api:
        headers = api.get("/customer/123", headers={"Origin": ORIGIN}).headers
        assert headers["Access-Control-Allow-Origin"] == ORIGIN
        exposed = headers["Access-Control-Expose-Headers"]
        for name in ("ETag", "Link", "Location", "Idempotency-Replayed", "Retry-After"):
            assert name in exposed
        preflight_headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "PATCH"}
        preflight_headers["Access-Control-Request-Headers"] = "if-match"
        preflight = api.options("/customer/123", headers=preflight_headers).headers
        assert preflight["Access-Control-Allow-Origin"] == ORIGIN
        assert "PATCH" in preflight["Access-Control-Allow-Methods"]
        assert "if-match" in preflight["Access-Control-Allow-Headers"]


def test_another_origin_is_not_allowed(shared):
    with Api(shared.url) as api:
        response = api.get("/customer/123", headers={"Origin": "https://elsewhere.example"})
        assert "Access-Control-Allow-Origin" not in response.headers
