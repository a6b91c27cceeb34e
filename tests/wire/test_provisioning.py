"""Before the scripts run: the database is created, and the app's user is that of its identity."""

from __future__ import annotations

from uuid import UUID

import pytest
from click.testing import CliRunner
from flask.cli import FlaskGroup

from app import create_app
from database.connect.credentials import cloud_of
from database.provisioning import prepare_user
from testkit.server import bare_environment
from testkit.tds.messages import Column
from testkit.tds.script import Reply, Request, Rows, ServerError
from testkit.tds.server import TdsServer
from tests.wire.conftest import Connect

OBJECT = UUID("aaaaaaaa-0000-0000-0000-000000000001")
CLIENT = UUID("bbbbbbbb-0000-0000-0000-000000000002")
DROP = "DROP USER [it's [a]] name]"
CREATE = f"CREATE USER [it's [a]] name] FROM EXTERNAL PROVIDER WITH OBJECT_ID = '{OBJECT}'"


def changes(server: TdsServer) -> list[str]:
    return [r.statement for r in server.executions if not r.statement.startswith("SELECT")]


@pytest.mark.parametrize(
    ("sid", "ids", "expected"),
    [
        (None, (OBJECT, CLIENT), [CREATE]),
        (None, (OBJECT, None), [CREATE]),
        (None, (None, CLIENT), []),  # the grants script creates the user by its name
        (str(CLIENT).upper(), (OBJECT, CLIENT), []),
        (str(OBJECT), (OBJECT, None), []),
        (str(OBJECT), (OBJECT, CLIENT), [DROP, CREATE]),  # the app was deleted and created again
        (str(OBJECT), (None, CLIENT), [DROP]),
    ],
)
def test_the_apps_user_is_that_of_its_present_identity(
    server: TdsServer, connect: Connect, sid, ids, expected
):
    object_id, client_id = ids
    rows = [(sid,)] if sid else []
    server.on_execute(
        lambda r: Reply(Rows((Column("sid"),), rows)) if "SELECT" in r.statement else Reply()
    )
    said = []
    prepare_user(
        connect(), "it's [a] name", object_id=object_id, client_id=client_id, report=said.append
    )
    assert changes(server) == expected
    assert len(said) == len(expected)


def test_without_ids_no_user_is_looked_up(server: TdsServer, connect: Connect):
    prepare_user(connect(), "shop", object_id=None, client_id=None, report=print)
    assert server.executions == []


@pytest.fixture
def flask(driver: str, server: TdsServer, tmp_path, monkeypatch):
    """Run `flask sql …` with TAXI at the scripted server."""
    text = (
        f"Driver={driver};Server=127.0.0.1,{server.port};Database={{my trips}};UID=u;PWD=p;"
        "Encrypt=no"
    )
    environment = bare_environment(LOCAL_DIR=str(tmp_path), SQLAZURECONNSTR_TAXI=text)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    group = FlaskGroup(create_app=create_app, load_dotenv=False)
    return lambda *words: CliRunner().invoke(group, words, prog_name="flask")


@pytest.mark.parametrize("exists", [False, True])
def test_a_database_is_created_from_master_unless_it_exists(server: TdsServer, flask, exists):
    def script(request: Request) -> Reply:
        if "sys.databases" in request.statement:
            return Reply(Rows((Column("", "int"),), [(1,)] if exists else []))
        return Reply()

    server.on_execute(script)
    done = flask("sql", "create-database", "--target", "TAXI")
    assert done.exit_code == 0
    assert done.output == (
        "Database my trips exists.\n" if exists else "Created database my trips.\n"
    )
    assert {login.database for login in server.logins} == {"master"}
    created = ["CREATE DATABASE [my trips] COLLATE Latin1_General_100_BIN2_UTF8"]
    assert changes(server) == ([] if exists else created)


def test_a_database_that_may_not_be_created_is_one_sentence(server: TdsServer, flask):
    refusal = Reply(ServerError(262, "CREATE DATABASE permission denied in database 'master'."))
    server.on_execute(
        lambda r: refusal if "CREATE" in r.statement else Reply(Rows((Column("", "int"),), []))
    )
    done = flask("sql", "create-database", "--target", "TAXI")
    assert done.exit_code == 1
    assert done.output.startswith("Error: Database my trips was not created: ")
    assert "permission denied" in done.output
    assert done.output.count("\n") == 1


def test_the_driver_that_would_be_used_is_printed(flask):
    done = flask("sql", "driver")
    assert done.exit_code == 0
    assert "sql" in done.output.lower()


def test_a_missing_driver_is_one_sentence(flask, monkeypatch):
    monkeypatch.setattr("database.connect.drivers.installed_drivers", list)
    monkeypatch.setattr("database.connect.drivers.pyodbc.drivers", list)
    monkeypatch.setattr("database.connect.drivers._packaged_driver", lambda: None)
    done = flask("sql", "driver")
    assert done.exit_code == 1
    assert done.output.startswith("Error: No ODBC driver for sqlserver is installed")


@pytest.mark.parametrize(
    ("server_name", "suffix"),
    [
        ("trips-ondemand.sql.azuresynapse.net", "core.windows.net"),
        ("trips-ondemand.sql.azuresynapse.azure.cn", "core.chinacloudapi.cn"),
        ("trips-ondemand.sql.azuresynapse.usgovcloudapi.net", "core.usgovcloudapi.net"),
    ],
)
def test_the_storage_account_is_in_the_cloud_of_the_server(server_name, suffix):
    assert cloud_of(server_name).storage_suffix == suffix
