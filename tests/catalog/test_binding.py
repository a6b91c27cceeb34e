"""A request's values become a procedure's parameters; every fault is found at once."""

import contextlib
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.binding import MOST_FAULTS, bind
from catalog.operations import build
from catalog.sql_types import postgresql_type, t_sql_type
from catalog.types import Column, table_of
from catalog.values import ValueFault, from_json, from_text
from tests.catalog.made import postgresql, t_sql


def operation(procedure):
    return build([procedure]).operations[0]


def kind(written):
    """`pg:type` is PostgreSQL's."""
    dialect, _, name = written.rpartition("pg:")
    return postgresql_type(name) if written.startswith("pg:") else t_sql_type(dialect or name)


JSON_VALUES = [
    ("int", 7, 7),
    ("int", 7.0, 7),
    ("int", Decimal("7.0"), 7),
    ("tinyint", 255, 255),
    ("bigint", -(2**63), -(2**63)),
    ("decimal(10,2)", Decimal("-99999999.99"), Decimal("-99999999.99")),
    ("decimal(10,2)", 1.25, Decimal("1.25")),
    ("decimal(10,2)", 0.1 + 0.2, Decimal("0.3")),
    ("decimal(10,2)", Decimal("1E+3"), Decimal("1000")),
    ("money", Decimal("922337203685477.5807"), Decimal("922337203685477.5807")),
    ("pg:numeric", Decimal("1" * 50 + ".5"), Decimal("1" * 50 + ".5")),
    ("float", 1, 1.0),
    ("real", 1.5, 1.5),
    ("bit", True, True),
    ("nvarchar(2)", "öß", "öß"),
    ("nvarchar(2)", "\U0001f600", "\U0001f600"),
    ("varchar(2)", "", ""),
    ("date", "0001-01-01", "0001-01-01"),
    ("date", "2024-02-29", "2024-02-29"),
    ("datetime", "1753-01-01T00:00:00", "1753-01-01T00:00:00"),
    ("datetime2", "9999-12-31T23:59:59.1234567", "9999-12-31T23:59:59.1234567"),
    ("datetime2", "2026-01-31 13:45", "2026-01-31T13:45:00"),
    ("datetime2(3)", "2026-01-31T13:45:00.1000000", "2026-01-31T13:45:00.1"),
    ("datetimeoffset", "2026-01-31T13:45:00Z", "2026-01-31T13:45:00+00:00"),
    ("datetimeoffset", "2026-01-31T13:45:00.5-0130", "2026-01-31T13:45:00.5-01:30"),
    ("datetimeoffset", "2026-01-31T13:45:07.5+14:01", "2026-01-30T23:44:07.5+00:00"),
    ("time", "13:45", "13:45:00"),
    (
        "uniqueidentifier",
        "6F9619FF-8B86-D011-B42D-00C04FC964FF",
        "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    ),
    ("varbinary(3)", "AQID", b"\x01\x02\x03"),
    ("xml", "<a/>", "<a/>"),
    ("pg:jsonb", {"a": [1, Decimal("1.10")]}, '{"a":[1,1.10]}'),
    ("pg:jsonb", '{"a": 1}', '{"a": 1}'),
    ("pg:integer[]", [1, None, 3], '{"1",NULL,"3"}'),
    ("pg:text[]", ['a"b\\', "", "NULL"], '{"a\\"b\\\\","","NULL"}'),
    ("pg:bytea[]", ["AQI="], '{"\\\\x0102"}'),
    ("pg:boolean[]", [True, False], '{"True","False"}'),
    ("int", None, None),
]


@pytest.mark.parametrize(("written", "value", "expected"), JSON_VALUES)
def test_a_json_value_is_read(written, value, expected):
    found = from_json(kind(written), value)
    assert (found, type(found)) == (expected, type(expected))


JSON_FAULTS = [
    ("int", "7", "must be an integer from -2147483648 to 2147483647"),
    ("int", True, "must be an integer"),
    ("int", 7.5, "must be an integer"),
    ("int", 2**31, "must be from -2147483648 to 2147483647"),
    ("int", float("inf"), "must be an integer"),
    ("int", [], "must be an integer"),
    ("tinyint", -1, "must be from 0 to 255"),
    ("decimal(10,2)", 1.005, "must have at most 2 digits after the point"),
    ("decimal(3)", 1.5, "must be a whole number"),
    ("decimal(10,2)", 100000000, "must be from -99999999.99 to 99999999.99"),
    ("decimal(10,2)", "1.5", "must be a number"),
    ("decimal(10,2)", float("nan"), "must be a number"),
    ("decimal(10,2)", Decimal("1E+999999"), "must have at most 1000 digits"),
    ("money", Decimal("922337203685477.5808"), "must be from"),
    ("real", 1e39, "must be from"),
    ("float", 10**400, "must be a number that a double can hold"),
    ("float", True, "must be a number"),
    ("bit", 1, "must be true or false"),
    ("nvarchar(2)", "abc", "must have at most 2 UTF-16 code units"),
    ("nvarchar(2)", "a\U0001f600", "must have at most 2 UTF-16 code units"),
    ("varchar(2)", "abc", "must have at most 2 characters"),
    ("nvarchar(max)", "a\x00", "must not contain the character U+0000"),
    ("nvarchar(max)", "\ud800", "must not contain half of a surrogate pair"),
    ("nvarchar(max)", 5, "must be a string"),
    ("date", "2023-02-29", "must be a date of the calendar"),
    ("date", "0000-01-01", "must be a date of the calendar, from 0001-01-01 to 9999-12-31"),
    ("date", "10000-01-01", "must be a date, such as 2026-01-31"),
    ("date", "٢٠٢٦-01-01", "must be a date, such as"),
    ("datetime", "1752-12-31T00:00:00", "must be from 1753-01-01 to 9999-12-31"),
    ("datetime", "2026-01-01T00:00:00.1234", "must have at most 3 digits after the second"),
    ("smalldatetime", "2079-06-07T00:00:00", "must be from 1900-01-01 to 2079-06-06"),
    ("datetime2", "2026-01-01T00:00:00Z", "must have no offset"),
    ("datetime2", "2026-01-01T00:00:00+01:00", "must have no offset"),
    ("datetime2", "2026-01-01T24:00:00", "must be a time from 00:00:00 to 23:59:59"),
    ("datetime2", "2026-01-01x00:00:00", "must be a date and time, such as"),
    ("datetimeoffset", "2026-01-01T00:00:00+24:00", "must have an offset from -23:59 to +23:59"),
    ("datetimeoffset", "0001-01-01T00:00:00+14:01", "must be from 0001-01-01 to 9999-12-31 in UTC"),
    ("datetimeoffset", "2026-01-01T00:00:00Zx", "must be a date and time, such as"),
    ("time", "25:00", "must be a time from"),
    ("uniqueidentifier", "abc", "must be a UUID, such as"),
    ("varbinary(2)", "AQID", "must have at most 2 bytes, not 3"),
    ("varbinary(2)", "A", "must be base64"),
    ("pg:jsonb", "{", "must be JSON"),
    ("pg:jsonb", float("nan"), "must be JSON without NaN and Infinity"),
    ("pg:jsonb", "NaN", "must be JSON"),
    ("pg:integer[]", 1, "must be an array"),
    ("pg:integer[]", [1, "x"], "item 1 must be an integer from"),
]


@pytest.mark.parametrize(("written", "value", "sentence"), JSON_FAULTS)
def test_a_json_value_that_the_database_can_not_hold_is_refused(written, value, sentence):
    with pytest.raises(ValueFault) as raised:
        from_json(kind(written), value)
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("written", "texts", "expected"),
    [
        ("int", ["+7"], 7),
        ("bit", ["True"], True),
        ("bit", ["1"], True),
        ("bit", ["FALSE"], False),
        ("bit", ["0"], False),
        ("decimal(10,2)", ["1e1"], Decimal("10")),
        ("float", [".5"], 0.5),
        ("datetime2", ["2026-01-31 13:45:00"], "2026-01-31T13:45:00"),
        ("datetime2", ["2026-01-31"], "2026-01-31T00:00:00"),
        ("datetimeoffset", ["2026-01-31T13:45:00 01:00"], "2026-01-31T13:45:00+01:00"),
        ("datetimeoffset", ["2026-01-31"], "2026-01-31T00:00:00+00:00"),
        ("varbinary(9)", ["-_8"], b"\xfb\xff"),
        ("varbinary(9)", [" /8="], b"\xfb\xff"),
        ("nvarchar(9)", [" a "], " a "),
        ("pg:integer[]", ["1", "2"], '{"1","2"}'),
        ("pg:integer[]", ["1"], '{"1"}'),
        ("pg:jsonb", ["[1]"], "[1]"),
    ],
)
def test_a_text_of_a_query_is_read_leniently(written, texts, expected):
    assert from_text(kind(written), texts) == expected


@pytest.mark.parametrize(
    ("written", "texts", "sentence"),
    [
        ("int", [""], "must be an integer"),
        ("int", [" 1"], "must be an integer"),
        ("int", ["1_000"], "must be an integer"),
        ("int", ["٣"], "must be an integer"),
        ("int", ["9" * 5000], "must be an integer"),
        ("int", ["1", "2"], "must be given once, not 2 times"),
        ("bit", ["yes"], "must be true or false"),
        ("decimal(10,2)", ["NaN"], "must be a number"),
        ("pg:numeric", ["1e9999"], "must have at most 1000 digits"),
        ("float", ["inf"], "must be a number"),
        ("float", ["1e999"], "must be a number that a double can hold"),
        ("pg:integer[]", ["1", "x"], "must be an integer"),
    ],
)
def test_a_text_of_a_query_can_be_wrong(written, texts, sentence):
    with pytest.raises(ValueFault) as raised:
        from_text(kind(written), texts)
    assert sentence in str(raised.value)


LINES = table_of(
    "api.OrderLines",
    (Column("Item", t_sql_type("nvarchar(5)"), False), Column("Amount", t_sql_type("int"))),
)


def test_a_table_type_takes_objects():
    assert from_json(LINES, [{"amount": 3, "ITEM": "pen"}, {"Item": "ink"}]) == [
        ("pen", 3),
        ("ink", None),
    ]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({}, "must be an array of objects"),
        ([1], "item 0 must be an object"),
        ([{}], "item 0 must have the member Item"),
        ([{"Item": "a"}, {"Item": "b", "x": 1}], "item 1 has the unknown member 'x'; known: Item"),
        ([{"Item": "a", "Amount": "1"}], "item 0, member Amount, must be an integer"),
    ],
)
def test_rows_of_a_table_type_are_checked(value, sentence):
    with pytest.raises(ValueFault) as raised:
        from_json(LINES, value)
    assert sentence in str(raised.value)


UPDATE = operation(
    t_sql("api.update_order @OrderID int, @Amount decimal(5,2) = 0, @Due date, @Note nvarchar(5)")
)
GET = operation(t_sql("api.get_orders @Größe int = 1, @open bit = 0, @since date = NULL"))


def test_values_are_bound_by_the_declared_names_in_the_declared_order():
    found = bind(UPDATE, {"OrderID": "7"}, [], {"note": None, "DUE": "2026-01-31", "amount": 5})
    assert found.faults == ()
    assert list(found.values.items()) == [
        ("OrderID", 7),
        ("Amount", Decimal("5")),
        ("Due", "2026-01-31"),
        ("Note", None),
    ]


def test_what_is_left_out_is_left_to_the_database():
    assert bind(GET, {}) == ({}, ())
    assert bind(GET, {}, [("OPEN", "1"), ("größe", "2")]).values == {"Größe": 2, "open": True}


def test_every_fault_is_listed():
    found = bind(
        UPDATE, {"OrderID": "x"}, [("q", "1")], {"Amount": 1000, "Duo": 1, "note": "longer"}
    )
    assert found.faults == (
        ("path", "OrderID", "OrderID must be an integer from -2147483648 to 2147483647."),
        ("query", "q", "q is unknown; known: none."),
        ("body", "Duo", "Duo is unknown; Due is known."),
        ("body", "Amount", "Amount must be from -999.99 to 999.99."),
        ("body", "note", "note must have at most 5 UTF-16 code units."),
        ("body", "Due", "Due is required."),
    )


def test_a_long_list_of_faults_ends():
    body = {f"x{number}": 1 for number in range(1000)}
    assert len(bind(UPDATE, {"OrderID": "7"}, [], body).faults) == MOST_FAULTS


@pytest.mark.parametrize("body", [None, [], "x", 5])
def test_a_body_that_is_no_object_is_one_fault(body):
    found = bind(UPDATE, {"OrderID": "7"}, [], body)
    assert found.faults == (("body", "", "The body must be a JSON object."),)


def test_a_member_given_twice_in_two_spellings_is_refused():
    body = {"due": "2026-01-31", "Due": "2026-01-31", "Note": "x"}
    found = bind(UPDATE, {"OrderID": "7"}, [], body)
    assert [fault.sentence for fault in found.faults] == [
        "due is given 2 times.",
        "Due is given 2 times.",
    ]


def test_a_query_parameter_is_given_once():
    found = bind(GET, {}, [("open", "1"), ("open", "0")])
    assert [fault.sentence for fault in found.faults] == ["open must be given once, not 2 times."]


def test_outputs_that_go_to_http_are_not_taken_from_a_request():
    create = operation(t_sql("api.create_order @a int, @total money OUTPUT, @ETag int OUTPUT"))
    assert bind(create, {}, [], {"a": 1, "total": 2}).faults == ()
    assert bind(create, {}, [], {"a": 1, "etag": 2}).faults[0].name == "etag"
    assert bind(create, {}, [], {"a": 1}).values == {"a": 1}


def test_a_document_gets_all_of_a_request():
    patch = operation(
        t_sql(
            "web.patch_customer @Json nvarchar(max)", described="@route PATCH /c/{CustomerID:int}"
        )
    )
    found = bind(
        patch,
        {"CustomerID": "7"},
        [("a", "1"), ("b", "2"), ("b", "3"), ("x", "query")],
        {"x": {"y": Decimal("1.10")}, "CustomerID": 8},
    )
    assert found.faults == ()
    assert json.loads(found.values["Json"], parse_float=Decimal) == {
        "CustomerID": 7,
        "a": "1",
        "b": ["2", "3"],
        "x": {"y": Decimal("1.10")},
    }
    assert bind(patch, {"CustomerID": "x"}).faults[0].place == "path"


def test_a_document_of_postgresql_is_bound_by_its_name():
    create = operation(postgresql("create_order", ("payload", "jsonb")))
    assert bind(create, {}, [], {"ß": 1}).values == {"payload": '{"ß":1}'}


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def test_a_document_nested_too_deeply_is_a_fault():
    create = operation(postgresql("create_order", ("payload", "jsonb")))
    assert bind(create, {}, [], {"a": deep(100_000)}).faults[0].sentence == (
        "The document must be nested less deeply."
    )


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
TYPES = sorted({written for written, *_ in JSON_VALUES})


@given(written=st.sampled_from(TYPES), value=ANY_JSON)
def test_any_json_value_is_read_or_refused(written, value):
    with contextlib.suppress(ValueFault):
        from_json(kind(written), value)


@given(written=st.sampled_from(TYPES), text=st.text() | st.from_regex(r"[0-9+\-.:TZ eE]{1,30}"))
def test_any_text_is_read_or_refused(written, text):
    with contextlib.suppress(ValueFault):
        from_text(kind(written), [text])
