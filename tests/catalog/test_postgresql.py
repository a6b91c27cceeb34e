"""What PostgreSQL's catalog has of functions and procedures is read as it was declared."""

import pytest

from catalog.discovery import reader_of
from catalog.operations import build
from catalog.procedure import Direction
from catalog.types import Kind

SCRIPT = """
CREATE TABLE api.orders (
    order_id int PRIMARY KEY, customer varchar(20) NOT NULL, amount numeric(10,2));
CREATE DOMAIN api.money_amount AS numeric(8,2);
CREATE DOMAIN api.small_amount AS api.money_amount CHECK (VALUE < 100);
CREATE FUNCTION api.get_order(order_id int) RETURNS SETOF api.orders LANGUAGE sql STABLE
    AS 'SELECT * FROM api.orders o WHERE o.order_id = $1';
COMMENT ON FUNCTION api.get_order IS 'One order.

By its number.
@param order_id The number on the paper.';
CREATE FUNCTION api.get_orders(since date DEFAULT NULL, ids int[] DEFAULT '{1,2}',
        note text DEFAULT 'a, b', until timestamptz DEFAULT now())
    RETURNS TABLE ("OrderID" int, "Größe" api.small_amount) LANGUAGE sql STABLE
    AS 'SELECT 1, 2.5::api.small_amount';
CREATE FUNCTION api.create_order(customer varchar, amount api.small_amount, "Due" timestamp(3))
    RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION api.get_total(OUT total numeric, OUT "ETag" text, INOUT n int) LANGUAGE sql
    AS 'SELECT 1.5, ''x'', 3';
CREATE FUNCTION api.get_document(p_json text, OUT "Json" text) LANGUAGE sql AS 'SELECT ''[]''';
CREATE PROCEDURE api.approve_order(order_id int, INOUT etag text DEFAULT NULL) LANGUAGE plpgsql
    AS $$ BEGIN etag := 'x'; END $$;
CREATE PROCEDURE api.archive() LANGUAGE plpgsql AS 'BEGIN COMMIT; END';
COMMENT ON PROCEDURE api.archive IS '@nontransactional';
CREATE FUNCTION api.touch(x int) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION api.get_json() RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT ''{}''::jsonb';
-- Without a route:
CREATE FUNCTION api.get_over(a int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION api.get_over(a text, b int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION api.get_cursor() RETURNS refcursor LANGUAGE sql AS 'SELECT NULL::refcursor';
CREATE FUNCTION api.get_record() RETURNS SETOF record LANGUAGE sql AS 'SELECT 1, 2';
CREATE FUNCTION api.get_nameless(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION api.get_variadic(VARIADIC a int[]) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION api.get_any(a anyelement) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION api.get_interval(a interval) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION api.get_forbidden() RETURNS int LANGUAGE sql AS 'SELECT 1';
REVOKE EXECUTE ON FUNCTION api.get_forbidden FROM PUBLIC;
-- No candidates:
CREATE FUNCTION api.on_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE AGGREGATE api.total(int) (SFUNC = int4pl, STYPE = int);
-- Overloads of which all but one are private.
CREATE FUNCTION api.get_one(a int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION api.get_one(a text) RETURNS int LANGUAGE sql AS 'SELECT 1';
COMMENT ON FUNCTION api.get_one(text) IS '@private';
"""


@pytest.fixture
def read(postgresql):
    query, run = postgresql
    run(SCRIPT)
    found = reader_of("postgresql", "ERP", ["api"]).read(query)
    return {p.name: p for p in found if not p.tags.private}


def shown(procedure):
    return [(p.name, p.type.sql, p.required, p.direction.name) for p in procedure.parameters]


def test_parameters_have_their_types_and_defaults(read):
    assert shown(read["get_order"]) == [("order_id", "integer", True, "IN")]
    assert shown(read["get_orders"]) == [
        ("since", "date", False, "IN"),
        ("ids", "integer[]", False, "IN"),
        ("note", "text", False, "IN"),
        ("until", "timestamp with time zone", False, "IN"),
    ]
    assert [p.default for p in read["get_orders"].parameters] == [
        "NULL::date",
        "'{1,2}'::integer[]",
        "'a, b'::text",
        "now()",
    ]


def test_a_domain_has_the_limits_of_its_base(read):
    customer, amount, due = read["create_order"].parameters
    assert (amount.type.sql, amount.type.kind) == ("api.small_amount", Kind.DECIMAL)
    assert (str(amount.type.most), amount.type.scale) == ("999999.99", 2)
    assert (customer.type.length, due.type.kind) == (None, Kind.TIMESTAMP)


def test_results_have_their_columns(read):
    def columns(name):
        result = read[name].result
        return result.rows, [(c.name, c.type.sql) for c in result.columns]

    assert columns("get_order") == (
        True,
        [
            ("order_id", "integer"),
            ("customer", "character varying(20)"),
            ("amount", "numeric(10,2)"),
        ],
    )
    assert columns("get_orders") == (
        True,
        [("OrderID", "integer"), ("Größe", "api.small_amount")],
    )
    assert columns("create_order") == (False, [("create_order", "integer")])
    assert columns("get_total") == (
        False,
        [("total", "numeric"), ("ETag", "text"), ("n", "integer")],
    )
    assert columns("get_json") == (False, [("get_json", "jsonb")])
    assert read["touch"].result.empty
    assert read["archive"].result.empty
    assert read["get_document"].result.passes_text


def test_what_a_function_returns_by_out_is_its_columns_and_a_procedures_are_outputs(read):
    assert shown(read["get_total"]) == [("n", "integer", True, "IN")]
    (order_id, etag) = read["approve_order"].parameters
    assert (order_id.direction, etag.direction) == (Direction.IN, Direction.INOUT)
    assert [p.name for p in read["approve_order"].inputs] == ["order_id"]
    assert [p.name for p in read["approve_order"].outputs] == ["etag"]


def test_descriptions_and_volatility(read):
    order = read["get_order"]
    assert (order.summary, order.description) == ("One order.", "By its number.")
    assert order.parameters[0].description == "The number on the paper."
    assert order.reads
    assert not read["create_order"].reads
    assert read["archive"].tags.nontransactional


def test_every_candidate_has_a_route_or_a_reason(read):
    found = build(read.values())
    routes = {f"{o.method} {o.route}": o.procedure.name for o in found.operations}
    assert routes == {
        "GET /order/{order_id}": "get_order",
        "GET /orders": "get_orders",
        "POST /order": "create_order",
        "PUT /order": "create_order",
        "GET /total": "get_total",
        "GET /document": "get_document",
        "POST /order/{order_id}/approve": "approve_order",
        "POST /archive": "archive",
        "POST /touch": "touch",
        "GET /json": "get_json",
        "GET /one": "get_one",
    }
    assert {r.procedure.name: r.reason for r in found.refusals} == {
        "get_over": "it is overloaded: get_over(a integer); get_over(a text, b integer);"
        " give them other names, or mark all but one @private.",
        "get_cursor": "it returns refcursor.",
        "get_record": "it returns record without the names of columns; declare RETURNS TABLE (…).",
        "get_nameless": "its parameter 1 has no name.",
        "get_variadic": "it has a VARIADIC parameter.",
        "get_any": "a has the type anyelement, which no JSON value stands for.",
        "get_interval": "a has the type interval, which no JSON value stands for.",
        "get_forbidden": "the API's login may not execute it; grant EXECUTE.",
    }


@pytest.mark.parametrize(
    "change",
    [
        "CREATE FUNCTION api.get_new() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION api.touch",
        "CREATE OR REPLACE FUNCTION api.touch(x int) RETURNS void LANGUAGE sql STABLE AS ''",
        "ALTER FUNCTION api.touch RENAME TO touched",
        "COMMENT ON FUNCTION api.touch IS '@private'",
        "COMMENT ON FUNCTION api.get_order IS NULL",
        "REVOKE EXECUTE ON FUNCTION api.touch FROM PUBLIC",
        "REVOKE USAGE ON SCHEMA api FROM webapp",
        "ALTER TABLE api.orders ADD COLUMN note text",
        "ALTER TABLE api.orders RENAME COLUMN amount TO total",
    ],
)
def test_every_change_is_noticed(postgresql, change):
    query, run = postgresql
    run(SCRIPT)
    reader = reader_of("postgresql", "ERP", ["api"])
    before, procedures = reader.changes(query), reader.read(query)
    assert reader.changes(query) == before
    run(change)
    assert reader.changes(query) != before
    assert reader.read(query) != procedures


def test_a_schema_that_is_not_there_has_nothing(postgresql):
    query, _ = postgresql
    reader = reader_of("postgresql", "ERP", ["none", "neither"])
    assert reader.read(query) == []
    assert reader.changes(query) == reader.changes(query)
