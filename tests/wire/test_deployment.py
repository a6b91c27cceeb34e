"""`flask sql deploy` over Microsoft's driver: CREATE OR ALTER, engines that refuse it, waiting."""

from __future__ import annotations

import re
from pathlib import Path

import pyodbc
import pytest

from deploy import DeploymentError
from deploy.runner import NO_OR_ALTER, deploy, open_when_resumed
from deploy.scripts import Step
from settings import ROOT
from testkit.tds.messages import Column
from testkit.tds.script import Reply, Request, Rows, ServerError
from testkit.tds.server import TdsServer
from tests.wire.conftest import Connect

GRANT_COLUMNS = tuple(Column(name) for name in ("state", "permission_name", "name"))
GRANTED = [("G", "EXECUTE", "my ]app"), ("W", "EXECUTE", "lead"), ("D", "EXECUTE", "guest")]
MODULE = re.compile(r"CREATE OR ALTER (PROCEDURE|VIEW|FUNCTION)")
SCRIPT = """-- CREATE OR ALTER PROCEDURE web.only_a_comment
CREATE OR ALTER PROCEDURE web.p @Json nvarchar(max) AS SELECT 1;
GO
IF 1 = 1
    EXEC (N'
CREATE OR ALTER VIEW [web].v AS SELECT 1 AS one');
GO
SELECT 2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "1_modules.sql").write_text(SCRIPT)
    return tmp_path


def refusing(number: int, message: str):
    """A script that answers as an engine whose parser has no CREATE OR ALTER."""

    def script(request: Request) -> Reply:
        if "OR ALTER" in request.statement.partition("\n")[2]:
            return Reply(ServerError(number, message))
        if "sys.database_permissions" in request.statement:
            return Reply(Rows(GRANT_COLUMNS, GRANTED if request.values == ("web.p",) else []))
        return Reply(Rows((Column("one", "int"),), [(1,)]))

    return script


def statements(server: TdsServer) -> list[str]:
    """What changes the database, in order, transactions included."""
    sent = [r for r in server.requests if r.kind in ("batch", "transaction")]
    return [r.statement for r in sent if "SELECT p.state" not in r.statement]


def test_an_engine_with_create_or_alter_runs_each_batch_as_it_is_written(
    server: TdsServer, connect: Connect, folder: Path
):
    reported: list = []
    deploy(connect(), folder, variables={}, report=reported.append)
    first, second, third = statements(server)
    assert first == SCRIPT.partition("\nGO")[0]
    assert "CREATE OR ALTER VIEW [web].v" in second
    assert third == "SELECT 2"
    assert all(isinstance(step, Step) for step in reported)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (33557097, "'ALTER VIEW' is not currently supported in Babelfish"),
        (33557097, "syntax error near 'OR' at line 2 and character position 7"),
        (156, "Incorrect syntax near the keyword 'OR'."),
    ],
)
def test_an_engine_without_it_is_tried_once_and_keeps_its_grants(
    server: TdsServer, connect: Connect, folder: Path, number: int, message: str
):
    server.on_execute(refusing(number, message))
    reported: list = []
    connection = connect()
    deploy(connection, folder, variables={}, report=reported.append)
    sent = statements(server)
    assert sum("CREATE OR ALTER" in s.partition("\n")[2] for s in sent) == 1
    begin, *replaced, commit = sent[1:8]
    assert (begin, commit) == ("begin", "commit")
    assert replaced == [
        "IF OBJECT_ID(N'web.p') IS NOT NULL DROP PROCEDURE web.p",
        "-- CREATE PROCEDURE web.only_a_comment\n"
        "CREATE PROCEDURE web.p @Json nvarchar(max) AS SELECT 1;",
        "GRANT EXECUTE ON web.p TO [my ]]app]",
        "GRANT EXECUTE ON web.p TO [lead] WITH GRANT OPTION",
        "DENY EXECUTE ON web.p TO [guest]",
    ]
    assert [s for s in sent if s.startswith("IF OBJECT_ID(N'[web].v')")]
    assert sent[-1] == "SELECT 2"
    assert reported.count(NO_OR_ALTER) == 1
    assert connection.autocommit


def test_a_module_that_can_not_be_made_again_is_not_lost(
    server: TdsServer, connect: Connect, folder: Path
):
    script = refusing(33557097, "no")
    broken = Reply(ServerError(207, "Invalid column name"))
    server.on_execute(lambda r: broken if "\nCREATE PROC" in r.statement else script(r))
    with pytest.raises(DeploymentError, match=r"batch 1 of 3 .*Invalid column name"):
        deploy(connect(), folder, variables={}, report=lambda step: None)
    assert statements(server)[-1] == "rollback"


def test_any_other_error_of_the_first_module_is_its_own(
    server: TdsServer, connect: Connect, folder: Path
):
    server.on_execute(refusing(262, "CREATE PROCEDURE permission denied"))
    with pytest.raises(DeploymentError, match="permission denied"):
        deploy(connect(), folder, variables={}, report=lambda step: None)
    assert len(statements(server)) == 1


@pytest.mark.parametrize("number", [40613, 42109])
def test_a_database_that_resumes_is_waited_for(server: TdsServer, connect: Connect, number: int):
    server.login_replies.extend([Reply(ServerError(number, "not available"))] * 2)
    said: list[str] = []
    connection = open_when_resumed(connect, report=said.append, pause=0.01)
    assert connection.execute("SELECT 1").fetchval() == 1
    assert len(server.logins) == 3
    assert [str(number) in sentence for sentence in said] == [True, True]


def test_the_wait_for_a_database_ends_with_its_own_error(server: TdsServer, connect: Connect):
    server.on_login(lambda _: Reply(ServerError(40613, "not available")))
    with pytest.raises(pyodbc.Error, match="40613"):
        open_when_resumed(connect, report=lambda _: None, seconds=0.2, pause=0.01)
    assert len(server.logins) > 1


def test_a_refused_login_is_not_tried_again(server: TdsServer, connect: Connect):
    server.on_login(lambda _: Reply(ServerError(18456, "Login failed")))
    with pytest.raises(pyodbc.Error, match="18456"):
        open_when_resumed(connect, report=lambda _: None)
    assert len(server.logins) == 1


@pytest.mark.parametrize("name", ["azure-sql", "synapse"])
def test_the_shipped_scripts_run_on_an_engine_without_it(
    server: TdsServer, connect: Connect, name: str
):
    def script(request: Request) -> Reply:
        if MODULE.search(request.statement):
            return Reply(ServerError(33557097, "no"))
        if "sys.database_permissions" in request.statement:
            return Reply(Rows(GRANT_COLUMNS, []))
        return Reply(Rows((Column("one", "int"),), [(1,)]))

    server.on_execute(script)
    deploy(
        connect(),
        ROOT / "sql" / name,
        variables={"StorageAccount": "s", "StorageSuffix": "x", "Container": "c", "Path": "/p"},
        report=lambda step: None,
        skip=("*grants*",),
    )
    assert len([s for s in statements(server) if MODULE.search(s)]) == 1
