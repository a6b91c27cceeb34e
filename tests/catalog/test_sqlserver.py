"""What a T-SQL engine's catalog has is read by what the engine has of views.

The rows are those that SQL Server, Babelfish (no sys.parameters, no describe function) and a login
without VIEW DEFINITION (no source) return. The last tests read a real server where
TEST_SQLSERVER_CONNSTR names one.
"""

import datetime as dt

import pytest
import sqlglot

from catalog.discovery import reader_of, sqlserver
from catalog.operations import build
from catalog.procedure import Direction
from catalog.types import Kind

SINCE = dt.datetime(2026, 1, 31)
GET = """
-- Reads one order.
CREATE PROCEDURE api.get_order @OrderID int, @Lines bit = 0 AS SELECT 1 AS x"""
SAVE = """CREATE PROCEDURE api.save_order (@Phone dbo.PhoneNumber = N'1', @Total money OUTPUT,
    @Lines api.OrderLines READONLY, @Bare OrderLines2 READONLY) AS SELECT 1 AS x"""


class Engine:
    """Answers the reader's statements out of rows; `views` are those that OBJECT_ID finds."""

    def __init__(self, views, **rows):
        self.views = views
        self.rows = rows
        self.statements = []

    def __call__(self, statement, *schemas):
        self.statements.append(statement)
        for view in ("parameters", "extended_properties", "table_types"):
            if statement == sqlserver.PROBE.format(view=view):
                return [(1 if view in self.views else None,)]
        if "OBJECT_ID(N" in statement:
            return [(1 if "results" in self.views else None,)]
        assert schemas in ((), ("api", "sales"))
        for name, rows in self.rows.items():
            if statement == getattr(sqlserver, name).format(marks="?, ?"):
                return rows
        raise AssertionError(f"This engine has nothing for {statement}.")


STATE = [(10, "api", "get_order", SINCE, 1), (20, "api", "save_order", SINCE, 1)]
DESCRIBED = [
    (*STATE[0], 1, 0, "One order.\n@param Lines Whether to list the lines."),
    (*STATE[0], 2, 1, "The number on the paper."),
    (*STATE[1], None, None, None),
]
PARAMETERS = [
    (10, "@OrderID", "sys", "int", "int", 4, 10, 0, False, False),
    (10, "@Lines", "sys", "bit", "bit", 1, 1, 0, False, False),
    (20, "@Phone", "dbo", "PhoneNumber", "nvarchar", 40, 0, 0, False, False),
    (20, "@Total", "sys", "money", "money", 8, 19, 4, True, False),
    (20, "@Lines", "api", "OrderLines", None, -1, 0, 0, False, True),
    (20, "@Bare", "dbo", "OrderLines2", None, -1, 0, 0, False, True),
]
USER_TYPES = [("dbo", "PhoneNumber", "nvarchar", 40, 0, 0)]
TABLE_TYPES = [
    ("api", "OrderLines", "Item", "nvarchar", 100, 0, 0, False, 0),
    ("api", "OrderLines", "Amount", "decimal", 9, 10, 2, True, 0),
    ("dbo", "OrderLines2", "Item", "varchar", -1, 0, 0, True, 0),
]
RESULTS = [
    (10, "OrderID", "int", False, None),
    (10, "Customer", "nvarchar(50)", True, None),
    (20, None, None, None, 11529),
]
VIEWS = ("parameters", "extended_properties", "table_types", "results")


def server(**changed):
    rows = {
        "STATE": STATE,
        "DESCRIBED_STATE": DESCRIBED,
        "SOURCES": [(10, GET), (20, SAVE)],
        "PARAMETERS": PARAMETERS,
        "USER_TYPES": USER_TYPES,
        "TABLE_TYPES": TABLE_TYPES,
        "RESULTS": RESULTS,
    }
    return Engine(VIEWS, **{**rows, **changed})


def read(engine):
    return reader_of("sqlserver", "ERP", ["api", "sales"]).read(engine)


def shown(procedure):
    return [(p.name, p.type.sql, p.required, p.direction.name) for p in procedure.parameters]


def test_on_sql_server_everything_is_read():
    order, save = read(server())
    assert shown(order) == [("OrderID", "int", True, "IN"), ("Lines", "bit", False, "IN")]
    assert shown(save) == [
        ("Phone", "dbo.PhoneNumber", False, "IN"),
        ("Total", "money", False, "INOUT"),
        ("Lines", "api.OrderLines", False, "IN"),
        ("Bare", "dbo.OrderLines2", False, "IN"),
    ]
    assert order.summary == "One order."
    assert [p.description for p in order.parameters] == [
        "The number on the paper.",
        "Whether to list the lines.",
    ]
    assert [(c.name, c.type.sql, c.nullable) for c in order.result.columns] == [
        ("OrderID", "int", False),
        ("Customer", "nvarchar(50)", True),
    ]
    # It has a temporary table: only a call shows its columns.
    assert save.result.columns is None
    phone, _, lines, _ = save.parameters
    assert (phone.type.length, phone.default) == (20, "N'1'")
    assert lines.type.kind is Kind.TABLE
    assert [(c.name, c.type.sql, c.nullable) for c in lines.type.columns] == [
        ("Item", "nvarchar(50)", False),
        ("Amount", "decimal(10,2)", True),
    ]
    assert len(build([order, save]).operations) == 2


def test_on_babelfish_the_source_is_enough():
    """It has no sys.parameters and no describe function: neither is read."""
    engine = Engine(
        ("extended_properties",),
        STATE=STATE[:1],
        DESCRIBED_STATE=DESCRIBED[:2],
        SOURCES=[(10, GET)],
    )
    (order,) = read(engine)
    assert shown(order) == [("OrderID", "int", True, "IN"), ("Lines", "bit", False, "IN")]
    assert order.summary == "One order."
    assert order.result.columns is None
    assert not any("sys.parameters" in s for s in engine.statements if "OBJECT_ID" not in s)


def test_without_view_definition_every_parameter_is_optional():
    order, save = read(server(SOURCES=[(10, None), (20, None)], RESULTS=[]))
    assert shown(order) == [("OrderID", "int", None, "IN"), ("Lines", "bit", None, "IN")]
    assert shown(save)[:2] == [
        ("Phone", "nvarchar(20)", None, "IN"),
        ("Total", "money", False, "INOUT"),
    ]
    assert save.parameters[2].type.kind is Kind.TABLE
    # The route is the same as with the right.
    assert build([order]).operations[0].route == "/order/{OrderID}"


def test_without_view_definition_and_sys_parameters_there_is_no_route():
    engine = Engine((), STATE=STATE[:1], SOURCES=[(10, None)])
    (refusal,) = build(read(engine)).refusals
    assert refusal.reason == "its source can't be seen; grant VIEW DEFINITION ON SCHEMA::api."


def test_a_source_that_can_not_be_read_gives_way_to_sys_parameters():
    (order, _) = read(server(SOURCES=[(10, "CREATE PROCEDURE p @a int !"), (20, SAVE)]))
    assert shown(order)[0] == ("OrderID", "int", None, "IN")
    engine = Engine((), STATE=STATE[:1], SOURCES=[(10, "CREATE PROCEDURE p @a int !")])
    (refusal,) = build(read(engine)).refusals
    assert refusal.reason == "its source can't be read: Line 1: AS expected, not !."


def test_a_table_type_that_makes_a_column_itself_is_not_supported():
    rows = [*TABLE_TYPES, ("api", "OrderLines", "ID", "int", 4, 10, 0, False, 1)]
    order, save = read(server(TABLE_TYPES=rows))
    assert build([save]).refusals[0].reason == (
        "Lines has the type api.OrderLines, which no JSON value stands for."
    )
    assert order.parameters


def test_a_database_without_procedures_costs_one_query():
    engine = Engine((), STATE=[])
    assert read(engine) == []
    assert len(engine.statements) == 1


def test_a_login_that_may_not_execute_is_told_apart():
    (order, _) = read(server(STATE=[(*STATE[0][:4], 0), STATE[1]]))
    assert not order.allowed


@pytest.mark.parametrize(
    "rows",
    [
        DESCRIBED[:2],
        [(*STATE[0], 1, 0, "Another text."), *DESCRIBED[1:]],
        [(10, "api", "get_order", SINCE + dt.timedelta(seconds=1), 1, 1, 0, "x"), *DESCRIBED[1:]],
        [(*STATE[0][:4], 0, 1, 0, "One order."), *DESCRIBED[1:]],
    ],
)
def test_every_change_is_noticed_by_one_query(rows):
    reader = reader_of("sqlserver", "ERP", ["api", "sales"])
    engine = server()
    before = reader.changes(engine)
    engine.statements.clear()
    assert reader.changes(engine) == before
    assert len(engine.statements) == 1
    assert reader.changes(server(DESCRIBED_STATE=rows)) != before


@pytest.mark.parametrize(
    "name",
    *[[n for n, v in vars(sqlserver).items() if isinstance(v, str) and "SELECT" in v]],
)
def test_every_statement_is_t_sql(name):
    statement = getattr(sqlserver, name).replace("{marks}", "?, ?").replace("{view}", "x")
    assert sqlglot.parse_one(statement, dialect="tsql").find(sqlglot.exp.Select)


# On a real server

SCRIPT = [
    "CREATE SCHEMA catalog_test",
    """CREATE PROCEDURE catalog_test.get_order @OrderID int, @größe nvarchar(50) = N'a''b',
    @d date = NULL, @total decimal(10,2) = -1.5 OUTPUT
    AS SELECT @OrderID AS OrderID, @größe AS Größe""",
    "CREATE PROCEDURE catalog_test.recalculate AS SET NOCOUNT ON",
    "CREATE PROCEDURE catalog_test.[as] @as int AS SELECT 1 AS x",
]
DROPS = [
    "DROP PROCEDURE catalog_test.get_order",
    "DROP PROCEDURE catalog_test.recalculate",
    "DROP PROCEDURE catalog_test.[as]",
    "DROP SCHEMA catalog_test",
]


@pytest.fixture
def real(sqlserver):
    query, run = sqlserver
    if query("SELECT SCHEMA_ID(N'catalog_test')")[0][0] is not None:
        for statement in DROPS:
            run(statement)
    for statement in SCRIPT:
        run(statement)
    yield query, run
    for statement in DROPS:
        run(statement)


def test_a_real_server_is_read(real):
    query, _ = real
    reader = reader_of("sqlserver", "ERP", ["catalog_test"])
    found = {p.name: p for p in reader.read(query)}
    assert sorted(found) == ["as", "get_order", "recalculate"]
    order = found["get_order"]
    assert shown(order) == [
        ("OrderID", "int", True, "IN"),
        ("größe", "nvarchar(50)", False, "IN"),
        ("d", "date", False, "IN"),
        ("total", "decimal(10,2)", False, "INOUT"),
    ]
    assert [p.default for p in order.parameters] == [None, "N'a''b'", "NULL", "-1.5"]
    assert order.parameters[3].direction is Direction.INOUT
    assert order.allowed
    if order.result.columns is not None:
        assert [c.name for c in order.result.columns] == ["OrderID", "Größe"]
    assert found["recalculate"].parameters == ()
    assert shown(found["as"]) == [("as", "int", True, "IN")]
    assert len(build(found.values()).operations) == 3


def test_a_change_on_a_real_server_is_noticed(real):
    query, run = real
    reader = reader_of("sqlserver", "ERP", ["catalog_test"])
    before = reader.changes(query)
    assert reader.changes(query) == before
    run("ALTER PROCEDURE catalog_test.recalculate @year int AS SET NOCOUNT ON")
    assert reader.changes(query) != before
