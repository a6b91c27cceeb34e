"""Typed columns through psqlodbc: the values that CSV and Arrow get are those of the JSON."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from catalog import statements
from catalog.discovery import reader_of
from catalog.procedure import Procedure
from connection_manager import ConnectionManager
from embedded.cluster import API_ROLE, EmbeddedCluster
from protocol.arrow import arrow_stream
from protocol.rows import csv_text

# (type, literal, value of the typed path, CSV)
VALUES: list[tuple[str, str, Any, str]] = [
    ("boolean", "true", True, "true"),
    ("boolean", "false", False, "false"),
    ("smallint", "-32768", -32768, "-32768"),
    ("bigint", "9223372036854775807", 2**63 - 1, "9223372036854775807"),
    ("numeric", "12345678901234567890.000000000100", None, "12345678901234567890.000000000100"),
    ("numeric(10,2)", "0.10", Decimal("0.10"), "0.10"),
    ("float8", "0.1", 0.1, "0.1"),
    ("text", "Łódź 🦊", "Łódź 🦊", "Łódź 🦊"),
    ("uuid", "6F9619FF-8B86-D011-B42D-00C04FC964FF", "6f9619ff-8b86-d011-b42d-00c04fc964ff", ""),
    ("date", "2026-01-31", datetime.date(2026, 1, 31), "2026-01-31"),
    ("time", "13:45:00", datetime.time(13, 45), "13:45:00"),
    (
        "timestamp",
        "2026-01-31 13:45:00.123456",
        datetime.datetime(2026, 1, 31, 13, 45, 0, 123456),
        "2026-01-31T13:45:00.123456",
    ),
    ("timestamptz", "2026-01-31 13:45:00.5+05:30", "2026-01-31T08:15:00.5+00:00", ""),
    ("bytea", "\\x00ff", b"\x00\xff", "AP8="),
    ("json", '{"a": [1, null]}', '{"a": [1, null]}', '"{""a"": [1, null]}"'),
    ("jsonb", '{"b":1,"a":2}', '{"a": 2, "b": 1}', '"{""a"": 2, ""b"": 1}"'),
    ("int[]", "{1,NULL,3}", "[1,null,3]", '"[1,null,3]"'),
    ("text[]", '{"a,b",NULL,"q\\"x"}', r'["a,b",null,"q\"x"]', ""),
    ("interval", "1 day 02:00:00", "1 day 02:00:00", ""),
    ("inet", "10.0.0.1/8", "10.0.0.1/8", ""),
    ("xml", "<a>ł</a>", "<a>ł</a>", ""),
    ("money", "1234.50", None, ""),
]
DECLARED = ", ".join(f"c{n} {kind}" for n, (kind, *_) in enumerate(VALUES))
LITERALS = ", ".join(f"$v${text}$v$::{kind}" for kind, text, *_ in VALUES)
NULLS = ", ".join(f"NULL::{kind}" for kind, *_ in VALUES)
FUNCTIONS = f"""
DROP SCHEMA IF EXISTS api CASCADE; CREATE SCHEMA api; GRANT USAGE ON SCHEMA api TO "{API_ROLE}";
CREATE FUNCTION api.get_values(copies int) RETURNS TABLE ({DECLARED}) LANGUAGE sql STABLE AS $$
    SELECT {LITERALS} FROM generate_series(1, copies) $$;
CREATE FUNCTION api.get_nulls() RETURNS TABLE ({DECLARED}) LANGUAGE sql STABLE AS $$
    SELECT {NULLS} $$;
"""


@pytest.fixture
def manager(cluster: EmbeddedCluster) -> Iterator[ConnectionManager]:
    text = cluster.connection_string(role=API_ROLE)
    made = ConnectionManager(text, family="postgresql", max_size=1)
    yield made
    assert made.close()


@pytest.fixture
def found(manager: ConnectionManager) -> dict[str, Procedure]:
    def query(sql: str, *values: Any) -> list[Any]:
        with manager.checkout() as connection:
            return connection.execute(sql, *values)._raw.fetchall()

    read = reader_of("postgresql", "ERP", ["api"]).read(query)
    return {procedure.name: procedure for procedure in read}


def typed_row(manager: ConnectionManager, procedure: Procedure, **values: Any) -> tuple[Any, ...]:
    statement = statements.call(procedure, values)
    (result,) = manager.execute(procedure.qualified, statement, repeatable=True)
    return tuple(result.rows[0])


def test_each_type_becomes_the_value_that_json_has(
    manager: ConnectionManager, found: dict[str, Procedure]
):
    procedure = found["get_values"]
    row = typed_row(manager, procedure, copies=1)
    statement = statements.call(procedure, {"copies": 1}, rows_as_json=True)
    (encoded,) = manager.execute(procedure.qualified, statement, repeatable=True)
    document = json.loads(encoded.rows[0][0], parse_float=Decimal)
    for place, (kind, literal, expected, _) in enumerate(VALUES):
        value = row[place]
        if kind == "numeric":
            assert value == Decimal(literal), kind
        elif expected is not None:
            assert (type(value), value) == (type(expected), expected), kind
        in_json = document[f"c{place}"]
        if isinstance(value, bytes):
            value = base64.b64encode(value).decode()
        elif isinstance(value, (datetime.date, datetime.time)):
            value = value.isoformat()
        elif isinstance(value, float):
            value = Decimal(repr(value))
        elif kind.endswith("[]") or kind.startswith("json"):
            value = json.loads(value)
        assert value == in_json, kind


def test_null_is_none_in_every_type(manager: ConnectionManager, found: dict[str, Procedure]):
    assert set(typed_row(manager, found["get_nulls"])) == {None}


def test_csv_and_arrow_hold_every_row(manager: ConnectionManager, found: dict[str, Procedure]):
    import pyarrow as pa

    procedure = found["get_values"]
    statement = statements.call(procedure, {"copies": 1000}, open_cursor=True)
    rows = manager.stream_rows(procedure.qualified, statement)
    lines = "".join(csv_text(rows.columns, rows)).splitlines()
    assert len(lines) == 1001
    for _, _, _, csv in VALUES:
        assert csv in lines[-1]
    rows = manager.stream_rows(procedure.qualified, statement)
    table = pa.ipc.open_stream(b"".join(arrow_stream(rows.columns, rows))).read_all()
    types = dict(zip([kind for kind, *_ in VALUES], table.schema.types, strict=True))
    assert table.num_rows == 1000
    assert {k: str(types[k]) for k in ("boolean", "timestamptz", "bytea", "int[]")} == {
        "boolean": "bool",
        "timestamptz": "string",
        "bytea": "binary",
        "int[]": "string",
    }
    # Both streams were read to their end: the connection is used again, outside a transaction.
    with manager.checkout() as connection:
        assert connection.autocommit
    assert manager.stats().size == 1
