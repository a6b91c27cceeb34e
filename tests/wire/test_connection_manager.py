"""The connection manager on the wire: its requests, and its treatment of every failure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from connection_manager import ConnectionManager
from database.deadline import Deadline
from database.errors import (
    SQL_SERVER,
    DatabaseError,
    DeadlineExceeded,
    Kind,
    Unavailable,
)
from database.events import Retry
from database.retry import MOST_ATTEMPTS
from testkit.proxy import Proxy
from testkit.tds.messages import Column
from testkit.tds.script import FRAGMENT_CHARACTERS, JSON, Reply, Rows, ServerError, json_rows
from testkit.tds.server import TdsServer

PROCEDURE = "web.put_customer"
WRITE = json.dumps({"CustomerName": "Łódź 🦊", "_request": {"key": "k-1", "digest": "0" * 64}})
ANSWER = Rows(
    (JSON, Column("ETag", "nvarchar(64)"), Column("Replayed", "int"), Column("Next")),
    [('[{"CustomerID":123}]', "1.-2", 0, None)],
)
LONGEST_SOURCE_WAIT = 10.0  # seconds; a deadline below it can't hold such a wait
Manage = Callable[..., ConnectionManager]


@pytest.fixture
def seen() -> list[DatabaseError]:
    """The failures after which the manager tried again."""
    return []


@pytest.fixture
def manage(driver: str, server: TdsServer, seen: list[DatabaseError]) -> Iterator[Manage]:
    """Make managers; at the end each has everything back and is closed."""
    made: list[ConnectionManager] = []

    def note(event: object) -> None:
        if isinstance(event, Retry):
            seen.append(event.failure)

    def make(*, extra: str = "UID=reader;PWD=secret;Encrypt=no", **options) -> ConnectionManager:
        text = f"DRIVER={driver};SERVER=127.0.0.1,{server.port};DATABASE=WWIF;{extra}"
        options = {"deadline_seconds": 5.0, "observe": note, **options}
        made.append(ConnectionManager(text, family="sqlserver", **options))
        return made[-1]

    yield make
    for manager in made:
        stats = manager.stats()
        assert (stats.in_use, stats.connecting, stats.waiting) == (0, 0, 0)
        assert manager.close()


# What is sent


def test_procedure_is_one_execute_with_one_nvarchar_max(server: TdsServer, manage: Manage):
    manage().call("web.get_customer", WRITE)
    (request,) = server.executions
    assert (request.kind, request.statement) == ("prepexec", "EXEC web.get_customer @P1")
    assert request.declared == "@P1 nvarchar(max)"
    assert (request.types, request.values) == (("nvarchar(max)",), (WRITE,))


@pytest.mark.parametrize("length", [1, 1999, 2001, 4001, 1_000_000])
def test_document_of_any_length_has_one_type(server: TdsServer, manage: Manage, length: int):
    document = "é" * length
    manage().call(PROCEDURE, document)
    assert server.executions[0].values == (document,)
    assert {r.declared for r in server.requests if r.declared} == {"@P1 nvarchar(max)"}


def test_call_costs_one_round_trip(server: TdsServer, manage: Manage):
    manager = manage()
    manager.call(PROCEDURE, WRITE)
    before = len(server.requests)
    for _ in range(3):
        manager.call(PROCEDURE, WRITE)
    assert [request.kind for request in server.requests[before:]] == ["prepexec"] * 3


def test_login_names_the_application_and_begins_no_transaction(server: TdsServer, manage: Manage):
    manage().call(PROCEDURE, WRITE)
    assert server.logins[0].app_name == "sql-procedures-api"
    assert [request for request in server.requests if request.kind == "transaction"] == []


def test_session_is_reset_by_the_next_calls_first_request(server: TdsServer, manage: Manage):
    manager = manage()
    for number in range(3):
        manager.call("web.get_customer", f'{{"CustomerID":{number}}}')
    assert [request.reset for request in server.executions] == [False, True, True]
    assert len(server.connections) == 1


# What is answered


def test_metadata_columns_become_the_answer(server: TdsServer, manage: Manage):
    server.on_execute(lambda _: Reply(ANSWER))
    answer = manage().call(PROCEDURE, WRITE)
    assert answer.json == '[{"CustomerID":123}]'
    assert (answer.etag, answer.replayed, answer.next) == ("1.-2", False, None)


@pytest.mark.parametrize("size", [None, FRAGMENT_CHARACTERS, 1])
def test_rows_are_joined_in_order(server: TdsServer, manage: Manage, size: int | None):
    text = json.dumps([{"CustomerName": f"🦊 {number}"} for number in range(300)])
    server.on_execute(lambda _: Reply(json_rows(text, size=size)))
    assert manage().call("web.get_customers").json == text


def test_no_row_is_an_empty_answer(server: TdsServer, manage: Manage):
    server.on_execute(lambda _: Reply(Rows((JSON,), [])))
    assert manage().call("web.get_customer").json == ""


def test_fifty_megabytes_come_through_whole(server: TdsServer, manage: Manage):
    text = "0123456789" * 5_000_000
    server.on_execute(lambda _: Reply(json_rows(text)))
    assert manage(deadline_seconds=30.0).call("dbo.get_taxidata").json == text


# Errors by number


def scripted(number: int, *, severity: int = 16) -> ServerError:
    return ServerError(number, "inner (detail) text", severity=severity)


@pytest.mark.parametrize(
    "place, number",
    [
        *(("login", number) for number in sorted(SQL_SERVER)),
        *(("execute", number) for number in sorted(SQL_SERVER)),
        *(("after rows", number) for number in (1205, 2627, 8134, 40197, 40501)),
    ],
)
def test_number_means_what_the_table_says(
    server: TdsServer, manage: Manage, seen: list[DatabaseError], place: str, number: int
):
    rule = SQL_SERVER[number]
    if place == "login":
        server.login_replies.append(Reply(scripted(number)))
    else:
        rows = [json_rows("[1]")] if place == "after rows" else []
        server.replies.append(Reply(*rows, scripted(number)))
    server.on_execute(lambda _: Reply(ANSWER))
    manager = manage()
    if not rule.kind.transient:
        with pytest.raises(DatabaseError) as failed:
            manager.call(PROCEDURE, WRITE)
        assert (failed.value.kind, failed.value.native) == (rule.kind, number)
        assert "inner" not in str(failed.value)
        assert seen == []
        return
    if rule.wait >= LONGEST_SOURCE_WAIT:
        with pytest.raises(Unavailable) as later:
            manager.call(PROCEDURE, WRITE)
        assert later.value.retry_after >= rule.wait
    else:
        assert manager.call(PROCEDURE, WRITE).json == '[{"CustomerID":123}]'
        assert {request.values for request in server.executions} == {(WRITE,)}
    assert {(error.kind, error.native) for error in seen} <= {(rule.kind, number)}


@pytest.mark.parametrize("number", [40501, 10928, 10929, 49918, 49919, 49920])
def test_throttling_is_transient_and_waits_as_long_as_its_source_recommends(number: int):
    assert SQL_SERVER[number].kind is Kind.THROTTLED
    assert SQL_SERVER[number].wait >= 10


@pytest.mark.parametrize("number", [40613, 40197, 40540, 42108, 42109])
def test_resuming_database_is_waited_for(
    server: TdsServer, manage: Manage, seen: list[DatabaseError], number: int
):
    server.login_replies.extend([Reply(scripted(number))] * 2)
    assert manage().call("web.get_customer").json
    assert {error.kind for error in seen} == {Kind.RESUMING}
    assert len(server.logins) == 3


def test_deadlock_victim_asks_again_on_the_same_connection(
    server: TdsServer, manage: Manage, seen: list[DatabaseError]
):
    server.replies.extend([Reply(ServerError(1205, "victim", severity=13))] * 3)
    manage().call(PROCEDURE, WRITE)
    assert {error.kind for error in seen} == {Kind.CONTENTION}
    assert [request.values for request in server.executions] == [(WRITE,)] * 4
    assert len(server.connections) == 1


def test_each_failed_attempt_is_observed_once(
    server: TdsServer, manage: Manage, seen: list[DatabaseError]
):
    server.replies.extend([Reply(scripted(1205)), Reply(scripted(3960))])
    manage().call(PROCEDURE, WRITE)
    assert [error.native for error in seen] == [1205, 3960]


@pytest.mark.parametrize("status", [400, 409, 412, 422, 599])
@pytest.mark.parametrize("place", ["before", "after rows", "among rows"])
def test_procedure_chooses_status_and_message(
    server: TdsServer, manage: Manage, status: int, place: str
):
    said = "Customers[1]: the name (A. Datum) is taken (2627) (again)."
    rows = {
        "before": [],
        "after rows": [json_rows("[1]")],
        "among rows": [Rows((JSON,), [("[" * 3000,)] * 50, finished=False)],
    }[place]
    server.on_execute(lambda _: Reply(*rows, ServerError(50000 + status, said)))
    with pytest.raises(DatabaseError) as failed:
        manage().call(PROCEDURE, WRITE)
    assert failed.value.kind is Kind.CHOSEN
    assert (failed.value.status, failed.value.message) == (status, said)
    assert len(server.executions) == 1


@pytest.mark.parametrize("number", [50000, 50399, 50600, 33557097])
def test_other_numbers_choose_nothing(server: TdsServer, manage: Manage, number: int):
    server.on_execute(lambda _: Reply(ServerError(number, "internal")))
    with pytest.raises(DatabaseError) as failed:
        manage().call(PROCEDURE, WRITE)
    assert failed.value.kind is not Kind.CHOSEN
    assert failed.value.status is None


# Deadline


def test_deadline_sends_attention_and_frees_the_slot(server: TdsServer, manage: Manage):
    server.replies.append(Reply(hold=True))
    manager = manage(max_size=1)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        manager.call("web.get_customer", deadline=Deadline(0.3))
    assert time.monotonic() - started < 1.0
    assert server.wait_for("attention")
    assert manager.call("web.get_customer").json


def test_deadline_holds_though_the_server_never_acknowledges(server: TdsServer, manage: Manage):
    server.acknowledges_attention = False
    server.replies.append(Reply(hold=True))
    manager = manage()
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        manager.call("web.get_customer", deadline=Deadline(0.3))
    assert time.monotonic() - started < 3.0
    assert manager.call("web.get_customer").json


def test_deadline_among_rows_gives_no_half_answer(server: TdsServer, manage: Manage):
    server.replies.append(Reply(Rows((JSON,), [("x" * 2033,)] * 30), hold=True))
    with pytest.raises(DeadlineExceeded):
        manage().call("web.get_customers", deadline=Deadline(0.3))
    assert server.wait_for("attention")


def test_deadline_bounds_a_hung_login(server: TdsServer, manage: Manage):
    server.on_login(lambda _: Reply(hold=True))
    started = time.monotonic()
    with pytest.raises((Unavailable, DeadlineExceeded)):
        manage().call("web.get_customer", deadline=Deadline(0.9))
    assert time.monotonic() - started < 2.0


# Cuts


@pytest.mark.parametrize("cut", ["fin", "rst"])
@pytest.mark.parametrize("stage", ["accept", "prelogin", "login"])
def test_login_cut_in_the_middle_is_tried_again(
    server: TdsServer, manage: Manage, stage: str, cut: str
):
    server.cut_login(stage, cut)
    manage().call(PROCEDURE, WRITE)
    assert [request.values for request in server.executions] == [(WRITE,)]
    assert len(server.connections) == 2


@pytest.mark.parametrize("after", [1, 50, 150, 1_500, 4_096, 60_000])
def test_a_request_cut_in_the_middle_is_repeated(server: TdsServer, manage: Manage, after: int):
    document = json.dumps({"CustomerName": "x" * 50_000, "_request": {"key": "k-1"}})
    manager = manage()
    manager.call("web.get_customer")
    server.cut_request(after)
    manager.call(PROCEDURE, document)
    assert server.executions[-1].values == (document,)
    assert {len(request.values[0]) for request in server.executions[1:]} == {len(document)}


def test_a_write_cut_anywhere_in_its_response_is_repeated_with_the_same_key(
    server: TdsServer, manage: Manage
):
    server.on_execute(lambda _: Reply(ANSWER))
    cuts = 0
    for offset in range(0, 2_000, 7):
        manager = manage()
        before = len(server.executions)
        server.replies.append(Reply(ANSWER, cut_after=offset, cut="rst" if offset % 2 else "fin"))
        assert manager.call(PROCEDURE, WRITE).json == '[{"CustomerID":123}]'
        keys = [json.loads(r.values[0])["_request"]["key"] for r in server.executions[before:]]
        manager.close()
        if keys == ["k-1"]:
            break
        assert keys == ["k-1", "k-1"]
        cuts += 1
    assert cuts > 20, "the answer is longer than 140 bytes"


@pytest.mark.parametrize("cut", ["fin", "rst"])
def test_read_cut_among_its_rows_is_read_again(server: TdsServer, manage: Manage, cut: str):
    text = "x" * 100_000
    server.on_execute(lambda _: Reply(json_rows(text, size=FRAGMENT_CHARACTERS)))
    manager = manage()
    for cut_after in (10, 5_000, 150_000):
        rows = json_rows(text, size=FRAGMENT_CHARACTERS)
        server.replies.append(Reply(rows, cut_after=cut_after, cut=cut))
        assert manager.call("web.get_customers").json == text
    assert len(server.executions) == 6


@pytest.mark.parametrize("cut", ["fin", "rst"])
def test_connection_cut_while_idle_is_replaced(
    server: TdsServer, manage: Manage, seen: list[DatabaseError], cut: str
):
    manager = manage()
    manager.call("web.get_customer")
    server.connections[0].cut(cut)
    manager.call(PROCEDURE, WRITE)
    assert [request.values for request in server.executions][1:] == [(WRITE,)]
    assert {error.kind for error in seen} == {Kind.LOST}
    assert len(server.connections) == 2


def test_call_that_may_not_be_repeated_reports_the_cut(server: TdsServer, manage: Manage):
    server.replies.append(Reply(ANSWER, cut_after=0))
    with pytest.raises(DatabaseError) as failed:
        manage().call(PROCEDURE, '{"CustomerName":"no key"}', repeatable=False)
    assert failed.value.kind is Kind.LOST
    assert len(server.executions) == 1


def test_server_that_is_gone_answers_unavailable_within_the_deadline(
    server: TdsServer, manage: Manage
):
    manager = manage()
    manager.call("web.get_customer")
    server.refuse()
    server.connections[0].cut()
    started = time.monotonic()
    with pytest.raises((Unavailable, DeadlineExceeded)):
        manager.call(PROCEDURE, WRITE, deadline=Deadline(0.9))
    assert time.monotonic() - started < 2.5


def test_a_short_deadline_does_not_shorten_the_next_call_of_its_connection(
    server: TdsServer, manage: Manage
):
    manager = manage(max_size=1)
    manager.call("web.get_customers")
    assert manager.call("web.get_customer", deadline=Deadline(0.3)).json
    server.replies.append(Reply(Rows((JSON,), slow_rows(1.6))))
    assert manager.call("web.get_customer", deadline=Deadline(12)).json == "[]"
    assert len(server.connections) == 1


def slow_rows(seconds: float) -> Iterator[tuple[str]]:
    """A row that takes so long; the server sends nothing meanwhile."""
    time.sleep(seconds)
    yield ("[]",)


def test_a_kept_cursor_is_made_again_only_for_a_longer_deadline(server: TdsServer, manage: Manage):
    manager = manage(max_size=1)
    for seconds in (30, 0.3, 12, 25, 1):
        manager.call("web.get_customer", deadline=Deadline(seconds))
    assert "unprepare" not in [request.kind for request in server.requests]
    manager.call("web.get_customer", deadline=Deadline(60))
    assert [request.kind for request in server.requests].count("unprepare") == 1


# A gateway that redirects, as Azure SQL's does, and a network that freezes behind it


@pytest.fixture
def redirected(server: TdsServer, certificate: str) -> Iterator[Proxy]:
    """The network between the client and the server that the gateway `server` redirects to."""
    with (
        TdsServer(certificate=certificate) as behind,
        Proxy(("127.0.0.1", behind.port)) as network,
    ):
        server.redirects_to = network.port
        yield network
    assert behind.failures == []


def test_a_deadline_holds_on_a_frozen_network_behind_a_redirect(redirected: Proxy, manage: Manage):
    manager = manage(max_size=4)
    # At the same time, so that the order of their sockets does not tell them apart.
    with ThreadPoolExecutor(4) as crowd:
        for call in [crowd.submit(manager.call, f"web.get_{n}") for n in range(4)]:
            assert call.result().json
    redirected.freeze()
    with ThreadPoolExecutor(4) as crowd:
        began = time.monotonic()
        calls = [
            crowd.submit(manager.call, f"web.get_{n}", deadline=Deadline(1.0)) for n in range(4)
        ]
        for call in calls:
            with pytest.raises((DeadlineExceeded, Unavailable)):
                call.result()
        assert time.monotonic() - began < 2.5
    redirected.thaw()
    assert manager.call("web.get_customer").json


def test_a_connect_that_freezes_behind_a_redirect_ends_at_its_deadline(
    redirected: Proxy, manage: Manage
):
    redirected.freeze()
    began = time.monotonic()
    with pytest.raises((DeadlineExceeded, Unavailable)):
        manage().call("web.get_customer", deadline=Deadline(0.5))
    assert time.monotonic() - began < 2.0


# A database that can't be opened


def test_4060_is_waited_for(server: TdsServer, manage: Manage, seen: list[DatabaseError]):
    server.login_replies.append(Reply(scripted(4060)))
    assert manage().call("web.get_customer").json
    assert [error.kind for error in seen] == [Kind.NOT_OPEN]


def test_a_wrong_database_name_is_reported_after_a_few_logins(server: TdsServer, manage: Manage):
    server.on_login(lambda _: Reply(scripted(4060)))
    began = time.monotonic()
    with pytest.raises(Unavailable) as raised:
        manage(deadline_seconds=30).call("web.get_customer")
    assert len(server.logins) == MOST_ATTEMPTS[Kind.NOT_OPEN]
    assert time.monotonic() - began < 6
    assert raised.value.failure.native == 4060


# A database that takes no more connections


def test_at_the_limit_of_sessions_a_call_waits_for_a_working_connection(
    server: TdsServer, manage: Manage
):
    manager = manage(max_size=4)
    server.replies.append(Reply(Rows((JSON,), slow_rows(0.5))))
    with ThreadPoolExecutor() as pool:
        first = pool.submit(manager.call, "web.get_slowly")
        server.wait_for("prepexec")
        server.on_login(lambda _: Reply(scripted(10928)))
        began = time.monotonic()
        assert manager.call("web.get_customer").json
        assert time.monotonic() - began < 3
        assert first.result().json == "[]"
    assert len(server.logins) == 2


# Connection strings of other clients


@pytest.mark.parametrize(
    "form",
    [
        "Data Source=tcp:127.0.0.1,{port};Initial Catalog=WWIF;User ID=reader;Password='se;cret';"
        "Encrypt=False;TrustServerCertificate=False;MultipleActiveResultSets=True;"
        "Persist Security Info=False;Connection Timeout=30;",
        "mssql+pyodbc://reader:se%3Bcret@127.0.0.1:{port}/WWIF?Encrypt=no",
    ],
)
def test_a_translated_connection_string_logs_in(server: TdsServer, form: str):
    manager = ConnectionManager(form.format(port=server.port), family="sqlserver")
    try:
        assert manager.call("web.get_customer").json
        (login,) = server.logins
        assert (login.user, login.password, login.database) == ("reader", "se;cret", "WWIF")
    finally:
        manager.close()
