"""A procedure's name and parameters give its routes; a description overrides them."""

from dataclasses import replace

import pytest
from werkzeug.routing import Map, Rule

from catalog.operation import object_schema
from catalog.operations import RouteConflict, build
from tests.catalog.made import postgresql, t_sql


def lines(*procedures, **options):
    """`METHOD /route id status/no row/no result` of each operation."""
    return [
        f"{o.method} {o.route} {o.operation_id} {o.status}/{o.no_row}/{o.no_result}"
        for o in build(procedures, **options).operations
    ]


def reason(*procedures, **options):
    (refusal,) = build(procedures, **options).refusals
    return refusal.reason


TABLE = {
    "get_order @OrderID int": ["GET /order/{OrderID} getOrder 200/404/404"],
    "get_order @OrderID int, @lines bit = 0": ["GET /order/{OrderID} getOrder 200/404/404"],
    "get_order @order_id int": ["GET /order/{order_id} getOrder 200/404/404"],
    "get_order @ID int": ["GET /order/{ID} getOrder 200/404/404"],
    "get_order @order int": ["GET /order/{order} getOrder 200/404/404"],
    "get_order @id int, @OrderID int": ["GET /order/{OrderID} getOrder 200/404/404"],
    "get_order @OrderID int = NULL": ["GET /order getOrder 200/200/200"],
    "GET_Order @OrderID int": ["GET /order/{OrderID} getOrder 200/404/404"],
    "get_order_line @OrderLineID int": ["GET /order_line/{OrderLineID} getOrderLine 200/404/404"],
    "get_order_line @order_line_id int": [
        "GET /order_line/{order_line_id} getOrderLine 200/404/404"
    ],
    "get_orders": ["GET /orders getOrders 200/200/200"],
    "get_orders @OrderID int": ["GET /orders getOrders 200/200/200"],
    "list_orders @id int": ["GET /orders listOrders 200/200/200"],
    "search_orders @q nvarchar(50)": ["GET /orders searchOrders 200/200/200"],
    "create_order @x int": [
        "POST /order createOrder 201/201/201",
        "PUT /order putOrder 201/201/201",
    ],
    "put_order @x int": ["POST /order postOrder 201/201/201", "PUT /order putOrder 201/201/201"],
    "post_order @x int": ["POST /order postOrder 201/201/201", "PUT /order putOrder 201/201/201"],
    "insert_order": ["POST /order insertOrder 201/201/201", "PUT /order putOrder 201/201/201"],
    "add_order @OrderID int": [
        "POST /order addOrder 201/201/201",
        "PUT /order putOrder 201/201/201",
    ],
    "replace_order @OrderID int, @x int": ["PUT /order/{OrderID} replaceOrder 200/404/204"],
    "update_order @OrderID int": ["PATCH /order/{OrderID} updateOrder 200/404/204"],
    "patch_order @OrderID int": ["PATCH /order/{OrderID} patchOrder 200/404/204"],
    "delete_order @OrderID int": ["DELETE /order/{OrderID} deleteOrder 200/404/204"],
    "remove_order @OrderID int": ["DELETE /order/{OrderID} removeOrder 200/404/204"],
    "approve_order @OrderID int": ["POST /order/{OrderID}/approve approveOrder 200/200/204"],
    "approve_order @why nvarchar(9)": ["POST /order/approve approveOrder 200/200/204"],
    "recalculate @year int": ["POST /recalculate recalculate 200/200/204"],
    "get_größe @größe_id int": ["GET /größe/{größe_id} getGröße 200/404/404"],
}


@pytest.mark.parametrize(("header", "expected"), TABLE.items(), ids=TABLE)
def test_a_route_follows_from_a_name(header, expected):
    assert lines(t_sql(f"api.{header}")) == expected


def test_parameters_have_their_places():
    def places(header, described=""):
        (first, *_) = build([t_sql(f"api.{header}", described=described)]).operations
        return [(place, p.name) for place, p in first.parameters]

    assert places("get_order @OrderID int, @lines bit = 0") == [
        ("path", "OrderID"),
        ("query", "lines"),
    ]
    assert places("create_order @OrderID int, @a int") == [("body", "OrderID"), ("body", "a")]
    assert places("update_order @a int, @OrderID int") == [("path", "OrderID"), ("body", "a")]
    assert places("delete_order @OrderID int, @why int = 1") == [
        ("path", "OrderID"),
        ("query", "why"),
    ]
    assert places("create_order @a int, @total money OUTPUT, @ETag int OUTPUT") == [
        ("body", "a"),
        ("body", "total"),
    ]


def test_a_route_in_the_description_overrides():
    lines_of = t_sql(
        "api.get_lines @OrderID int, @top int = 5",
        described="The lines of an order.\n@route GET /orders/{orderid}/lines",
    )
    assert lines(lines_of) == ["GET /orders/{OrderID}/lines getLines 200/200/200"]
    (operation,) = build([lines_of]).operations
    assert [(place, p.name) for place, p in operation.parameters] == [
        ("path", "OrderID"),
        ("query", "top"),
    ]
    assert operation.summary == "The lines of an order."


def test_several_routes_are_all_served():
    trips = t_sql("dbo.get_taxidata", described="@route GET /taxidata\n@route GET /taxidataall")
    assert lines(trips) == [
        "GET /taxidata getTaxidata 200/200/200",
        "GET /taxidataall getTaxidataall 200/200/200",
    ]


def test_a_document_takes_path_query_and_body():
    customer = t_sql(
        "web.get_customer @Json nvarchar(max)", described="@route GET /customer/{CustomerID:int}"
    )
    (operation,) = build([customer]).operations
    assert operation.document.name == "Json"
    assert operation.route == "/customer/{CustomerID}"
    assert [(place, p.name, p.type.sql) for place, p in operation.parameters] == [
        ("path", "CustomerID", "bigint")
    ]


@pytest.mark.parametrize(
    ("types", "is_document"),
    [
        ([("p_json", "text")], True),
        ([("json", "text")], True),
        ([("payload", "jsonb")], True),
        ([("payload", "json")], True),
        ([("", "text")], True),
        ([("name", "text")], False),
        ([("payload", "jsonb"), ("n", "integer")], False),
    ],
)
def test_one_json_parameter_of_postgresql_is_the_document(types, is_document):
    (operation, *_) = build([postgresql("create_order", *types)]).operations
    assert (operation.document is not None) == is_document


def test_a_short_text_named_json_is_no_document():
    (operation,) = build([t_sql("api.get_x @Json nvarchar(100)")]).operations
    assert operation.document is None


@pytest.mark.parametrize(
    ("procedure", "sentence"),
    [
        (t_sql("api.get_x @a geography"), "a has the type geography, which no JSON value stands"),
        (t_sql("api.get_x @a sql_variant = NULL"), "sql_variant"),
        (t_sql("api.get_x", allowed=False), "the API's login may not execute it; grant EXECUTE."),
        (t_sql("api.get_x", described="Old.\n@private"), "it is marked @private."),
        (
            t_sql("api.get_x", described="@private it is old"),
            "@private it is old: the one value is mcp.",
        ),
        (t_sql("api.get_x", reason="it is overloaded"), "it is overloaded."),
        (t_sql("api.get_x", described="@route FETCH /x"), "@route FETCH /x: write a method out of"),
        (t_sql("api.get_x", described="@route GET x"), "@route GET x: write a method"),
        (t_sql("api.get_x", described="@results two"), "@results two: the one value is many."),
        (t_sql("api.get_x @a int", described="@route GET /x/{b}"), "names {b}; its parameters: a."),
        (t_sql("api.get_x @a int", described="@route GET /{a}/{A}"), "names {A}"),
        (t_sql("api.get_x", name="get_a b"), "its name 'get_a b' can't be part of a URL; add an @"),
        (t_sql("api.get_x", name="get_a/b"), "can't be part of a URL"),
        (postgresql("get_x", ("a", "text"), ("A", "text")), "names that differ in case only."),
        (postgresql("get_x", ("a", "interval")), "a has the type interval"),
        (postgresql("get_x", ("a", "interval[]")), "a has the type interval[]"),
    ],
)
def test_what_has_no_route_has_a_reason(procedure, sentence):
    assert sentence in reason(procedure)


def test_a_python_resource_comes_first():
    taken = {("GET", "/order/{}"): "Order"}
    found = build([t_sql("api.get_order @OrderID int")], taken=taken)
    assert found.operations == ()
    assert found.refusals[0].reason == (
        "GET /order/{OrderID} is served by Order, a Python resource, which comes first."
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (t_sql("api.get_order @OrderID int"), t_sql("sales.get_order @id int")),
        (t_sql("api.get_order"), t_sql("api.get_order", database="WWIF")),
        (t_sql("api.create_order"), t_sql("api.put_order")),
        (
            t_sql("api.get_x", described="@route GET /A/b"),
            t_sql("api.a", described="@route GET /a/B"),
        ),
    ],
)
def test_two_procedures_of_one_route_stop_the_start_and_are_both_named(first, second):
    with pytest.raises(RouteConflict) as raised:
        build([first, second])
    assert f"{first.qualified} of {first.database}" in str(raised.value)
    assert f"{second.qualified} of {second.database}" in str(raised.value)


def test_what_is_not_exposed_conflicts_with_nothing():
    found = build([t_sql("api.get_order"), t_sql("b.get_order", described="@private")])
    assert len(found.operations) == len(found.refusals) == 1


def test_a_rule_has_names_that_werkzeug_takes():
    (operation,) = build(
        [t_sql("api.x @größe int, @b int", described="@route GET /a/{b}/{größe}")]
    ).operations
    rules = Map([Rule(operation.rule, endpoint="x")]).bind("localhost")
    _, arguments = rules.match("/a/1/2")
    assert operation.path_texts(arguments) == {"b": "1", "größe": "2"}


def test_parameters_have_a_schema_together():
    procedure = t_sql("api.create_order @a tinyint, @b nvarchar(5) = N'x'")
    first, second = procedure.parameters
    described = replace(procedure, parameters=(first, replace(second, description="Why.")))
    assert object_schema(build([described]).operations[0].body) == {
        "type": "object",
        "properties": {
            "a": {"type": ["integer", "null"], "minimum": 0, "maximum": 255, "format": "int32"},
            "b": {
                "type": ["string", "null"],
                "pattern": "^[^\\u0000]*$",
                "maxLength": 5,
                "description": "Why.",
            },
        },
        "required": ["a"],
        "additionalProperties": False,
    }


def test_every_operation_has_an_id_of_its_own():
    found = build([t_sql("api.get_order"), t_sql("b.get_order", described="@route GET /b/order")])
    assert [o.operation_id for o in found.operations] == ["getOrder", "erpApiGetOrder"]


def test_a_created_row_is_found_where_it_is_read():
    found = build([t_sql("api.get_order @OrderID int"), t_sql("api.create_order @a int")])
    assert {o.method: o.location for o in found.operations} == {
        "GET": "",
        "POST": "/order/{OrderID}",
        "PUT": "/order/{OrderID}",
    }


def test_writes_are_done_exactly_once_where_that_can_be_promised():
    found = build(
        [
            t_sql("api.get_order @OrderID int"),
            t_sql("api.approve_order @OrderID int"),
            t_sql("api.check_order", described="@readonly"),
            t_sql("api.rebuild_order", described="@nontransactional"),
            t_sql("api.approve_bill", database="CRM"),
        ],
        keyed={"ERP"},
    )
    promised = {o.operation_id: (o.reads, o.exactly_once, o.why_not) for o in found.operations}
    assert promised == {
        "getOrder": (True, False, ""),
        "approveOrder": (False, True, ""),
        "checkOrder": (True, False, ""),
        "rebuildOrder": (
            *(False, False),
            "It is marked @nontransactional: it is never repeated after it may have run.",
        ),
        "approveBill": (
            *(False, False),
            "CRM lacks the key table: flask sql deploy --target CRM --keys makes it.",
        ),
    }
