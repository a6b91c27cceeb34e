"""`flask sql check` and the sample over Microsoft's driver: its queries, and its report."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.required_objects import RequiredObjects, missing, policies
from deploy.sample_rows import SAMPLES, fill_empty
from settings import ROOT
from testkit.server import bare_environment
from testkit.tds.messages import Column
from testkit.tds.script import Reply, Request, Rows, ServerError
from testkit.tds.server import TdsServer
from tests.wire.conftest import Connect

READ = "web.get_customer"
TABLE = "dbo.titanic_passanger"
NEEDS = RequiredObjects({READ: False}, {TABLE})
PROCEDURE_COLUMNS = (Column("found", "int"), Column("allowed", "int"))
POLICY_COLUMNS = tuple(Column(name) for name in ("table_schema", "table", "schema", "policy"))
WWI_POLICY = ("Sales", "Customers", "Application", "FilterCustomersBySalesTerritoryRole")


def database(
    *,
    found: int | None = 7,
    execute: int | None = 1,
    parameters: tuple[str, ...] = ("@Json nvarchar(max)",),
    select: int | None = 1,
    policies: tuple[tuple[str, ...], ...] = (),
):
    """A script that answers as a database with this one procedure and table would."""

    def script(request: Request) -> Reply:
        if "sys.parameters" in request.statement:
            return Reply(Rows((Column("parameter"),), [(p,) for p in parameters]))
        if "sys.security_policies" in request.statement:
            return Reply(Rows(POLICY_COLUMNS, policies))
        if "FROM sys.procedures" in request.statement:
            return Reply(Rows((Column("object_id", "int"),), []))
        if "OBJECT_ID" in request.statement:
            return Reply(Rows(PROCEDURE_COLUMNS, [(found, execute)]))
        return Reply(Rows((Column("allowed", "int"),), [(select,)]))

    return script


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"found": None, "execute": None}, f"{READ}: there is no such procedure"),
        ({"execute": 0}, f"{READ}: this user may not execute it."),
        ({"parameters": ()}, f"{READ}: its one parameter must be @Json nvarchar(max)."),
        ({"parameters": ("@Json nvarchar",)}, f"{READ}: its one parameter must be"),
        ({"parameters": ("@Json nvarchar(max)", "@More int")}, f"{READ}: its one parameter must"),
        ({"select": None}, f"{TABLE}: there is no such table, or this user may not select"),
        ({"select": 0}, f"{TABLE}: there is no such table, or this user may not select"),
    ],
)
def test_each_thing_that_is_missing_has_a_sentence(
    server: TdsServer, connect: Connect, state: dict, sentence: str
):
    server.on_execute(database(**state))
    (said,) = missing(connect(), NEEDS)
    assert said.startswith(sentence)


def test_nothing_is_said_of_what_is_there(server: TdsServer, connect: Connect):
    server.on_execute(database())
    assert missing(connect(), NEEDS) == []
    assert [r.values for r in server.executions] == [(READ, READ), (7,), (TABLE,)]


def test_an_engine_that_does_not_tell_parameters_is_not_blamed(server: TdsServer, connect: Connect):
    script = database()
    refusal = Reply(ServerError(33557097, "relation does not exist"))
    server.on_execute(lambda r: refusal if "sys.parameters" in r.statement else script(r))
    assert missing(connect(), NEEDS) == []


def test_an_active_security_policy_on_a_table_in_use_has_a_sentence(
    server: TdsServer, connect: Connect
):
    server.on_execute(database(policies=(WWI_POLICY,)))
    (said,) = policies(connect(), NEEDS)
    assert said.startswith(
        "Sales.Customers: the security policy Application.FilterCustomersBySalesTerritoryRole is on"
    )
    assert "docs/row-level-security.md" in said
    (request,) = server.executions
    assert "p.is_enabled = 1" in request.statement
    assert request.values == (TABLE, READ)


def test_an_engine_without_security_policies_has_none(server: TdsServer, connect: Connect):
    server.on_execute(lambda r: Reply(ServerError(208, "Invalid object name")))
    assert policies(connect(), NEEDS) == []


@pytest.mark.parametrize("command", ["check", "deploy --skip=*"])
def test_the_command_reports_a_policy_and_does_not_fail_for_it(
    server: TdsServer, driver: str, tmp_path: Path, command: str
):
    server.on_execute(database(policies=(WWI_POLICY,)))
    done = flask_sql(server, driver, tmp_path, *command.split(), "--target=TAXI")
    assert "Application.FilterCustomersBySalesTerritoryRole is on" in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_waits_for_a_database_that_resumes(
    server: TdsServer, driver: str, tmp_path: Path
):
    server.login_replies.append(Reply(ServerError(40613, "is not currently available")))
    server.on_execute(database())
    done = flask_sql(server, driver, tmp_path, "check", "--target=TAXI")
    assert "resuming or scaling (40613); next attempt in 5 s." in done.stderr
    assert done.returncode == 0, done.stdout + done.stderr


def flask_sql(server: TdsServer, driver: str, folder: Path, *words: str):
    """`flask sql …` in a process of its own, over the scripted server as TAXI."""
    text = f"DRIVER={driver};SERVER=127.0.0.1,{server.port};UID=reader;PWD=secret;Encrypt=no"
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "sql", *words],
        cwd=ROOT,
        env=bare_environment(
            SQLAZURECONNSTR_TAXI=text, LOCAL_DIR=str(folder), EXPOSED_SCHEMAS="ELSEWHERE:api"
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def counted(rows: int):
    return lambda r: Reply(Rows((Column("", "int"),), [(rows,)] if "COUNT" in r.statement else []))


def test_the_sample_goes_whole_into_empty_tables_in_a_transaction_each(
    server: TdsServer, connect: Connect
):
    server.on_execute(counted(0))
    said: list[str] = []
    connection = connect()
    fill_empty(connection, report=said.append)
    assert said == [
        "Sales.Customers: 663 rows of the sample.",
        "dbo.titanic_passanger: 100 rows of the sample.",
    ]
    assert connection.autocommit
    inserted = [r.values for r in server.executions if r.values]
    with (ROOT / "data" / "customers.csv").open(encoding="utf-8", newline="") as file:
        customers = [tuple(row) for row in list(csv.reader(file))[1:]]
    # AddressLine2 is the column that may be NULL.
    wanted = [(*row[:6], row[6] or None, *row[7:], row[0]) for row in customers]
    assert [values[:9] for values in inserted[:663]] == wanted
    assert len(inserted) == 763


def test_tables_that_have_rows_are_left_alone(server: TdsServer, connect: Connect):
    server.on_execute(counted(1))
    said: list[str] = []
    fill_empty(connect(), report=said.append)
    assert said == [
        f"{sample.table} has rows already; left as it is." for sample in SAMPLES["sqlserver"]
    ]
    assert not [r for r in server.executions if "INSERT" in r.statement]
