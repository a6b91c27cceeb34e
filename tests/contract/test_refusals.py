"""What is refused, refused whole: every fault at once, as a problem, and no connection taken."""

import json

import pytest

from testkit.api_client import Api, assert_problem, unique_name
from testkit.server import Server

JSON = {"Content-Type": "application/json"}
FAULTY = {
    "CustomerName": "",
    "PhoneNumber": 12,
    "Fax": "1",
    "WebsiteURL": ["http://x"],
    "Delivery": {"AddressLine1": "x" * 61, "PostalCode": 1.5, "Country": "CH"},
}
FAULTS = {
    "/CustomerName",
    "/PhoneNumber",
    "/Fax",
    "/WebsiteURL",
    "/Delivery/AddressLine1",
    "/Delivery/PostalCode",
    "/Delivery/Country",
}


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/customer"), ("PUT", "/customer/123"), ("PATCH", "/customer/123")]
)
def test_all_faults_of_a_body_are_told_at_once(api, method, path):
    response = api.request(method, path, json=FAULTY)
    assert_problem(response, 422, "invalid-body", pointers=FAULTS)


def test_all_faults_of_a_query_are_told_at_once(api):
    response = api.get("/customers", params={"limit": "many", "sort": "Phone", "colour": "red"})
    assert_problem(response, 400, "invalid-query", parameters={"limit", "sort", "colour"})


def test_a_parameter_given_twice_is_refused(api):
    response = api.get("/taxidata?limit=1&limit=2")
    assert_problem(response, 400, "invalid-query", parameters={"limit"})


def test_a_customer_without_a_name_is_refused(api):
    response = api.put("/customer", json={"PhoneNumber": "1"})
    assert_problem(response, 422, "invalid-body", pointers={"/CustomerName"})


@pytest.mark.parametrize("body", ["null", "1", '"x"', "[]", "[1]", "true"])
def test_a_body_that_is_no_object_is_refused(api, body):
    assert_problem(api.put("/customer", data=body, headers=JSON), 422, "invalid-body")


def test_a_key_with_slash_and_tilde_is_pointed_at_by_the_rules_of_json_pointer(api):
    body = {"CustomerName": unique_name(), "a/b~c": 1}
    response = api.put("/customer", json=body)
    assert_problem(response, 422, "invalid-body", pointers={"/a~1b~0c"})


@pytest.mark.parametrize(
    "body",
    [
        *(
            "",
            " ",
            "{",
            '{"CustomerName":',
            "{'CustomerName': 'x'}",
            '{"CustomerName": x}',
            "{} {}",
        ),
        *("[" * 10_000, '{"a":' * 5_000),
    ],
    ids=lambda body: body[:12],
)
def test_what_is_not_json_is_told_by_its_place(api, body):
    response = api.put("/customer", data=body, headers=JSON)
    problem = assert_problem(response, 400, "invalid-json")
    assert "line" in problem["detail"]
    assert "column" in problem["detail"]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_is_no_postal_code(api, value):
    body = f'{{"CustomerName": "{unique_name()}", "Delivery": {{"PostalCode": {value}}}}}'
    response = api.put("/customer", data=body, headers=JSON)
    assert response.status_code in (400, 422)
    assert_problem(response, response.status_code)


def test_broken_json_in_a_form_is_told_alike(api):
    response = api.put("/customer", data={"customer": "{"})
    assert_problem(response, 400, "invalid-json")


def test_a_form_without_the_field_customer_is_refused_by_its_name(api):
    problem = assert_problem(api.put("/customer", data={"client": "{}"}), 422)
    assert "customer" in problem["detail"]


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "", "application/jsonp"])
def test_a_body_of_another_kind_is_an_unsupported_media_type(api, media_type):
    response = api.put("/customer", data="{}", headers={"Content-Type": media_type})
    problem = assert_problem(response, 415, "unsupported-media-type")
    assert "application/json" in problem["detail"]


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "APPLICATION/JSON"])
def test_a_media_type_is_read_by_the_rules_of_http(api, media_type):
    body = json.dumps({"CustomerName": unique_name()})
    response = api.put("/customer", data=body, headers={"Content-Type": media_type})
    assert response.status_code == 201


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_a_body_of_more_than_a_mebibyte_is_too_large(api, kind):
    body = b"customer=" + b" " * 1_048_576
    response = api.put("/customer", data=body, headers={"Content-Type": kind})
    assert_problem(response, 413, "too-large")


@pytest.mark.parametrize(
    "path", ["/nothing", "/customer/", "/customer/1/2", "/Customer/1", "/customers/1"]
)
def test_an_unknown_route_is_a_problem(api, path):
    assert_problem(api.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/customer", {"PUT", "POST"}),
        ("/customer/123", {"GET", "PUT", "PATCH", "DELETE"}),
        ("/taxidata", {"GET"}),
        ("/taxidateprice/20", {"GET"}),
    ],
)
def test_a_method_that_a_route_lacks_is_a_problem_that_names_those_it_has(api, path, methods):
    for method in {"GET", "PUT", "POST", "PATCH", "DELETE", "PROPFIND"} - methods:
        response = api.request(method, path)
        assert_problem(response, 405, "method-not-allowed")
        allowed = set(response.headers["Allow"].replace(" ", "").split(","))
        assert allowed - {"HEAD", "OPTIONS"} == methods


@pytest.mark.parametrize("amount", ["abc", "NaN", "inf", "1e3", "0x14", "20.", "--1", "9" * 30])
def test_an_amount_that_is_no_number_is_refused(api, amount):
    assert_problem(api.get(f"/taxidateprice/{amount}"), 400, "invalid-path")


@pytest.mark.parametrize(
    "query",
    [
        *({"limit": -1}, {"limit": "9" * 30}, {"offset": -1}, {"total_amount": "NaN"}),
        *({"pickup_from": "yesterday"}, {"payment_type": "cash"}, {"PULocationID": "1.5"}),
    ],
    ids=str,
)
def test_a_filter_that_can_not_be_read_is_refused_by_its_name(api, query):
    response = api.get("/taxidata", params=query)
    assert_problem(response, 400, "invalid-query", parameters=set(query))


@pytest.fixture(scope="module")
def nowhere(run_folder):
    """The API over a database that can't be reached: whoever asks it for a connection gets 503."""
    text = "SERVER=127.0.0.1;PORT=1;DATABASE=x;UID=x"
    settings = {
        "POSTGRESQLCONNSTR_WWIF": text,
        "POSTGRESQLCONNSTR_TAXI": text,
        # Where a catalog can't be read, any unknown path is a 503.
        "EXPOSED_SCHEMAS": "ELSEWHERE:api",
    }
    with Server(run_folder / "nowhere", **settings) as server, Api(server.url) as api:
        yield api


@pytest.mark.parametrize("path", ["/customer/123", "/customers", "/taxidata", "/taxidataprice/20"])
def test_a_database_that_is_down_is_unavailable_and_says_when_to_come_back(nowhere, path):
    response = nowhere.get(path)
    assert_problem(response, 503, "unavailable")
    assert int(response.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/nothing", {}),
        ("DELETE", "/taxidata", {}),
        ("GET", "/customer/0", {}),
        ("GET", f"/customer/{10**30}", {}),
        ("GET", "/customers?sort=x", {}),
        ("GET", "/taxidata?limit=x", {}),
        ("GET", "/taxidataprice/abc", {}),
        ("PUT", "/customer", {"json": FAULTY}),
        ("PUT", "/customer", {"data": "{", "headers": JSON}),
        ("PUT", "/customer", {"data": "{}", "headers": {"Content-Type": "text/plain"}}),
        ("PUT", "/customer", {"data": b" " * 2_000_000, "headers": JSON}),
        ("PATCH", "/customer/123", {"json": FAULTY}),
        ("PATCH", "/customer/123", {"json": {}, "headers": {"Idempotency-Key": "k" * 256}}),
        ("DELETE", "/customer/123", {"headers": {"If-Match": "unquoted"}}),
        ("GET", "/customer/123", {"headers": {"Request-Timeout": "soon"}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_invalid_request_takes_no_connection(nowhere, method, path, options):
    response = nowhere.request(method, path, **options)
    assert 400 <= response.status_code < 500
    assert_problem(response, response.status_code)
