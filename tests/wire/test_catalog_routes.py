"""From an HTTP request through Microsoft's driver and back: routes of a scripted catalog."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import close_app, create_app
from settings import read_settings
from testkit.server import bare_environment
from testkit.tds.catalog import ScriptedCatalog
from testkit.tds.messages import Column
from testkit.tds.script import Reply, Request, Rows, ServerError
from testkit.tds.server import TdsServer

ORDER = Rows((Column("OrderID", "int"), Column("Total", "money")), [(7, "12.50")])
STORED = (Column("procedures_api_replay", "int"), Column("Digest", "nvarchar(64)"))
STORED += (Column("Status", "int"), Column("Headers"), Column("Response"))
KEY = {"Idempotency-Key": "0b5d7d4e-3f3a-4a9e-9a55-9d1f4ff5a1c2"}
MISSING = "Could not find stored procedure 'api.get_order'."
EXPECTED = "Procedure or function 'get_order' expects parameter '@Since', which was not supplied."


@pytest.fixture
def catalog(server: TdsServer) -> ScriptedCatalog:
    made = ScriptedCatalog(
        lambda _: Reply(ORDER),
        get_order="@OrderID int, @Since date = NULL",
        create_order="@customer nvarchar(50), @amount money = 0",
    )
    server.on_execute(made)
    return made


@pytest.fixture
def client(
    server: TdsServer, catalog: ScriptedCatalog, driver: str, tmp_path: Path
) -> Iterator[FlaskClient]:
    text = f"DRIVER={driver};SERVER=127.0.0.1,{server.port};UID=r;PWD=p;Encrypt=no"
    environment = bare_environment(
        SQLAZURECONNSTR_ERP=text, LOCAL_DIR=str(tmp_path), CATALOG_SECONDS="86400"
    )
    app = create_app(read_settings(environment))
    yield app.test_client()
    close_app(app)


@pytest.fixture
def calls(server: TdsServer) -> Callable[[], list[Request]]:
    """The calls of procedures so far, and what stores and finds their responses."""
    return lambda: [
        request
        for request in server.executions
        if "[api]." in request.statement or "UPDATE procedures_api" in request.statement
    ]


def age_catalog(client: FlaskClient) -> None:
    """As if the last read had ended a second ago: only then does a failed call read it again."""
    client.application.extensions["catalog"].live._read_at = time.monotonic() - 1


def test_a_get_is_one_call_with_what_the_client_sent(client: FlaskClient, calls):
    response = client.get("/order/7")
    assert (response.status_code, response.get_data(as_text=True)) == (
        *(200, '[{"OrderID":7,"Total":12.5000}]'),
    )
    (request,) = calls()
    assert request.statement == "EXEC [api].[get_order] @OrderID = @P1;"
    assert request.values == (7,)


def test_a_write_is_done_and_its_response_stored_in_two_round_trips(client: FlaskClient, calls):
    response = client.post("/order", json={"customer": "Łódź"}, headers=KEY)
    assert response.status_code == 201
    write, keep = calls()
    assert "EXEC [api].[create_order] @customer = @P3;" in write.statement
    assert write.values[2:] == ("Łódź",)
    status, headers, body, key = keep.values
    assert (status, body, key) == (201, response.get_data(as_text=True), write.values[0])
    assert json.loads(headers)["Content-Type"] == "application/json"


def test_a_replay_answers_the_stored_response_and_writes_nothing(
    client: FlaskClient, catalog: ScriptedCatalog, calls
):
    def replay(request: Request) -> Reply:
        headers = '{"Location": "/order/7", "Content-Type": "application/json"}'
        row = (1, request.values[1], 201, headers, '[{"OrderID":7}]')
        return Reply(Rows(STORED, [row]))

    catalog.calls = replay
    response = client.post("/order", json={"customer": "x"}, headers=KEY)
    assert (response.status_code, response.get_json()) == (201, [{"OrderID": 7}])
    assert response.headers["Idempotency-Replayed"] == "true"
    assert response.headers["Location"].endswith("/order/7")
    assert len(calls()) == 1


@pytest.mark.parametrize("number", [266, 59266])
def test_a_changed_transaction_is_a_500_and_no_response_is_stored(
    client: FlaskClient, catalog: ScriptedCatalog, calls, number: int
):
    catalog.calls = lambda _: Reply(ORDER, ServerError(number, "Transaction count after EXECUTE"))
    response = client.post("/order", json={"customer": "x"}, headers=KEY)
    assert response.status_code == 500
    assert response.content_type == "application/problem+json"
    assert "Transaction count" not in response.get_data(as_text=True)
    assert len(calls()) == 1


def test_a_renamed_parameter_is_found_by_a_failed_call_which_is_made_once_more(
    client: FlaskClient, catalog: ScriptedCatalog, calls
):
    refused = ServerError(8145, "@Since is not a parameter for procedure get_order.")

    def changed(request: Request) -> Reply:
        return Reply(refused if "@Since" in request.statement else ORDER)

    catalog.calls = changed
    assert client.get("/order/7").status_code == 200
    age_catalog(client)
    catalog.put("get_order", "@OrderID int")
    response = client.get("/order/7?Since=2026-01-31")
    # The new catalog knows no Since: a fault of the request, by name.
    assert response.status_code == 400
    assert response.get_json()["errors"][0]["parameter"] == "Since"


def test_a_dropped_procedure_is_looked_for_once(
    client: FlaskClient, catalog: ScriptedCatalog, calls
):
    catalog.calls = lambda _: Reply(ServerError(2812, MISSING))
    age_catalog(client)
    reads = catalog.reads
    catalog.put("get_order", "@OrderID int")
    assert client.get("/order/7").status_code == 500
    assert catalog.reads == reads + 1
    assert len(calls()) == 2


def test_a_parameter_that_the_database_misses_is_a_400_with_its_name(
    client: FlaskClient, catalog: ScriptedCatalog
):
    catalog.calls = lambda _: Reply(ServerError(201, EXPECTED))
    response = client.get("/order/7")
    assert response.status_code == 400
    assert "Since" in response.get_data(as_text=True)
