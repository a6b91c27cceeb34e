"""SQLAlchemy through Microsoft's driver: the manager's connections, its token, its care."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from settings import read_settings
from testkit.tds.messages import Column
from testkit.tds.script import Reply, Request, Rows, ServerError
from testkit.tds.server import TdsServer
from tests.wire.test_tokens import LIFETIME, TLS, jwt

TOKEN = jwt(4, int(time.time()) + LIFETIME)
TEXTS = {"Name": "nvarchar(100)", "Sex": "nvarchar(6)"}
KEYS = (
    *("id", "Survived", "Pclass", "Name", "Sex", "Age", "sibling_or_spouse"),
    *("parents_or_children", "Fare"),
)
COLUMNS = tuple(Column(key, TEXTS.get(key, "int")) for key in KEYS)
PASSENGER = (1, 0, 3, "Łódź 🦊", "male", None, 1, 0, 17)


def text(value: str) -> Reply:
    return Reply(Rows((Column("value"),), [(value,)]))


def answer(request: Request) -> Reply:
    """As a SQL Server would, as far as SQLAlchemy asks it on its first connection."""
    if "titanic_passanger" in request.statement:
        return Reply(Rows(COLUMNS, [PASSENGER]))
    if "ProductVersion" in request.statement:
        return text("16.0.4105.2")
    if "schema_name()" in request.statement:
        return text("dbo")
    if "transaction_isolation_level" in request.statement:
        return text("READ COMMITTED")
    return text("dm_exec_sessions")


def selects(server: TdsServer) -> list[Request]:
    return [r for r in server.executions if "titanic_passanger" in r.statement]


@pytest.fixture
def app(driver: str, server: TdsServer, run_folder) -> Iterator[Flask]:
    server.on_execute(answer)
    made = create_app(
        read_settings(
            {
                "SQLAZURECONNSTR_WWIF": f"DRIVER={driver};SERVER=127.0.0.1,{server.port};"
                f"DATABASE=WWIF;{TLS}",
                "TOKEN": TOKEN,
                "LOCAL_DIR": str(run_folder),
                "EXPOSED_SCHEMAS": "ELSEWHERE:api",
                "REQUEST_DEADLINE_SECONDS": "5",
            }
        )
    )
    yield made
    stats = made.extensions["databases"].manager("WWIF").stats()
    assert (stats.in_use, stats.connecting, stats.waiting) == (0, 0, 0)
    made.extensions["databases"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_token_arrives_on_sqlalchemys_connection_too(client: FlaskClient, server: TdsServer):
    response = client.get("/passengers")
    assert response.status_code == 200
    assert response.json == [dict(zip(KEYS, PASSENGER, strict=True))]
    (login,) = server.logins
    assert login.token == TOKEN.encode("utf-16-le")
    assert login.encrypted
    assert (login.user, login.password) == ("", "")
    assert selects(server)


def test_every_connect_injects_the_token(client: FlaskClient, server: TdsServer):
    for _ in range(3):
        assert client.get("/passengers").status_code == 200
        server.connections[-1].cut()
    assert [login.token for login in server.logins] == [TOKEN.encode("utf-16-le")] * 3


def test_procedures_and_sqlalchemy_share_one_connection_reset_between(
    client: FlaskClient, server: TdsServer
):
    client.get("/customer/1")
    client.get("/passengers")
    client.get("/passengers")
    client.get("/customer/1")
    assert len(server.logins) == 1
    sent = [r for r in server.executions if re.search("titanic|web", r.statement)]
    # SQLAlchemy's own questions come before its first statement, and take the reset with them.
    assert [r.reset for r in sent] == [False, False, True, True]
    assert [r.kind for r in server.requests if r.kind == "transaction"] == []


def test_values_travel_as_parameters(client: FlaskClient, server: TdsServer):
    client.get("/passengers?sex=female&pclass=1&survived=true&after=7&limit=10")
    (request,) = selects(server)
    assert sorted(map(str, request.values)) == ["1", "1", "7", "female"]
    assert "TOP 11" in request.statement


def test_after_the_first_connection_a_request_costs_one_statement(
    client: FlaskClient, server: TdsServer
):
    client.get("/passengers")
    before = len(server.executions)
    client.get("/passengers")
    assert len(server.executions) == before + 1


@pytest.mark.parametrize("number", [40613, 1205])
def test_a_transient_error_is_waited_out(client: FlaskClient, server: TdsServer, number: int):
    client.get("/passengers")
    fails = [ServerError(number)]
    server.on_execute(lambda r: Reply(fails.pop()) if fails else answer(r))
    assert client.get("/passengers").status_code == 200


def test_a_cut_during_a_statement_is_repeated(client: FlaskClient, server: TdsServer):
    client.get("/passengers")
    cuts = [Reply(Rows(COLUMNS, [PASSENGER]), cut_after=20)]
    server.on_execute(lambda r: cuts.pop() if cuts else answer(r))
    assert client.get("/passengers").json == [dict(zip(KEYS, PASSENGER, strict=True))]
    assert len(server.logins) == 2


@pytest.mark.parametrize(("number", "status"), [(229, 500), (208, 500), (8134, 500), (8115, 422)])
def test_an_error_has_the_meaning_that_it_has_everywhere(
    client: FlaskClient, server: TdsServer, number: int, status: int
):
    client.get("/passengers")
    server.on_execute(lambda r: Reply(ServerError(number, "SECRET of the server")))
    response = client.get("/passengers")
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    assert "SECRET" not in response.text


def test_a_statement_past_the_deadline_is_cancelled(client: FlaskClient, server: TdsServer):
    client.get("/passengers")
    server.on_execute(lambda r: Reply(Rows(COLUMNS, [PASSENGER], finished=False), hold=True))
    response = client.get("/passengers", headers={"Request-Timeout": "0.3"})
    assert response.status_code == 504
    assert server.wait_for("attention")
    server.on_execute(answer)
    assert client.get("/passengers").status_code == 200
