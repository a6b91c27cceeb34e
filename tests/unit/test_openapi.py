"""The OpenAPI document of the sample: valid, with exactly its routes and its problems."""

import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from operations.openapi import VERSION, document, path_of
from protocol.problems import MEDIA_TYPE, PROBLEM_TYPES
from resources.taxidata import TRIP
from settings import ROOT
from testkit.routes import application

UNSPOKEN = {"HEAD", "OPTIONS"}
PAGES = {("/", "get"), ("/docs", "get"), ("/status", "get"), ("/assets/{name}", "get")}
ALIASES = {
    ("/taxidataall", "get"): "/taxidata",
    ("/taxidataprice/{amount}", "get"): "/taxidata/{amount}",
    ("/taxidateprice/{amount}", "get"): "/taxidata/{amount}",
}
# Its messages are described by the Model Context Protocol.
MCP = {("/mcp", "post")}


@pytest.fixture(scope="module")
def app(run_folder, worker_id):
    with application(run_folder / f"openapi-{worker_id}") as made:
        yield made


@pytest.fixture(scope="module")
def described(app):
    return document(app)


def operations(described):
    return [operation for item in described["paths"].values() for operation in item.values()]


def parameters(described, path, method="get"):
    return {(p["in"], p["name"]): p for p in described["paths"][path][method]["parameters"]}


def test_it_is_openapi_3_1(described):
    assert list(OpenAPIV31SpecValidator(described).iter_errors()) == []


def test_it_describes_every_route_but_pages_aliases_and_mcp_and_nothing_else(app, described):
    served = {
        (path_of(rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods - UNSPOKEN
    }
    listed = {(path, method) for path, item in described["paths"].items() for method in item}
    assert listed == served - PAGES - MCP - ALIASES.keys()


@pytest.mark.parametrize(("alias", "path"), [(a[0], path) for a, path in ALIASES.items()])
def test_an_alias_is_in_the_description_of_its_operation(described, alias, path):
    assert f"`{alias}`" in described["paths"][path]["get"]["description"]


def test_every_operation_has_a_summary_a_description_and_an_id_of_its_own(described):
    ids = [operation["operationId"] for operation in operations(described)]
    assert len(set(ids)) == len(ids)
    assert all(operation["summary"] for operation in operations(described))
    assert all(operation["description"] for operation in operations(described))


def test_every_query_parameter_is_described(described):
    for operation in operations(described):
        for parameter in operation.get("parameters", ()):
            assert parameter["in"] == "path" or parameter["description"], parameter


def test_operations_are_grouped_by_resource_and_the_servers_own_come_last(described):
    names = [tag["name"] for tag in described["tags"]]
    assert names == ["customer", "taxidata", "passenger", "server"]
    groups = [operation["tags"] for operation in operations(described)]
    assert groups == sorted(groups, key=lambda tags: names.index(tags[0]))


def test_trying_a_read_out_asks_for_few_rows(described):
    for path, item in described["paths"].items():
        for parameter in item.get("get", {}).get("parameters", ()):
            if parameter["name"] == "limit":
                assert parameter["example"] == 10, path


def test_every_operation_says_whether_it_requires_a_credential(described):
    """Redocly's rule security-defined; [] is none."""
    assert all(operation["security"] == [] for operation in operations(described))


def test_operation_ids_are_good_names_in_clients(described):
    ids = {
        (path, method): operation["operationId"]
        for path, item in described["paths"].items()
        for method, operation in item.items()
    }
    assert ids["/customer/{customer_id}", "get"] == "getCustomer"
    assert ids["/customer/{customer_id}", "put"] == "replaceCustomer"
    assert ids["/customer/{customer_id}", "patch"] == "updateCustomer"
    assert ids["/customer/{customer_id}", "delete"] == "deleteCustomer"
    assert (ids["/customer", "put"], ids["/customer", "post"]) == ("putCustomer", "createCustomer")
    assert (ids["/customers", "get"], ids["/customers", "post"]) == (
        *("listCustomers", "createCustomers"),
    )
    assert ids["/taxidata/{amount}", "get"] == "listTaxidataByAmount"
    assert ids["/health/ready", "get"] == "getHealthReady"


def test_every_part_of_a_path_is_a_parameter(described):
    for path, item in described["paths"].items():
        for method, operation in item.items():
            named = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path)), (method, path)


def test_every_operation_on_a_database_lists_503_and_504(described):
    for path, item in described["paths"].items():
        if path.startswith(("/customer", "/taxi", "/passengers")):
            for operation in item.values():
                assert {"503", "504"} <= operation["responses"].keys()


def test_every_error_is_a_problem(described):
    for path, item in described["paths"].items():
        for operation in item.values():
            for status, response in operation["responses"].items():
                if status >= "400" and path != "/health/ready":
                    assert list(response["content"]) == [MEDIA_TYPE]


def test_the_statuses_are_those_of_the_problem_types(described):
    known = {str(problem.status) for problem in PROBLEM_TYPES.values()}
    listed = {status for operation in operations(described) for status in operation["responses"]}
    assert {status for status in listed if status >= "400"} <= known


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_a_change_takes_a_key_and_a_precondition(described, method):
    taken = parameters(described, "/customer/{customer_id}", method)
    assert {("header", "Idempotency-Key"), ("header", "If-Match")} <= taken.keys()


def test_a_query_is_described_by_what_validates_it(described):
    taken = parameters(described, "/customers")
    assert taken["query", "limit"]["schema"] == {
        "type": "integer",
        "minimum": 0,
        "maximum": 2_147_483_647,
        "default": 10_000,
    }
    fields = taken["query", "fields"]
    assert fields["explode"] is False
    assert fields["schema"]["items"]["enum"][:2] == ["CustomerID", "CustomerName"]
    assert parameters(described, "/taxidata/summary")["query", "by"]["required"]


def test_a_body_is_described_by_what_validates_it(described):
    content = described["paths"]["/customer"]["put"]["requestBody"]["content"]
    assert set(content) == {
        *("application/json", "application/x-www-form-urlencoded", "multipart/form-data"),
    }
    name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schema = described["components"]["schemas"][name]
    assert schema["required"] == ["CustomerName"]
    assert schema["properties"]["CustomerName"]["maxLength"] == 100
    assert schema["additionalProperties"] is False


def test_a_trip_has_its_18_columns_in_their_order(described):
    trip = described["components"]["schemas"]["Trip"]
    assert tuple(trip["properties"]) == tuple(TRIP) == tuple(trip["required"])
    assert len(TRIP) == 18


def test_customer_123_is_the_example(described):
    assert parameters(described, "/customer/{customer_id}")["path", "customer_id"]["example"] == 123
    customer = described["components"]["schemas"]["CustomerAnswer"]["examples"][0]
    assert customer["CustomerName"] == "Tailspin Toys (Roe Park, NY)"


def test_the_version_is_written_in_one_place():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'version = { attr = "operations.openapi.VERSION" }' in project
    assert VERSION not in project
    assert VERSION in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
