"""Types know their limits, and say them as JSON Schema; what the schema allows is accepted."""

import pytest
import schemathesis
from hypothesis import given, settings

from catalog.procedure import Result
from catalog.sql_types import postgresql_type, t_sql_type
from catalog.types import Column, Kind, table_of
from catalog.values import from_json

T_SQL = {
    "int": ("int", Kind.INTEGER),
    "INTEGER": ("int", Kind.INTEGER),
    "dec(9)": ("decimal(9,0)", Kind.DECIMAL),
    "decimal": ("decimal(18,0)", Kind.DECIMAL),
    "numeric(10, 2)": ("decimal(10,2)", Kind.DECIMAL),
    "smallmoney": ("smallmoney", Kind.DECIMAL),
    "float": ("float", Kind.FLOAT),
    "float(24)": ("real", Kind.FLOAT),
    "float(53)": ("float", Kind.FLOAT),
    "double precision": ("float", Kind.FLOAT),
    "bit": ("bit", Kind.BOOLEAN),
    "varchar": ("varchar(1)", Kind.TEXT),
    "varchar(MAX)": ("varchar(max)", Kind.TEXT),
    "national character varying(20)": ("nvarchar(20)", Kind.TEXT),
    "ntext": ("ntext", Kind.TEXT),
    "sysname": ("sysname", Kind.TEXT),
    "varbinary(8)": ("varbinary(8)", Kind.BINARY),
    "image": ("image", Kind.BINARY),
    "uniqueidentifier": ("uniqueidentifier", Kind.UUID),
    "date": ("date", Kind.DATE),
    "time": ("time(7)", Kind.TIME),
    "datetime": ("datetime", Kind.TIMESTAMP),
    "datetime2(3)": ("datetime2(3)", Kind.TIMESTAMP),
    "datetimeoffset": ("datetimeoffset(7)", Kind.TIMESTAMPTZ),
    "xml": ("xml", Kind.XML),
    "json": ("json", Kind.JSON),
    "geography": ("geography", Kind.UNSUPPORTED),
    "hierarchyid": ("hierarchyid", Kind.UNSUPPORTED),
    "sql_variant": ("sql_variant", Kind.UNSUPPORTED),
    "rowversion": ("rowversion", Kind.UNSUPPORTED),
    "CURSOR VARYING": ("CURSOR VARYING", Kind.UNSUPPORTED),
    "dbo.Thing": ("dbo.Thing", Kind.UNSUPPORTED),
}
POSTGRESQL = {
    "integer": Kind.INTEGER,
    "numeric": Kind.DECIMAL,
    "numeric(10,2)": Kind.DECIMAL,
    "double precision": Kind.FLOAT,
    "real": Kind.FLOAT,
    "boolean": Kind.BOOLEAN,
    "character varying(20)": Kind.TEXT,
    "citext": Kind.TEXT,
    "uuid": Kind.UUID,
    "bytea": Kind.BINARY,
    "timestamp(3) without time zone": Kind.TIMESTAMP,
    "timestamp with time zone": Kind.TIMESTAMPTZ,
    "time without time zone": Kind.TIME,
    "jsonb": Kind.JSON,
    "xml": Kind.XML,
    "text[]": Kind.ARRAY,
    "time with time zone": Kind.UNSUPPORTED,
    "interval": Kind.UNSUPPORTED,
    "interval[]": Kind.UNSUPPORTED,
    "money": Kind.UNSUPPORTED,
    "point": Kind.UNSUPPORTED,
    '"char"': Kind.UNSUPPORTED,
    "api.mood": Kind.UNSUPPORTED,
}


@pytest.mark.parametrize(("written", "expected"), T_SQL.items())
def test_a_type_of_t_sql(written, expected):
    found = t_sql_type(written)
    assert (found.sql, found.kind) == expected
    assert found.supported == (expected[1] is not Kind.UNSUPPORTED)


@pytest.mark.parametrize(("written", "kind"), POSTGRESQL.items())
def test_a_type_of_postgresql(written, kind):
    found = postgresql_type(written)
    assert (found.sql, found.kind) == (written, kind)
    assert found.supported == (kind is not Kind.UNSUPPORTED)


TABLE = table_of("T", (Column("a", t_sql_type("int"), False), Column("b", t_sql_type("bit"))))
GENERATED = [
    *(
        t_sql_type(name)
        for name in ("tinyint", "bigint", "decimal(10,2)", "decimal(38,0)", "money")
    ),
    *(t_sql_type(name) for name in ("decimal(5,5)", "real", "float", "bit", "varchar(9)", "date")),
    *(t_sql_type(name) for name in ("uniqueidentifier", "varbinary(9)", "varbinary(max)", "time")),
    *(t_sql_type(name) for name in ("datetimeoffset", "nvarchar(max)")),
    *(postgresql_type(name) for name in ("jsonb", "integer[]", "text[]", "numeric")),
    TABLE,
]


def bodies(schema):
    """Requests whose body fits `schema`, as a fuzzer makes them."""
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    operation = {"requestBody": body, "responses": {"200": {"description": "Done"}}}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "x", "version": "1"},
        "paths": {"/x": {"post": operation}},
    }
    return schemathesis.openapi.from_dict(document)["/x"]["POST"].as_strategy()


@pytest.mark.parametrize("kind", GENERATED, ids=lambda kind: kind.sql)
def test_what_the_schema_allows_is_accepted(kind):
    """Clients and fuzzers are made from the schema."""
    schema = kind.json_schema(nullable=True)

    @settings(max_examples=60, database=None, deadline=None)
    @given(bodies(schema))
    def accepted(case):
        from_json(kind, case.body)

    accepted()


@pytest.mark.parametrize(
    ("columns", "rows", "passes"),
    [
        ([("Json", "text")], True, True),
        ([("json", "text"), ("ETag", "text")], None, True),
        ([("JSON_F52E2B61-18A1-11d1-B105-00805F49916B", "text")], None, True),
        ([("get_x", "jsonb")], False, True),
        ([("get_x", "jsonb")], True, False),
        ([("a", "jsonb"), ("b", "text")], False, False),
        ([("a", "text")], False, False),
        ([], None, False),
    ],
)
def test_json_text_passes_through(columns, rows, passes):
    made = tuple(Column(name, postgresql_type(kind)) for name, kind in columns)
    assert Result(made, rows=rows).passes_text is passes
    assert not Result(None).passes_text
