"""Replicas of SQL Server on the wire: the intent to read, and the guard in front of a read."""

from __future__ import annotations

import json
import re

import pytest
import sqlglot

from catalog.statements import BEHIND, require_key, require_sample_key
from database.deadline import Deadline
from database.errors import DatabaseError, Kind
from database.statement import Statement
from databases import Databases
from replicas.position import position, query
from settings import read_settings
from testkit.server import bare_environment
from testkit.tds.messages import Column
from testkit.tds.script import JSON, Reply, Rows, ServerError
from testkit.tds.server import TdsServer
from tests.wire.conftest import Connect, Manage

SINCE = "2026-11-21T06:00:00"
GUARD = require_key("sqlserver", "key", SINCE)
THROW = re.compile(r"THROW \d+, N'[^']*', \d+;?")
CALLER = json.dumps({"subject": "Łódź"})


@pytest.mark.parametrize("intent", ["ReadOnly", "ReadWrite", None])
def test_the_driver_sends_the_intent_in_its_login(server: TdsServer, connect: Connect, intent):
    connect(**({"ApplicationIntent": intent} if intent else {}))
    (login,) = server.logins
    assert login.read_only is (intent == "ReadOnly")


@pytest.mark.parametrize(
    "form",
    [
        "DRIVER={driver};SERVER=127.0.0.1,{port};DATABASE=D;UID=r;PWD=p;Encrypt=no",
        "Data Source=127.0.0.1,{port};Initial Catalog=D;User ID=r;Password=p;Encrypt=false;"
        "Application Intent=ReadWrite",
        "mssql+pyodbc://r:p@127.0.0.1:{port}/D?Encrypt=no",
    ],
    ids=["ODBC", "ADO.NET", "URL"],
)
def test_read_scale_out_logs_in_to_the_same_database_with_that_intent(
    server: TdsServer, driver: str, form: str
):
    text = form.format(driver=driver, port=server.port)
    environment = {"SQLAZURECONNSTR_ERP": text, "READ_SCALE_OUT": "ERP"}
    databases = Databases(read_settings(bare_environment(**environment)))
    try:
        databases.manager("ERP").probe()
        replicated = databases.replicated("ERP")
        assert replicated is not None
        (replica,) = replicated.replicas
        replica.manager.probe()
    finally:
        databases.close()
    seen = [(login.read_only, login.database, login.user) for login in server.logins]
    assert seen == [(False, "D", "r"), (True, "D", "r")]


def test_guard_caller_and_read_are_one_request(server: TdsServer, catalog_manager: Manage):
    manager = catalog_manager()
    server.on_execute(lambda _: Reply(Rows((JSON,), [("[1]",)])))
    for _ in range(2):
        answer = manager.read("web.get_customer", "{}", caller=CALLER, guard=GUARD)
        assert answer.json == "[1]"
    first, second = server.executions
    for request in (first, second):
        assert request.values == (CALLER, "key", SINCE, "{}")
        assert "THROW 59267" in request.statement
        before, _, after = request.statement.partition("THROW 59267")
        assert "sp_set_session_context" in before
        assert after.endswith("EXEC web.get_customer @P4")
    assert second.reset
    assert len(server.connections) == 1


def test_a_replica_that_lacks_the_write_is_told_from_a_failure(
    server: TdsServer, catalog_manager: Manage
):
    manager = catalog_manager(retries=False)
    server.on_execute(lambda _: Reply(ServerError(BEHIND, "The write is not here yet.")))
    guarded = GUARD.before(Statement("EXEC api.get_order @OrderID = ?", (1,)))
    for _ in range(3):
        with pytest.raises(DatabaseError) as raised:
            manager.execute("api.get_order", guarded, repeatable=True)
        assert raised.value.kind is Kind.BEHIND
    # The session is whole: the next read uses it.
    assert len(server.connections) == 1


def test_a_stream_takes_a_guard_too(server: TdsServer, catalog_manager: Manage):
    server.on_execute(lambda _: Reply(Rows((JSON,), [("1",), ("2",)])))
    rows = catalog_manager().stream("web.get_customers", "{}", guard=GUARD)
    assert [text for batch in rows for text in batch] == ["1", "2"]
    (request,) = server.executions
    assert request.values == ("key", SINCE, "{}")


def test_the_guards_and_the_position_are_t_sql():
    for guard in (GUARD, require_sample_key("sqlserver", "key", SINCE)):
        assert guard.text.count("?") == len(guard.values)
        # sqlglot knows THROW without arguments only.
        assert sqlglot.parse(THROW.sub("THROW;", guard.text), dialect="tsql")
    for branch in query("sqlserver").text.split(" ELSE SELECT "):
        select = branch.partition("= 1 ")[2] if branch.startswith("IF") else f"SELECT {branch}"
        assert sqlglot.parse_one(select, dialect="tsql").find(sqlglot.exp.Select)


def test_a_position_is_compared_by_the_time_of_the_newest_key(
    server: TdsServer, catalog_manager: Manage
):
    columns = (Column("", "int"), Column(""), Column(""))
    times = iter(["2026-11-21T06:00:00", "2026-11-21T06:00:00.0000001"])
    server.on_execute(lambda _: Reply(Rows(columns, [(1, next(times), "2026-01-31T00:00:00.123")])))
    manager = catalog_manager()
    found = []
    for _ in range(2):
        (answer,) = manager.execute_once("position", query("sqlserver"), deadline=Deadline(5))
        found.append(position("sqlserver", answer.rows[0]))
    earlier, later = found
    assert earlier.at < later.at
    assert earlier.identity == later.identity
    assert earlier.reads_only
