"""On the wire: a call carries the caller's claims, and the next call starts without them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from connection_manager import ConnectionManager
from database.errors import DatabaseError, Kind
from testkit.tds.script import JSON, Reply, Rows, ServerError
from testkit.tds.server import TdsServer

CALLER = json.dumps({"subject": "Łódź 🦊 '; DROP", "issuer": "i", "name": "", "roles": []})
DOCUMENT = '{"CustomerID":123}'
WITH_CALLER = (
    "BEGIN TRY EXEC sys.sp_set_session_context N'caller', @P1, 1 END TRY"
    " BEGIN CATCH THROW END CATCH; EXEC web.get_customer @P2"
)
Manage = Callable[[], ConnectionManager]


@pytest.fixture
def manage(driver: str, server: TdsServer) -> Iterator[Manage]:
    made: list[ConnectionManager] = []

    def make() -> ConnectionManager:
        text = f"DRIVER={driver};SERVER=127.0.0.1,{server.port};UID=r;PWD=p;Encrypt=no"
        made.append(ConnectionManager(text, family="sqlserver", deadline_seconds=5.0, max_size=1))
        return made[-1]

    yield make
    for manager in made:
        assert manager.close()


def test_caller_and_call_are_one_request(server: TdsServer, manage: Manage):
    manager = manage()
    manager.call("web.get_customer", DOCUMENT)
    before = len(server.requests)
    manager.call("web.get_customer", DOCUMENT, caller=CALLER)
    (request,) = server.requests[before:]
    assert (request.kind, request.statement) == ("prepexec", WITH_CALLER)
    assert request.values == (CALLER, DOCUMENT)


def test_the_caller_has_the_longest_type_that_a_session_keeps(server: TdsServer, manage: Manage):
    manage().call("web.get_customer", DOCUMENT, caller="é" * 4000)
    (request,) = server.executions
    assert request.declared == "@P1 nvarchar(4000),@P2 nvarchar(max)"
    assert request.values[0] == "é" * 4000


def test_every_call_after_a_caller_begins_with_a_reset(server: TdsServer, manage: Manage):
    manager = manage()
    for caller in (CALLER, None, CALLER, CALLER):
        manager.call("web.get_customer", DOCUMENT, caller=caller)
    assert len(server.connections) == 1
    sent = [(request.reset, request.values[:-1]) for request in server.executions]
    assert sent == [(False, (CALLER,)), (True, ()), (True, (CALLER,)), (True, (CALLER,))]


def test_a_stream_carries_its_caller_too(server: TdsServer, manage: Manage):
    server.on_execute(lambda _: Reply(Rows((JSON,), [("1",), ("2",)])))
    rows = manage().stream("web.get_customer", DOCUMENT, caller=CALLER)
    assert [text for batch in rows for text in batch] == ["1", "2"]
    (request,) = server.executions
    assert (request.statement, request.values) == (WITH_CALLER, (CALLER, DOCUMENT))


def test_a_caller_that_the_session_refuses_is_a_failed_call(server: TdsServer, manage: Manage):
    refused = ServerError(15664, "Cannot set key 'caller' in the session context.")
    server.on_execute(lambda _: Reply(refused))
    with pytest.raises(DatabaseError) as raised:
        manage().call("web.get_customer", DOCUMENT, caller=CALLER)
    assert (raised.value.kind, raised.value.native) == (Kind.UNKNOWN, 15664)
