"""Calls of catalog procedures on the wire: their batches, parameters, round trips and failures."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from catalog.procedure import Direction, Parameter, Procedure
from catalog.sql_types import t_sql_type
from catalog.statements import (
    REPLAY_COLUMN,
    TRANSACTION_BROKEN,
    RequestKey,
    call,
    find_response,
    keep_response,
    key_table_usable,
)
from catalog.types import Column as TypeColumn
from catalog.types import table_of
from database.errors import DatabaseError, Kind
from database.session import CURSORS_KEPT
from database.statement import Statement
from testkit.tds.messages import Column
from testkit.tds.script import Reply, Rows, ServerError
from testkit.tds.server import TdsServer
from tests.wire.conftest import Manage

KEY = RequestKey("k-Ł", "0" * 64)
CALLER = json.dumps({"subject": "Łódź"})
LINES = table_of(
    "api.line list",
    tuple(
        TypeColumn(name, t_sql_type(kind))
        for name, kind in (("Item", "nvarchar(20)"), ("Price", "decimal(10,2)"), ("Raw", "image"))
    ),
)


def procedure(name: str, *parameters: tuple[str, str], outputs: tuple[str, ...] = ()) -> Procedure:
    declared = [Parameter(n, t_sql_type(t)) for n, t in parameters]
    declared += [Parameter(n, t_sql_type("int"), direction=Direction.INOUT) for n in outputs]
    return Procedure("ERP", "api", name, "sqlserver", tuple(declared))


GET = procedure("get_order", ("OrderID", "int"), ("Since", "date"))
CREATE = procedure("create_order", ("customer", "nvarchar(50)"), ("amount", "money"))
WITH_TABLE = replace(CREATE, parameters=(*CREATE.parameters, Parameter("lines", LINES)))
WITH_OUTPUT = procedure("count_orders", ("customer", "nvarchar(50)"), outputs=("Total", "Rest"))
THROW = re.compile(rf"THROW {TRANSACTION_BROKEN}, N'[^']*', 1;")
STATEMENTS = {
    "read": call(GET, {"OrderID": 1, "Since": "2026-01-31"}),
    "no parameters": call(GET, {}),
    "nulls": call(CREATE, {"customer": None, "amount": None}),
    "outputs": call(WITH_OUTPUT, {"customer": "x", "Total": 7}),
    "table": call(WITH_TABLE, {"lines": [("x", Decimal("1.50"), b"\x00")]}),
    "keyed": call(CREATE, {"customer": "x", "amount": Decimal("1.50")}, key=KEY),
    "keyed outputs": call(WITH_OUTPUT, {"customer": "x"}, key=KEY),
    "keyed table": call(WITH_TABLE, {"customer": "x", "lines": []}, key=KEY),
    "find": find_response(GET, "k"),
    "keep": keep_response(GET, "k", 201, "{}", "[]"),
    "keep nothing": keep_response(GET, "k", 201, "{}", None),
    "probe": Statement(key_table_usable("sqlserver")),
}


# The text


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_is_t_sql_with_a_marker_for_each_value(name: str):
    text, values, *_ = STATEMENTS[name]
    # sqlglot knows THROW without arguments only.
    trees = sqlglot.parse(THROW.sub("THROW;", text), read="tsql")
    assert all(tree is not None and not isinstance(tree, exp.Anonymous) for tree in trees)
    assert text.count("?") == len(values)


@pytest.mark.parametrize("name", [n for n in STATEMENTS if n.startswith("keyed")])
def test_a_keyed_batch_ends_its_transaction_after_any_error(name: str):
    text = STATEMENTS[name].text
    assert text.count("BEGIN TRAN") == text.count(" COMMIT") == text.count("BEGIN CATCH") == 1
    within = text[text.index("BEGIN TRY") : text.index("END TRY")]
    assert all(word in within for word in ("BEGIN TRAN", "EXEC [api].", "COMMIT"))
    assert text.endswith("BEGIN CATCH IF @@TRANCOUNT > 0 ROLLBACK; THROW; END CATCH;")


# What is sent


def test_a_typed_read_is_one_round_trip(server: TdsServer, catalog_manager: Manage):
    manager = catalog_manager()
    manager.execute("api.get_order", STATEMENTS["read"])
    before = len(server.requests)
    manager.execute("api.get_order", STATEMENTS["read"])
    (request,) = server.requests[before:]
    assert request.kind == "prepexec"
    assert request.statement == "EXEC [api].[get_order] @OrderID = @P1, @Since = @P2;"
    assert request.types == ("int", "nvarchar(max)")
    assert request.values == (1, "2026-01-31")
    assert request.reset


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, "EXEC [api].[create_order];"),
        ({"amount": Decimal("1.5")}, "EXEC [api].[create_order] @amount = @P1;"),
        ({"customer": None}, "EXEC [api].[create_order] @customer = NULL;"),
    ],
)
def test_what_is_omitted_is_not_sent_and_null_is_a_literal(
    server: TdsServer, catalog_manager: Manage, given: dict[str, Any], sent: str
):
    catalog_manager().execute("api.create_order", call(CREATE, given))
    (request,) = server.executions
    assert (request.kind, request.statement) == ("prepexec" if "@P" in sent else "batch", sent)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "bit"),
        (7, "int"),
        (2**40, "bigint"),
        (0.1, "float"),
        (Decimal("-922337203685477.5808"), "decimal(19,4)"),
        (Decimal("1E+2"), None),
        ("Łódź 🦊", "nvarchar(max)"),
        ("", "nvarchar(max)"),
        ("🦊" * 5000, "nvarchar(max)"),
        (b"\x00\xff", "varbinary(max)"),
        (b"", "varbinary(max)"),
        (b"\x01" * 9000, "varbinary(max)"),
    ],
    ids=str,
)
def test_values_arrive_as_they_were_sent(
    server: TdsServer, catalog_manager: Manage, value: Any, kind: str | None
):
    catalog_manager().execute("api.put", Statement("EXEC api.put @v = ?;", (value,)))
    (request,) = server.executions
    assert request.values == (value,)
    if kind:
        assert request.types == (kind,)
    described = [r.statement for r in server.requests if "describe" in r.statement]
    assert described == []


def test_a_table_is_one_parameter_that_openjson_reads(server: TdsServer, catalog_manager: Manage):
    catalog_manager().execute("api.create_order", STATEMENTS["table"])
    (request,) = server.executions
    assert json.loads(request.values[0]) == [["x", "1.50", "AA=="]]
    assert request.statement.startswith(
        "DECLARE @table0 [api].[line list]; INSERT @table0 ([Item], [Price], [Raw])"
        " SELECT [Item], [Price], [Raw] FROM OPENJSON(@P1) WITH ([Item] nvarchar(20) '$[0]',"
    )
    assert request.statement.endswith("EXEC [api].[create_order] @lines = @table0;")


def test_outputs_come_through_a_select_after_the_procedures_rows(
    server: TdsServer, catalog_manager: Manage
):
    outputs = Rows((Column("Total", "int"), Column("Rest", "int")), [(3, None)])
    server.on_execute(lambda _: Reply(Rows((Column("OrderID", "int"),), [(1,), (2,)]), outputs))
    rows, found = catalog_manager().execute("api.count_orders", STATEMENTS["outputs"])
    assert len(rows.rows) == 2
    assert (found.names, tuple(found.rows[0])) == (("Total", "Rest"), (3, None))
    (request,) = server.executions
    assert request.statement == (
        "DECLARE @out0 int = @P1; DECLARE @out1 int; EXEC [api].[count_orders] @customer = @P2,"
        " @Total = @out0 OUTPUT, @Rest = @out1 OUTPUT; SELECT @out0 AS [Total], @out1 AS [Rest];"
    )
    assert request.values == (7, "x")


def test_several_result_sets_are_kept_apart_and_empty_ones_too(
    server: TdsServer, catalog_manager: Manage
):
    first, second = Rows((Column("a", "int"),), []), Rows((Column("b", "bit"),), [(True,)])
    server.on_execute(lambda _: Reply(first, second))
    found = catalog_manager().execute("api.get_all", call(procedure("get_all"), {}))
    assert [(result.names, len(result.rows)) for result in found] == [(("a",), 0), (("b",), 1)]


def test_the_caller_travels_with_a_statement_as_text_that_a_session_keeps(
    server: TdsServer, catalog_manager: Manage
):
    catalog_manager().execute("api.get_order", STATEMENTS["read"], caller=CALLER)
    (request,) = server.executions
    assert request.declared == "@P1 nvarchar(4000),@P2 int,@P3 nvarchar(max)"
    assert request.values == (CALLER, 1, "2026-01-31")
    assert request.statement.startswith("BEGIN TRY EXEC sys.sp_set_session_context N'caller', @P1")


# Keyed writes


def test_a_keyed_write_is_one_round_trip_and_storing_its_response_another(
    server: TdsServer, catalog_manager: Manage
):
    manager = catalog_manager()
    for _ in range(2):
        manager.execute("api.create_order", STATEMENTS["keyed"], repeatable=True)
        manager.execute("api.create_order", STATEMENTS["keep"], repeatable=True)
    assert [r.kind for r in server.requests if r.kind != "rpc"] == ["prepexec"] * 4
    write, keep = server.executions[2:]
    assert write.values == (KEY.key, KEY.digest, "x", Decimal("1.50"))
    assert keep.values == (201, "{}", "[]", "k")
    assert len(server.connections) == 1


def test_a_replay_is_recognized_by_its_first_column(server: TdsServer, catalog_manager: Manage):
    columns = (Column(REPLAY_COLUMN, "int"), Column("Digest"), Column("Status", "int"))
    server.on_execute(lambda _: Reply(Rows(columns, [(1, "0" * 64, 201)])))
    (found,) = catalog_manager().execute("api.create_order", STATEMENTS["keyed"])
    assert found.columns[0].name == REPLAY_COLUMN
    assert tuple(found.rows[0]) == (1, "0" * 64, 201)


@pytest.mark.parametrize("number", [266, 3902, 3903, TRANSACTION_BROKEN])
def test_a_changed_transaction_is_an_error_even_after_the_rows_and_loses_its_connection(
    server: TdsServer, catalog_manager: Manage, number: int
):
    rows = Rows((Column("OrderID", "int"),), [(1,)])
    server.on_execute(lambda _: Reply(rows, ServerError(number, "The transaction count.")))
    manager = catalog_manager()
    with pytest.raises(DatabaseError) as raised:
        manager.execute("api.create_order", STATEMENTS["keyed"], repeatable=True)
    assert (raised.value.kind, raised.value.native) == (Kind.TRANSACTION, number)
    assert len(server.executions) == 1
    assert manager.stats().size == 0


def test_a_write_that_is_cut_is_repeated_with_its_key_only(
    server: TdsServer, catalog_manager: Manage
):
    manager = catalog_manager()
    server.replies += [Reply(cut_after=0), Reply(), Reply(cut_after=0)]
    assert manager.execute("api.create_order", STATEMENTS["keyed"], repeatable=True) == []
    assert [r.values for r in server.executions] == [STATEMENTS["keyed"].values] * 2
    with pytest.raises(DatabaseError) as raised:
        manager.execute("api.create_order", STATEMENTS["keyed"], repeatable=False)
    assert raised.value.kind is Kind.LOST
    assert len(server.executions) == 3


# Kept cursors


def test_the_least_recently_used_statement_is_closed_first(
    server: TdsServer, catalog_manager: Manage
):
    manager = catalog_manager()
    texts = [f"EXEC api.p{n} @v = ?;" for n in range(CURSORS_KEPT + 1)]
    for text in texts[:-1]:
        manager.execute("api.p", Statement(text, (1,)))
    manager.execute("api.p", Statement(texts[0], (1,)))
    manager.execute("api.p", Statement(texts[-1], (1,)))
    before = len(server.requests)
    manager.execute("api.p", Statement(texts[0], (1,)))
    assert "unprepare" not in [r.kind for r in server.requests[before:]]
    with manager._pool.checkout() as lease:
        kept = list(lease.connection._cursors or ())
    assert len(kept) == CURSORS_KEPT
    assert texts[0] in kept
    assert texts[1] not in kept


def test_a_failed_statement_leaves_its_cursor_fit_for_the_next(
    server: TdsServer, catalog_manager: Manage
):
    manager = catalog_manager()
    server.replies.append(Reply(ServerError(547, "The INSERT conflicted.")))
    with pytest.raises(DatabaseError):
        manager.execute("api.create_order", STATEMENTS["keyed"])
    found = Rows((Column("OrderID", "int"),), [(1,)])
    server.on_execute(lambda _: Reply(found))
    assert len(manager.execute("api.create_order", STATEMENTS["keyed"])) == 1
    assert len(server.connections) == 1
