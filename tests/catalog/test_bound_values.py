"""What a request's values become is what the database stores."""

import datetime as dt
from decimal import Decimal

import pytest

from catalog import statements
from catalog.binding import bind
from catalog.discovery import reader_of
from catalog.operations import build

BODY = {
    "i": 7,
    "big": -(2**63),
    "n": Decimal("12345678901234567890.123456789"),
    "f": 1.5e-300,
    "b": True,
    "t": "it's \\ größe \U0001f600 ?",
    "u": "6F9619FF-8B86-D011-B42D-00C04FC964FF",
    "d": "0001-01-01",
    "c": "13:45:00.123456",
    "ts": "9999-12-31T23:59:59.123456",
    "tz": "2026-01-31T13:45:00+05:30",
    "bin": "AAECJ1z/",
    "j": {"a": [1, Decimal("1.10"), None, "ü"]},
    "x": "<a>&amp;</a>",
    "ints": [1, None, -3],
    "texts": ['a"b\\', "", "NULL", None, "{}"],
    "bools": [True, False],
    "bins": ["AAEC"],
    "Größe": "ok",
}
FUNCTION = """
CREATE FUNCTION api.create_row(i int, big bigint, n numeric, f float8, b boolean, t text, u uuid,
    d date, c time, ts timestamp, tz timestamptz, bin bytea, j jsonb, x xml, ints int[],
    texts text[], bools boolean[], bins bytea[], "Größe" varchar(2), "left out" int DEFAULT 42)
RETURNS TABLE (i int, big bigint, n text, f float8, b int, t text, u text, d date,
    c text, ts text, tz text, bin bytea, j text, x text, ints text, texts text, bools text,
    bins text, g text, o int) LANGUAGE sql AS $$
SELECT i, big, n::text, f, b::int, t, u::text, d, c::text, ts::text, (tz AT TIME ZONE 'UTC')::text,
    bin, j::text, x::text, ints::text, texts::text, bools::text, bins::text, "Größe", "left out" $$
"""
STORED = (
    *(7, -(2**63), "12345678901234567890.123456789", 1.5e-300, 1, BODY["t"]),
    *("6f9619ff-8b86-d011-b42d-00c04fc964ff", dt.date(1, 1, 1), "13:45:00.123456"),
    *("9999-12-31 23:59:59.123456", "2026-01-31 08:15:00", b"\x00\x01\x02\x27\x5c\xff"),
    *('{"a": [1, 1.10, null, "ü"]}', "<a>&amp;</a>", "{1,NULL,-3}"),
    *('{"a\\"b\\\\","","NULL",NULL,"{}"}', "{t,f}", '{"\\\\x000102"}', "ok", 42),
)


def operation_of(postgresql):
    query, run = postgresql
    run(FUNCTION)
    (operation, _) = build(reader_of("postgresql", "ERP", ["api"]).read(query)).operations
    return operation


def arguments(operation, values):
    types = {p.name: p.type for p in operation.body}
    names = {name: '"' + name.replace('"', '""') + '"' for name in values}
    return ", ".join(f"{names[n]} => CAST(? AS {types[n].sql})" for n in values)


def called(postgresql, body):
    operation = operation_of(postgresql)
    values, faults = bind(operation, {}, [], body)
    assert faults == ()
    text = f"SELECT * FROM {operation.procedure.call_name}({arguments(operation, values)})"
    return tuple(postgresql[0](text, *values.values())[0])


def test_values_arrive_in_postgresql_as_they_were_sent(postgresql):
    assert called(postgresql, BODY) == STORED


def test_nulls_arrive_in_postgresql_as_nulls(postgresql):
    assert called(postgresql, dict.fromkeys(BODY)) == (None,) * (len(STORED) - 1) + (42,)


T_SQL = [
    "CREATE SCHEMA catalog_values",
    """CREATE PROCEDURE catalog_values.create_row @i int, @big bigint, @n decimal(30,9), @f float,
    @b bit, @t nvarchar(50), @u uniqueidentifier, @d date, @c time(6), @dt datetime,
    @ts datetime2(6), @tz datetimeoffset(0), @bin varbinary(10), @größe varchar(2), @out int = 42 AS
    SELECT @i, @big, CAST(@n AS nvarchar(50)), @f, @b, @t, LOWER(CAST(@u AS nvarchar(50))), @d,
        CAST(@c AS nvarchar(50)), @dt, @ts, CAST(SWITCHOFFSET(@tz, '+00:00') AS datetime2(0)), @bin,
        @größe, @out""",
]
T_SQL_BODY = {
    **{
        name: BODY[name]
        for name in ("i", "big", "n", "f", "b", "t", "u", "d", "c", "ts", "tz", "bin")
    },
    "dt": "1753-01-01T13:45:00.003",
    "größe": "ok",
}


def test_values_arrive_in_sql_server_as_they_were_sent(sqlserver):
    query, run = sqlserver
    if query("SELECT SCHEMA_ID(N'catalog_values')")[0][0] is None:
        run(T_SQL[0])
    if query("SELECT OBJECT_ID(N'catalog_values.create_row')")[0][0] is None:
        run(T_SQL[1])
    procedures = reader_of("sqlserver", "ERP", ["catalog_values"]).read(query)
    (operation, _) = build(procedures).operations
    values, faults = bind(operation, {}, [], T_SQL_BODY)
    assert faults == ()
    statement = statements.call(operation.procedure, values)
    row = query(statement.text, *statement.values)[0]
    assert tuple(row) == (
        *(7, -(2**63), "12345678901234567890.123456789", 1.5e-300, True, BODY["t"]),
        *("6f9619ff-8b86-d011-b42d-00c04fc964ff", dt.date(1, 1, 1), "13:45:00.123456"),
        dt.datetime(1753, 1, 1, 13, 45, 0, 3000),
        dt.datetime(9999, 12, 31, 23, 59, 59, 123456),
        dt.datetime(2026, 1, 31, 8, 15),
        *(b"\x00\x01\x02\x27\x5c\xff", "ok", 42),
    )
    run("DROP PROCEDURE catalog_values.create_row")
    run("DROP SCHEMA catalog_values")


@pytest.mark.parametrize("name", sorted(BODY))
def test_a_value_that_is_left_out_is_missed(postgresql, name):
    body = {key: value for key, value in BODY.items() if key != name}
    (fault,) = bind(operation_of(postgresql), {}, [], body).faults
    assert fault.sentence == f"{name} is required."
