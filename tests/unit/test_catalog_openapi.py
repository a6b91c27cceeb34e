"""The OpenAPI document of catalog operations, from procedures as a catalog would declare them."""

import json
from dataclasses import replace

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from catalog.description import read_description
from catalog.operations import Catalog, build
from catalog.procedure import Direction, Parameter, Procedure, Result
from catalog.sql_types import t_sql_type
from catalog.types import Column
from operations.openapi import document
from operations.postman import collection
from protocol.formats import ARROW, CSV, JSON, NDJSON
from testkit.routes import application

COLUMNS = (
    Column("OrderID", t_sql_type("int"), nullable=False),
    Column("Amount", t_sql_type("decimal(10,2)")),
)


def parameter(name, sql, **more):
    return Parameter(name, t_sql_type(sql), **more)


def procedure(name, *parameters, written="", columns=COLUMNS, **more):
    described = read_description(written)
    texts = dict(described.tags.parameters)
    more.setdefault("result", Result(columns, many=described.tags.many_results))
    return Procedure(
        database="ERP",
        schema="api",
        name=name,
        engine="sqlserver",
        parameters=tuple(replace(p, description=texts.get(p.folded, "")) for p in parameters),
        summary=described.summary,
        description=described.text,
        tags=described.tags,
        **more,
    )


KEY = parameter("OrderID", "int")
NEW = (parameter("Customer", "nvarchar(40)"), parameter("Amount", "decimal(10,2)", required=False))
PROCEDURES = [
    procedure("get_order", KEY, written="Returns one order.\nWith its amount.\n@param OrderID Key"),
    procedure("list_orders", parameter("Since", "date", required=False, default="'2026-01-01'")),
    procedure("create_order", *NEW),
    procedure("approve_order", KEY, columns=None, result=Result(empty=True)),
    procedure("delete_order", KEY, written="@nontransactional"),
    procedure("get_totals", parameter("Total", "money", direction=Direction.OUT)),
    procedure("get_everything", written="@results many"),
    procedure("get_report", columns=(Column("Json", t_sql_type("nvarchar(max)")),)),
    procedure("get_secret", written="@private"),
    procedure("import_orders", parameter("Json", "nvarchar(max)"), columns=None),
    procedure("get_page", parameter("ETag", "varchar(40)", direction=Direction.OUT)),
]


@pytest.fixture(scope="module")
def app(run_folder, worker_id):
    with application(run_folder / f"catalog-openapi-{worker_id}") as made:
        yield made


@pytest.fixture(scope="module")
def described(app):
    return document(app, build(PROCEDURES, keyed={"ERP"}).operations)


def operation(described, method, path):
    return described["paths"][path][method]


def schema(described, response):
    found = response["content"][JSON]["schema"]
    return resolved(described, found.get("items", found))


def resolved(described, found):
    name = found.get("$ref", "").rpartition("/")[2]
    return described["components"]["schemas"][name] if name else found


def test_it_is_openapi_3_1(described):
    assert list(OpenAPIV31SpecValidator(described).iter_errors()) == []


def test_texts_come_from_the_database(described):
    found = operation(described, "get", "/order/{OrderID}")
    assert (found["operationId"], found["tags"]) == ("getOrder", ["order"])
    assert (found["summary"], found["description"]) == ("Returns one order", "With its amount.")
    assert found["parameters"][0] == {
        "name": "OrderID",
        "in": "path",
        "required": True,
        "description": "Key",
        "schema": t_sql_type("int").json_schema(),
    }


def test_a_procedure_without_a_description_has_a_summary_of_its_name(described):
    assert operation(described, "get", "/orders")["summary"] == "List orders"


def test_one_row_may_be_missing_and_a_list_may_not(described):
    one = operation(described, "get", "/order/{OrderID}")["responses"]
    many = operation(described, "get", "/orders")["responses"]
    assert "404" in one
    assert "404" not in many
    assert list(one["200"]["content"]) == [JSON]
    assert list(many["200"]["content"]) == [JSON, NDJSON, CSV, ARROW]


def test_a_row_has_the_columns_of_the_result(described):
    row = schema(described, operation(described, "get", "/orders")["responses"]["200"])
    assert row["properties"] == {
        "OrderID": {"type": "integer", "format": "int32"},
        "Amount": {"type": ["number", "null"]},
    }
    assert row["required"] == ["OrderID", "Amount"]


def test_a_query_parameter_shows_its_default(described):
    since = operation(described, "get", "/orders")["parameters"][0]
    assert since["description"] == "Default: '2026-01-01'"
    assert "required" not in since


def test_a_body_requires_what_has_no_default_and_has_an_example(described):
    create = operation(described, "post", "/order")
    body = resolved(described, create["requestBody"]["content"][JSON]["schema"])
    assert body["required"] == ["Customer"]
    assert body["examples"] == [{"Customer": "text", "Amount": 1}]
    assert create["requestBody"]["required"] is True
    assert {"201", "400", "409", "503", "504"} <= create["responses"].keys()
    assert {"Location", "Idempotency-Replayed"} == create["responses"]["201"]["headers"].keys()


def headers_of(found):
    return {p["name"] for p in found["parameters"] if p["in"] == "header"}


def test_a_key_is_offered_only_where_exactly_once_is_promised(described):
    assert "Idempotency-Key" in headers_of(operation(described, "post", "/order"))
    delete = operation(described, "delete", "/order/{OrderID}")
    assert "Idempotency-Key" not in headers_of(delete)
    assert (
        "`Idempotency-Key` is not accepted here. It is marked @nontransactional"
        in (delete["description"])
    )
    assert "Idempotency-Key" not in headers_of(operation(described, "get", "/orders"))


def test_without_a_key_table_the_document_names_the_reason(app):
    found = operation(document(app, build(PROCEDURES, keyed=()).operations), "post", "/order")
    assert "Idempotency-Key" not in headers_of(found)
    assert "ERP lacks the key table" in found["description"]


def test_no_result_is_204(described):
    approve = operation(described, "post", "/order/{OrderID}/approve")
    assert "content" not in approve["responses"]["204"]
    assert "200" not in approve["responses"]


def test_outputs_and_several_results_have_their_shapes(described):
    totals = schema(described, operation(described, "get", "/totals")["responses"]["200"])
    assert totals["required"] == ["items", "outputs"]
    assert totals["properties"]["outputs"]["properties"] == {"Total": {"type": ["number", "null"]}}
    everything = schema(described, operation(described, "get", "/everything")["responses"]["200"])
    assert everything["required"] == ["results"]


def test_an_etag_is_an_output_of_http(described):
    page = operation(described, "get", "/page")
    assert "If-None-Match" in headers_of(page)
    assert {"304"} <= page["responses"].keys()
    assert "ETag" in page["responses"]["200"]["headers"]
    assert schema(described, page["responses"]["200"])["properties"].keys() == {"OrderID", "Amount"}


def test_json_text_has_an_open_schema_and_one_media_type(described):
    assert operation(described, "get", "/report")["responses"]["200"]["content"] == {
        JSON: {"schema": {}}
    }


def test_a_json_parameter_takes_any_object(described):
    body = operation(described, "post", "/orders/import")["requestBody"]
    assert body == {"required": False, "content": {JSON: {"schema": {"type": "object"}}}}


def test_what_is_private_is_absent(described):
    assert "/secret" not in described["paths"]


def test_operation_ids_are_unique_also_across_python_and_the_catalog(app):
    twin = procedure("list_customers", written="@route GET /clients")
    found = document(app, build([*PROCEDURES, twin]).operations)
    ids = [o["operationId"] for item in found["paths"].values() for o in item.values()]
    assert len(set(ids)) == len(ids)
    assert operation(found, "get", "/clients")["operationId"] == "listCustomers2"


def test_routes_of_one_procedure_are_one_operation(app):
    written = "Finds orders.\n@route GET /find/{OrderID}\n@route GET /search/{OrderID}"
    found = document(app, build([procedure("find_order", KEY, written=written)]).operations)
    assert "/search/{OrderID}" not in found["paths"]
    described = operation(found, "get", "/find/{OrderID}")
    assert described["description"].endswith("The same response at `/search/{OrderID}`.")


def test_every_operation_has_a_description(described):
    operations = [one for item in described["paths"].values() for one in item.values()]
    assert all(one["description"] for one in operations)


def test_postman_creates_before_it_changes_and_accepts_documented_statuses(described):
    made = json.loads(json.dumps(collection(described)))
    (folder,) = [folder for folder in made["item"] if folder["name"] == "order"]
    names = [item["name"].split(":")[0] for item in folder["item"]]
    assert names[:2] == ["POST /order", "PUT /order"]
    assert names[-1] == "DELETE /order/{OrderID}"
    delete = folder["item"][-1]
    assert delete["request"]["url"]["variable"] == [
        {"key": "OrderID", "value": "{{created_order}}"}
    ]
    assert "pm.expect(statuses)" in "".join(delete["event"][0]["script"]["exec"])


def test_the_served_document_follows_the_catalog(app):
    live = app.extensions["catalog"].live
    live.current = build(PROCEDURES)
    client = app.test_client()
    assert "/orders" in client.get("/openapi.json").json["paths"]
    live.current = Catalog()
    assert "/orders" not in client.get("/openapi.json").json["paths"]
