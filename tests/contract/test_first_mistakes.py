"""Common first mistakes of clients: the response names the mistake and the remedy."""

import re

import pytest

from testkit.api_client import assert_problem, unique_name

# What only pydantic, or a regular expression, would say.
NOT_FOR_CLIENTS = re.compile(r"[Ii]nput should|Extra inputs|a valid|pattern|\\x|\[0-9\]|\^|\$")
JSON = {"Content-Type": "application/json"}
ALL_WRONG = {
    "CustomerName": 7,
    "PhoneNumber": "1" * 21,
    "FaxNumber": "",
    "Delivery": [],
    "Colour": "red",
}


def details(problem):
    faults = problem["errors"]
    return {f["parameter"] if "parameter" in f else f["pointer"]: f["detail"] for f in faults}


def test_the_faults_of_a_body_are_plain_sentences(api):
    problem = assert_problem(api.put("/customer", json=ALL_WRONG), 422, "invalid-body")
    assert details(problem) == {
        "/CustomerName": "must be a string",
        "/PhoneNumber": "must have at most 20 UTF-16 code units",
        "/FaxNumber": "must not be empty; null means no value",
        "/Delivery": "must be a JSON object",
        "/Colour": "is unknown; remove it",
    }
    problem = assert_problem(api.put("/customer", json={}), 422, "invalid-body")
    assert details(problem) == {"/CustomerName": "is required"}
    problem = assert_problem(api.post("/customers", json=[]), 422, "invalid-body")
    assert details(problem) == {"": "must have 1 or more items"}


@pytest.mark.parametrize(
    ("path", "sentences"),
    [
        (
            "/customers?limit=-1&fields=Colour&sort=up&format=xml&page=2&name=%00",
            {
                "limit": "must be at least 0",
                "fields": "must be 'CustomerID', 'CustomerName', 'PhoneNumber', 'FaxNumber',"
                " 'WebsiteURL' or 'Delivery'",
                "sort": "must be 'CustomerID', '-CustomerID', 'CustomerName' or '-CustomerName'",
                "format": "must be 'json', 'ndjson', 'csv' or 'arrow'",
                "page": "is unknown; remove it",
                "name": "must be 1 to 100 characters without U+0000",
            },
        ),
        (
            "/customers?after=x&limit=ten",
            {
                "after": "must be the `after` of a page's Link: a CustomerID, or a CustomerID,"
                " a colon and a name",
                "limit": "must be a whole number",
            },
        ),
        (
            "/taxidata?pickup_from=2019-02-31&payment_type=40000&total_amount=1e9",
            {
                "pickup_from": "must be a date and time that exists, such as 2019-01-31T13:34:15",
                "payment_type": "must be at most 32767",
                "total_amount": "must be at most 10000000.0",
            },
        ),
        ("/taxidata/summary", {"by": "is required"}),
        (
            "/passengers?survived=maybe&pclass=4",
            {"survived": "must be true or false", "pclass": "must be at most 3"},
        ),
    ],
)
def test_the_faults_of_a_query_are_plain_sentences(api, path, sentences):
    problem = assert_problem(api.get(path), 400, "invalid-query")
    assert details(problem) == sentences


def test_an_amount_in_the_path_is_refused_without_a_regular_expression(api):
    problem = assert_problem(api.get("/taxidata/many"), 400, "invalid-path")
    assert problem["detail"].startswith("amount must be an amount such as 20 or 7.80")
    assert not NOT_FOR_CLIENTS.search(problem["detail"])


@pytest.mark.parametrize("method", ["put", "post"])
def test_a_duplicate_name_is_given_as_the_reason(api, method):
    name = unique_name()
    api.new_customer(name)
    response = getattr(api, method)("/customer", json={"CustomerName": name})
    problem = assert_problem(response, 409, "conflict")
    assert problem["detail"] == "A customer of this name exists."
    bulk = api.post("/customers", json=[{"CustomerName": name}])
    assert problem["detail"][1:] in assert_problem(bulk, 409, "conflict")["detail"]


@pytest.mark.parametrize("method", ["put", "patch"])
def test_a_change_to_a_duplicate_name_has_the_same_reason(api, method):
    name = unique_name()
    api.new_customer(name)
    number = api.new_customer()["CustomerID"]
    response = getattr(api, method)(f"/customer/{number}", json={"CustomerName": name})
    assert assert_problem(response, 409, "conflict")["detail"] == "A customer of this name exists."


def test_json_sent_as_a_form_is_refused_with_the_header_to_send(api):
    body = f'{{"CustomerName": "{unique_name()}"}}'
    form = {"Content-Type": "application/x-www-form-urlencoded"}  # as curl -d says
    problem = assert_problem(api.post("/customer", data=body, headers=form), 415)
    assert "send the header Content-Type: application/json" in problem["detail"]
    # A bytes body has no Content-Type at all here.
    problem = assert_problem(api.post("/customer", data=body.encode()), 415)
    assert problem["detail"].startswith("Content-Type is missing: send application/json")


def test_the_refusal_of_a_large_body_gives_the_limit(api):
    response = api.post("/customer", data=b" " * 1_048_577, headers=JSON)
    problem = assert_problem(response, 413, "too-large")
    assert problem["detail"] == "The request body is larger than 1048576 bytes."


@pytest.mark.parametrize("path", ["/customers?limit=1", "/passengers?limit=1"])
def test_the_link_to_the_next_page_is_absolute(api, path):
    link = api.get(path).headers["Link"]
    assert link.startswith(f"<{api.url}{path.partition('?')[0]}?")
    following = re.fullmatch(r'<(.*)>; rel="next"', link)[1]
    assert api.get(following.removeprefix(api.url)).status_code == 200


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("/customer/123/", "/customer/123"),
        ("/docs/", "/docs"),
        ("/customers/?limit=1&name=a%26b", "/customers?limit=1&name=a%26b"),
        ("/taxidata/%E2%82%AC//", "/taxidata/%E2%82%AC"),
    ],
)
def test_a_trailing_slash_is_redirected(api, path, canonical):
    response = api.get(path, allow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (308, canonical)


@pytest.mark.parametrize(
    "path", ["/nowhere/", "/customer/", "/customer/x/", "//example.com/", "/docs%2f"]
)
def test_a_trailing_slash_on_an_unknown_route_is_not_found(api, path):
    assert_problem(api.get(path, allow_redirects=False), 404, "not-found")


def test_a_change_with_a_trailing_slash_works_after_its_redirect(api):
    number = api.new_customer()["CustomerID"]
    changed = api.patch(f"/customer/{number}/", json={"PhoneNumber": "1"})
    assert changed.json()[0]["PhoneNumber"] == "1"


def test_no_write_has_the_number_of_a_customer_as_example(api):
    """Swagger UI fills examples in: DELETE would remove customer 123."""
    paths = api.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method in methods.keys() - {"get"}:
            for parameter in methods[method].get("parameters", ()):
                assert "example" not in parameter, (method, path)
                assert "examples" not in parameter["schema"], (method, path)
