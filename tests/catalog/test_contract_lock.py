"""A change of the database that breaks a client is named; any other is not."""

import json
from dataclasses import replace

import pytest

from catalog import CatalogError
from catalog.contract_lock import breaking_changes, lock
from catalog.operations import build
from catalog.procedure import Result
from catalog.sql_types import t_sql_type
from catalog.types import Column, table_of
from tests.catalog.made import postgresql, t_sql


def operations(*procedures):
    return build(procedures).operations


def changes(before, after):
    return breaking_changes(lock(operations(before)), operations(after))


def returning(header, *columns, **tags):
    found = tuple(Column(name, t_sql_type(kind)) for name, kind in columns)
    return t_sql(f"api.{header}", result=Result(found, **tags))


SAME = [
    ("get_x @a int", "get_x @a int"),
    ("get_x @a int", "get_x @A int"),
    ("get_x @a int", "get_x @a int = 5"),
    ("get_x @a int", "get_x @a int, @b int = 5"),
    ("get_x @a int", "get_x @a bigint"),
    ("get_x @a tinyint", "get_x @a int"),
    ("get_x @a int", "get_x @a decimal(10,0)"),
    ("get_x @a int", "get_x @a float"),
    ("get_x @a decimal(5,2)", "get_x @a decimal(6,3)"),
    ("get_x @a decimal(5,2)", "get_x @a float"),
    ("get_x @a real", "get_x @a float"),
    ("get_x @a varchar(5)", "get_x @a nvarchar(6)"),
    ("get_x @a varchar(5)", "get_x @a nvarchar(max)"),
    ("get_x @a varbinary(5)", "get_x @a varbinary(max)"),
    ("get_x @a date", "get_x @a datetime2"),
    ("get_x @a datetime", "get_x @a datetime2"),
    ("get_x @a datetime2(3)", "get_x @a datetime2"),
    ("get_x @a uniqueidentifier", "get_x @a nvarchar(max)"),
    ("get_x @xID int", "get_x @ID int"),
    ("create_x @total int OUTPUT", "create_x @total int OUTPUT, @more int OUTPUT"),
]


@pytest.mark.parametrize(("before", "after"), SAME)
def test_what_clients_do_not_notice_is_no_change(before, after):
    assert changes(t_sql(f"api.{before}"), t_sql(f"api.{after}")) == []


BROKEN = [
    ("get_x", "get_y", "GET /x: the route is removed."),
    ("get_x", "get_x @a int", "GET /x: query parameter a is new and required."),
    ("get_x @a int = 1", "get_x @a int", "GET /x: query parameter a is required now."),
    ("get_x @a int", "get_x", "GET /x: query parameter a is removed."),
    ("get_x @a int", "get_x @b int", "GET /x: query parameter a is removed."),
    ("get_x @a bigint", "get_x @a int", "query parameter a is narrowed from bigint to int."),
    ("get_x @a int", "get_x @a tinyint", "query parameter a is narrowed from int to tinyint."),
    ("get_x @a int", "get_x @a decimal(5,0)", "is narrowed from int to decimal(5,0)."),
    ("get_x @a decimal(5,2)", "get_x @a decimal(5,1)", "is narrowed from decimal(5,2) to"),
    ("get_x @a decimal(5,2)", "get_x @a int", "is changed from decimal(5,2) to int."),
    ("get_x @a float", "get_x @a real", "is narrowed from float to real."),
    ("get_x @a int", "get_x @a nvarchar(20)", "is changed from int to nvarchar(20)."),
    ("get_x @a nvarchar(max)", "get_x @a nvarchar(50)", "from nvarchar(max) to nvarchar(50)."),
    ("get_x @a varchar(5)", "get_x @a varchar(4)", "from varchar(5) to varchar(4)."),
    ("get_x @a datetime2", "get_x @a datetime", "from datetime2(7) to datetime."),
    ("get_x @a datetime2(7)", "get_x @a datetime2(3)", "from datetime2(7) to datetime2(3)."),
    ("get_x @a datetime", "get_x @a date", "is changed from datetime to date."),
    ("get_x @xID bigint", "get_x @ID int", "part 1 of the path, ID, is narrowed from bigint to"),
    ("get_x @xID int", "get_x @xID int = 1", "GET /x/{xID}: the route is removed."),
    (
        "create_x @a int",
        "create_x @a int, @b int",
        "POST /x: body parameter b is new and required.",
    ),
    ("create_x @t int OUTPUT", "create_x", "PUT /x: output t is removed."),
    (
        "create_x @a int",
        "create_x @Json nvarchar(max)",
        "POST /x: it takes one JSON document now.",
    ),
    ("create_x @Json nvarchar(max)", "create_x", "it no longer takes one JSON document."),
]


@pytest.mark.parametrize(("before", "after", "sentence"), BROKEN)
def test_what_breaks_a_client_is_named(before, after, sentence):
    found = changes(t_sql(f"api.{before}"), t_sql(f"api.{after}"))
    assert any(sentence in change for change in found), found


def test_columns_may_come_but_not_go():
    before = returning("get_x", ("a", "int"), ("b", "nvarchar(5)"))
    assert (
        changes(before, returning("get_x", ("b", "nvarchar(9)"), ("a", "bigint"), ("c", "bit")))
        == []
    )
    assert changes(before, returning("get_x", ("a", "int"))) == ["GET /x: column b is removed."]
    assert changes(before, returning("get_x", ("a", "int"), ("B", "int"))) == [
        "GET /x: column b is removed."
    ]
    assert changes(before, returning("get_x", ("a", "nvarchar(5)"), ("b", "nvarchar(5)"))) == [
        "GET /x: column a is nvarchar(5), not int."
    ]
    assert changes(before, returning("get_x", ("a", "int"), ("b", "nvarchar(5)"), many=True)) == [
        "GET /x: it returns many result sets."
    ]


def test_columns_that_are_not_known_are_no_change():
    known = returning("get_x", ("a", "int"))
    unknown = t_sql("api.get_x")
    assert changes(known, unknown) == changes(unknown, known) == []


def test_a_parameter_that_may_be_required_is_no_change():
    """Without VIEW DEFINITION the catalog can't tell."""
    known = t_sql("api.get_x @a int")
    unknown = replace(known, parameters=(replace(known.parameters[0], required=None),))
    assert changes(known, unknown) == []


def test_arrays_and_tables_are_compared_inside():
    def array(kind):
        return postgresql("set_x", ("a", kind))

    assert changes(array("integer[]"), array("bigint[]")) == []
    assert changes(array("bigint[]"), array("integer[]")) == [
        "POST /x/set: body parameter a is narrowed from bigint[] to integer[]."
    ]

    def table(*columns):
        found = t_sql("api.set_x @a int")
        kind = table_of("api.T", tuple(Column(n, t_sql_type(t), null) for n, t, null in columns))
        return replace(found, parameters=(replace(found.parameters[0], type=kind),))

    before = table(("i", "int", True))
    assert changes(before, table(("i", "bigint", True), ("j", "int", True))) == []
    assert changes(before, table(("i", "int", True), ("j", "int", False))) == [
        "POST /x/set: body parameter a is narrowed: column j is new and required."
    ]


def test_other_databases_are_left_alone():
    locked = lock(operations(t_sql("api.get_x"), t_sql("api.get_y", database="CRM")))
    assert breaking_changes(locked, [], databases=["CRM"]) == ["GET /y: the route is removed."]


def test_a_lock_file_is_readable_and_always_the_same():
    procedures = [t_sql("api.get_x @größe int"), t_sql("api.create_x @a money = 5")]
    locked = lock(operations(*procedures))
    assert locked == lock(operations(*reversed(procedures)))
    assert "größe" in locked
    assert list(json.loads(locked)["operations"]) == ["GET /x", "POST /x", "PUT /x"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 0, "operations": {}}', "null"])
def test_what_is_no_lock_file_is_refused(text):
    with pytest.raises(CatalogError, match="flask procedures --lock"):
        breaking_changes(text, [])
