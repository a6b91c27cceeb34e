"""Typed columns through Microsoft's driver: each SQL type becomes one value, exactly."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest

from database.errors import DatabaseError, Kind
from database.statement import Statement
from protocol.arrow import arrow_stream
from protocol.rows import csv_text, json_objects
from testkit.tds.messages import Column
from testkit.tds.script import Reply, Rows, ServerError
from testkit.tds.server import TdsServer
from tests.wire.conftest import Manage

READ = Statement("EXEC [api].[get_values];")

# (type, value on the server, value in Python, JSON)
VALUES: list[tuple[str, Any, Any, str]] = [
    ("tinyint", 255, 255, "255"),
    ("smallint", -32768, -32768, "-32768"),
    ("int", 2**31 - 1, 2**31 - 1, "2147483647"),
    ("bigint", -(2**63), -(2**63), "-9223372036854775808"),
    ("bit", True, True, "true"),
    ("bit", False, False, "false"),
    ("float", 0.1, 0.1, "0.1"),
    ("real", 0.5, 0.5, "0.5"),
    ("decimal(38,10)", "-1234567890123456789012345678.0123456789", None, ""),
    ("decimal(10,2)", "0.10", Decimal("0.10"), "0.10"),
    ("money", "-922337203685477.5808", Decimal("-922337203685477.5808"), ""),
    ("smallmoney", "214748.3647", Decimal("214748.3647"), "214748.3647"),
    (
        "uniqueidentifier",
        "6F9619FF-8B86-D011-B42D-00C04FC964FF",
        "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        '"6f9619ff-8b86-d011-b42d-00c04fc964ff"',
    ),
    ("date", "0001-01-01", datetime.date(1, 1, 1), '"0001-01-01"'),
    ("time(0)", "23:59:59", datetime.time(23, 59, 59), '"23:59:59"'),
    # Python counts microseconds: the seventh digit is cut, not rounded.
    ("time(7)", "12:00:00.1234569", datetime.time(12, 0, 0, 123456), '"12:00:00.123456"'),
    (
        "datetime2(7)",
        "9999-12-31 23:59:59.9999999",
        datetime.datetime(9999, 12, 31, 23, 59, 59, 999999),
        '"9999-12-31T23:59:59.999999"',
    ),
    (
        "datetime",
        "2026-01-31 13:45:00.5",
        datetime.datetime(2026, 1, 31, 13, 45, 0, 500000),
        '"2026-01-31T13:45:00.500000"',
    ),
    (
        "datetimeoffset(7)",
        "2026-01-31 13:45:00.1234567+05:30",
        "2026-01-31T13:45:00.1234567+05:30",
        '"2026-01-31T13:45:00.1234567+05:30"',
    ),
    (
        "datetimeoffset(0)",
        "2026-01-31 00:15:00-03:30",
        "2026-01-31T00:15:00-03:30",
        '"2026-01-31T00:15:00-03:30"',
    ),
    ("varbinary(8)", b"\x00\xff", b"\x00\xff", '"AP8="'),
    ("varbinary(max)", b"\x01" * 9000, b"\x01" * 9000, ""),
    ("varchar(20)", "Zürich €", "Zürich €", '"Zürich €"'),
    ("varchar(max)", "é" * 9000, "é" * 9000, ""),
    ("nvarchar(20)", "Łódź 🦊", "Łódź 🦊", '"Łódź 🦊"'),
    ("nvarchar(max)", "🦊" * 5000, "🦊" * 5000, ""),
    ("xml", "<a>ł</a>", "<a>ł</a>", '"<a>ł</a>"'),
    ("sql_variant", "Łódź", "Łódź", '"Łódź"'),
]


@pytest.mark.parametrize("case", VALUES, ids=[f"{v[0]}-{n}" for n, v in enumerate(VALUES)])
def test_each_type_becomes_one_value(
    server: TdsServer, catalog_manager: Manage, case: tuple[str, Any, Any, str]
):
    kind, given, expected, json = case
    column = Column("v", kind)
    server.on_execute(lambda _: Reply(Rows((column, Column("after", "int")), [(given, 1)])))
    (found,) = catalog_manager().execute("api.get_values", READ)
    value, after = found.rows[0]
    assert after == 1
    expected = Decimal(given) if expected is None else expected
    assert (type(value), value) == (type(expected), expected)
    if json:
        assert json_objects(["v"], [(value,)]) == [f'{{"v":{json}}}'.encode()]


def test_a_variant_that_the_driver_cannot_read_is_an_error_with_its_remedy(
    server: TdsServer, catalog_manager: Manage
):
    server.on_execute(lambda _: Reply(Rows((Column("v", "sql_variant"),), [(7,)])))
    with pytest.raises(DatabaseError) as raised:
        catalog_manager().execute("api.get_values", READ)
    assert (raised.value.kind, raised.value.sqlstate) == (Kind.FAULTY, "HY106")
    assert "cast the column" in raised.value.said


@pytest.mark.parametrize("kind", sorted({v[0] for v in VALUES} - {"sql_variant"}))
def test_null_is_none_in_every_type(server: TdsServer, catalog_manager: Manage, kind: str):
    server.on_execute(lambda _: Reply(Rows((Column("v", kind),), [(None,)])))
    (found,) = catalog_manager().execute("api.get_values", READ)
    assert [tuple(row) for row in found.rows] == [(None,)]


def test_a_stream_of_typed_rows_is_csv_and_arrow(server: TdsServer, catalog_manager: Manage):
    import pyarrow as pa

    kinds = ("int", "decimal(10,2)", "bit", "datetimeoffset(3)", "uniqueidentifier", "varbinary(4)")
    columns = tuple(Column(f"c{n}", kind) for n, kind in enumerate(kinds))
    row = (1, "2.50", True, "2026-01-31 13:45:00.5+01:00", "6F9619FF-8B86-D011-B42D-00C04FC964FF")
    many = 1000
    server.on_execute(lambda _: Reply(Rows(columns, [(*row, b"\x01")] * many)))
    manager = catalog_manager()
    rows = manager.stream_rows("api.get_values", READ)
    text = "".join(csv_text(rows.columns, rows)).splitlines()
    line = "1,2.50,true,2026-01-31T13:45:00.5+01:00,6f9619ff-8b86-d011-b42d-00c04fc964ff,AQ=="
    assert (text[0], text[1], len(text)) == ("c0,c1,c2,c3,c4,c5", line, many + 1)
    rows = manager.stream_rows("api.get_values", READ)
    table = pa.ipc.open_stream(b"".join(arrow_stream(rows.columns, rows))).read_all()
    assert [str(kind) for kind in table.schema.types] == [
        *("int64", "decimal128(10, 2)", "bool", "string", "string", "binary"),
    ]
    assert table.num_rows == many
    assert table.slice(0, 1).to_pylist()[0]["c3"] == "2026-01-31T13:45:00.5+01:00"


def test_a_stream_read_to_its_end_leaves_a_clean_connection(
    server: TdsServer, catalog_manager: Manage
):
    server.on_execute(lambda _: Reply(Rows((Column("v", "int"),), [(n,) for n in range(500)])))
    manager = catalog_manager()
    for _ in range(3):
        assert sum(map(len, manager.stream_rows("api.get_values", READ))) == 500
    assert len(server.connections) == 1
    assert [request.reset for request in server.executions] == [False, True, True]


@pytest.mark.parametrize("rows", [1, 500])
def test_an_error_after_the_rows_of_a_stream_is_raised(
    server: TdsServer, catalog_manager: Manage, rows: int
):
    part = Rows((Column("v", "int"),), [(n,) for n in range(rows)])
    server.on_execute(lambda _: Reply(part, ServerError(8134, "Divide by zero.")))
    with pytest.raises(DatabaseError) as raised:
        [*catalog_manager().stream_rows("api.get_values", READ)]
    assert raised.value.native == 8134


def test_a_stream_closed_early_leaves_no_connection(server: TdsServer, catalog_manager: Manage):
    server.on_execute(lambda _: Reply(Rows((Column("v", "int"),), [(n,) for n in range(5000)])))
    manager = catalog_manager()
    rows = manager.stream_rows("api.get_values", READ)
    next(iter(rows))
    rows.close()
    assert manager.stats().size == 0
