"""What Microsoft's ODBC driver and pyodbc do on the wire, on which the connection manager builds.

If one of these fails after a driver update, the fact behind a decision has changed.
"""

from __future__ import annotations

import itertools
import re
import struct
import threading

import pyodbc
import pytest

from testkit.tds.messages import Column
from testkit.tds.script import FRAGMENT_CHARACTERS, JSON, Reply, Rows, ServerError, json_rows
from testkit.tds.server import TdsServer
from tests.wire.conftest import Connect

STATEMENT = "EXEC web.get_customer ?"
DOCUMENT = '{"CustomerID":123}'
ALWAYS_MAX = [(pyodbc.SQL_WVARCHAR, 0, 0)]
RESET_CONNECTION, RESET_YES = 1246, 1
TLS = {"Encrypt": "yes", "TrustServerCertificate": "yes"}
NUMBER = re.compile(r"\((-?\d+)\) \(\w+\)$")

Expected = tuple[int, int, type[pyodbc.Error], str]  # number, severity, exception, SQLSTATE
ERRORS: list[Expected] = [
    (40613, 17, pyodbc.ProgrammingError, "42000"),
    (40197, 17, pyodbc.ProgrammingError, "42000"),
    (49918, 16, pyodbc.ProgrammingError, "42000"),
    (40501, 20, pyodbc.Error, "HY000"),
    (10928, 20, pyodbc.Error, "HY000"),
    (1205, 13, pyodbc.Error, "40001"),
    (2627, 14, pyodbc.IntegrityError, "23000"),
    (2601, 14, pyodbc.IntegrityError, "23000"),
    (547, 16, pyodbc.IntegrityError, "23000"),
    (515, 16, pyodbc.IntegrityError, "23000"),
    (50001, 16, pyodbc.ProgrammingError, "42000"),
    (50409, 16, pyodbc.ProgrammingError, "42000"),
    (229, 14, pyodbc.ProgrammingError, "42000"),
    (4060, 11, pyodbc.ProgrammingError, "42000"),
    (40615, 14, pyodbc.ProgrammingError, "42000"),
    (2812, 16, pyodbc.ProgrammingError, "42000"),
    (1222, 16, pyodbc.ProgrammingError, "42000"),
    (208, 16, pyodbc.ProgrammingError, "42S02"),
    (18456, 14, pyodbc.InterfaceError, "28000"),
    (18452, 14, pyodbc.InterfaceError, "28000"),
    (8152, 16, pyodbc.DataError, "22001"),
    (245, 16, pyodbc.DataError, "22018"),
    (8134, 16, pyodbc.DataError, "22012"),
]


def packed(token: str, encoding: str = "utf-16-le") -> bytes:
    raw = token.encode(encoding)
    return struct.pack("=i", len(raw)) + raw


def native_number(error: pyodbc.Error) -> int:
    found = NUMBER.search(error.args[1])
    assert found, error.args[1]
    return int(found[1])


# Login


def test_user_and_password_arrive(server: TdsServer, connect: Connect):
    connect(APP="orders")
    (login,) = server.logins
    assert (login.user, login.password) == ("reader", "secret}{")
    assert (login.database, login.app_name) == ("WWIF", "orders")
    assert login.server_name == f"127.0.0.1,{server.port}"
    assert (login.token, login.encrypted) == (None, False)


def test_server_is_known_by_name_and_version(connect: Connect):
    connection = connect()
    assert connection.getinfo(pyodbc.SQL_DBMS_NAME) == "Microsoft SQL Server"
    assert connection.getinfo(pyodbc.SQL_DBMS_VER).startswith("16.")


def test_token_arrives_identical_and_encrypted(server: TdsServer, connect: Connect):
    token = "eyJ0eXAiOiJKV1QifQ." + "aZ09-_" * 400 + ".signature"
    connect(token=packed(token), **TLS)
    (login,) = server.logins
    assert login.token == token.encode("utf-16-le")
    assert (login.encrypted, login.user, login.password) == (True, "", "")


def test_wrongly_encoded_token_is_sent_as_it_is(server: TdsServer, connect: Connect):
    connect(token=packed("wrong", "utf-8"), **TLS)
    assert server.logins[0].token == b"wrong"


def test_driver_itself_would_send_a_token_in_clear(server: TdsServer, connect: Connect):
    connect(token=packed("careless"))
    assert server.logins[0].token == "careless".encode("utf-16-le")
    assert not server.logins[0].encrypted


@pytest.mark.parametrize("extra", [{"UID": "reader"}, {"PWD": ""}, {"Trusted_Connection": "yes"}])
def test_a_token_next_to_another_identity_is_refused_before_any_connection(
    server: TdsServer, connect: Connect, extra: dict[str, str]
):
    with pytest.raises(pyodbc.Error) as refused:
        connect(token=packed("token"), **TLS, **extra)
    assert refused.value.args[0] == "FA005"
    assert server.connections == []


def test_password_travels_encrypted_under_tls(server: TdsServer, connect: Connect):
    server.on_execute(lambda request: Reply(json_rows(request.values[0])))
    cursor = connect(**TLS).cursor()
    assert cursor.execute(STATEMENT, "é" * 1500).fetchval() == "é" * 1500
    assert server.logins[0].encrypted


def test_untrusted_certificate_gets_no_token(server: TdsServer, connect: Connect):
    with pytest.raises(pyodbc.Error) as refused:
        connect(token=packed("token"), Encrypt="yes")
    assert refused.value.args[0] == "08001"
    assert server.connections and server.logins == []


def test_server_without_tls_gets_no_token(driver: str):
    text = f"DRIVER={driver};Encrypt=yes;TrustServerCertificate=yes;ConnectRetryCount=0"
    with TdsServer() as plain:
        with pytest.raises(pyodbc.Error) as refused:
            pyodbc.connect(
                f"{text};SERVER=127.0.0.1,{plain.port}", attrs_before={1256: packed("token")}
            )
        assert refused.value.args[0] == "08001"
        assert plain.connections and plain.logins == []
    assert plain.failures == []


# Requests


def test_statement_types_and_values_as_sent(server: TdsServer, connect: Connect):
    text = '{"CustomerName":"Żółć 🦊 \U0001f9c0"}'
    connect().cursor().execute(STATEMENT, text)
    (request,) = server.executions
    units = len(text.encode("utf-16-le")) // 2
    assert request.kind == "prepexec"
    assert request.statement == "EXEC web.get_customer @P1"
    assert re.fullmatch(r"@P1 nvarchar\(\d+\)", request.declared)
    assert request.types == (request.declared.removeprefix("@P1 "),)
    assert units <= int(re.search(r"\d+(?=\))", request.declared)[0]) <= 2 * units
    assert request.values == (text,)


def test_set_input_sizes_makes_every_length_one_type(server: TdsServer, connect: Connect):
    cursor = connect().cursor()
    for text in ("{}", DOCUMENT, "x" * 1999):
        cursor.setinputsizes(ALWAYS_MAX)
        cursor.execute(STATEMENT, text).fetchall()
    assert {request.declared for request in server.executions} == {"@P1 nvarchar(max)"}
    assert [request.values[0] for request in server.executions] == ["{}", DOCUMENT, "x" * 1999]


@pytest.mark.parametrize(
    "sizes, declared", [(None, "@P1 ntext"), (ALWAYS_MAX, "@P1 nvarchar(max)")]
)
def test_long_text_is_prepared_then_executed(
    server: TdsServer, connect: Connect, sizes: list | None, declared: str
):
    cursor = connect().cursor()
    if sizes:
        cursor.setinputsizes(sizes)
    cursor.execute(STATEMENT, "x" * 2001).fetchall()
    sent = [request for request in server.requests if request.kind != "rpc"]
    assert [request.kind for request in sent] == ["prepare", "execute"]
    assert sent[0].declared == declared
    assert sent[1].values == ("x" * 2001,)


def test_five_million_characters_arrive_identical(server: TdsServer, connect: Connect):
    text = "".join(itertools.islice(itertools.cycle("abc 🦊 é"), 5_000_000))
    cursor = connect().cursor()
    cursor.setinputsizes(ALWAYS_MAX)
    cursor.execute(STATEMENT, text)
    assert server.executions[0].values[0] == text


def test_statement_without_parameters_is_a_batch(server: TdsServer, connect: Connect):
    assert connect().cursor().execute("SELECT 1").fetchval() == 1
    assert [(r.kind, r.statement) for r in server.executions] == [("batch", "SELECT 1")]


def test_call_escape_is_sent_as_prepexecrpc(server: TdsServer, connect: Connect):
    connect().cursor().execute("{CALL web.get_customer (?)}", DOCUMENT)
    (request,) = server.executions
    assert request.kind == "prepexecrpc"
    assert "web.get_customer" in request.statement


def test_autocommit_call_is_one_round_trip_on_a_kept_cursor(server: TdsServer, connect: Connect):
    cursor = connect().cursor()
    before = len(server.requests)
    for identifier in range(3):
        cursor.execute(STATEMENT, f'{{"CustomerID":{identifier}}}').fetchall()
        assert not cursor.nextset()
    sent = server.requests[before:]
    assert [request.values for request in sent] == [
        (f'{{"CustomerID":{identifier}}}',) for identifier in range(3)
    ]
    assert {request.statement for request in sent} == {"EXEC web.get_customer @P1"}


def test_closed_cursor_is_unprepared_before_the_next_request(server: TdsServer, connect: Connect):
    connection = connect()
    for _ in range(2):
        cursor = connection.cursor()
        cursor.execute(STATEMENT, DOCUMENT).fetchall()
        cursor.close()
    kinds = [request.kind for request in server.requests if request.kind != "rpc"]
    assert kinds[:3] == ["prepexec", "unprepare", "prepexec"]


def test_only_the_first_connect_asks_for_types(server: TdsServer, connect: Connect):
    for _ in range(3):
        connect(APP="types").cursor().execute("SELECT 1").fetchall()
    queried = [r.connection_id for r in server.requests if r.kind == "rpc"]
    assert queried == [1, 1, 1, 1]


def test_without_autocommit_a_call_costs_begin_and_commit(server: TdsServer, connect: Connect):
    connection = connect()
    connection.autocommit = False
    connection.cursor().execute(STATEMENT, DOCUMENT).fetchall()
    connection.commit()
    sent = [r.statement for r in server.requests if r.kind == "transaction"]
    assert sent[0] == "begin"
    assert "commit" in sent


# Results


@pytest.mark.parametrize("tls", [False, True])
def test_metadata_columns_arrive_with_their_types(server: TdsServer, connect: Connect, tls: bool):
    columns = (JSON, Column("ETag", "nvarchar(64)"), Column("Replayed", "int"))
    columns += (Column("Kept", "bit"), Column("Next"))
    row = ('[{"CustomerName":"🦊"}]', "1.-2", 1, True, None)
    server.on_execute(lambda _: Reply(Rows(columns, [row])))
    cursor = connect(**(TLS if tls else {})).cursor().execute(STATEMENT, DOCUMENT)
    assert [column[0] for column in cursor.description] == [
        "Json",
        "ETag",
        "Replayed",
        "Kept",
        "Next",
    ]
    assert [tuple(found) for found in cursor.fetchall()] == [row]


@pytest.mark.parametrize("text", ["", "[]", "🦊" * 3000])
def test_text_of_any_length_in_one_row(server: TdsServer, connect: Connect, text: str):
    server.on_execute(lambda _: Reply(Rows((JSON,), [(text,)])))
    assert connect().cursor().execute(STATEMENT, DOCUMENT).fetchval() == text


def test_no_rows_is_an_empty_result(server: TdsServer, connect: Connect):
    server.on_execute(lambda _: Reply(Rows((JSON,), [])))
    assert connect().cursor().execute(STATEMENT, DOCUMENT).fetchall() == []


def test_fragments_of_for_json_join_to_the_whole(server: TdsServer, connect: Connect):
    text = "[" + ",".join(f'{{"n":{number}}}' for number in range(20_000)) + "]"
    server.on_execute(lambda _: Reply(json_rows(text, size=FRAGMENT_CHARACTERS)))
    rows = connect().cursor().execute(STATEMENT, DOCUMENT).fetchall()
    assert len(rows) == -(-len(text) // FRAGMENT_CHARACTERS)
    assert "".join(row[0] for row in rows) == text


def test_fifty_megabytes_arrive_whole(server: TdsServer, connect: Connect):
    text = "0123456789" * 5_000_000
    server.on_execute(lambda _: Reply(json_rows(text)))
    assert connect().cursor().execute(STATEMENT, DOCUMENT).fetchval() == text


# Errors


@pytest.mark.parametrize("expected", ERRORS, ids=lambda expected: str(expected[0]))
def test_error_at_execute(server: TdsServer, connect: Connect, expected: Expected):
    number, severity, exception, state = expected
    server.on_execute(lambda _: Reply(ServerError(number, "said (so) (7)", severity=severity)))
    cursor = connect().cursor()
    with pytest.raises(pyodbc.Error) as caught:
        cursor.execute(STATEMENT, DOCUMENT)
    assert type(caught.value) is exception
    assert caught.value.args[0] == state
    assert native_number(caught.value) == number
    assert "[SQL Server]said (so) (7) (" in caught.value.args[1]


@pytest.mark.parametrize("expected", ERRORS, ids=lambda expected: str(expected[0]))
def test_error_at_login(server: TdsServer, connect: Connect, expected: Expected):
    number, severity, exception, state = expected
    server.on_login(lambda _: Reply(ServerError(number, "refused", severity=severity)))
    with pytest.raises(pyodbc.Error) as caught:
        connect()
    assert type(caught.value) is exception
    assert caught.value.args[0] == state
    assert native_number(caught.value) == number
    assert len(server.logins) == 1


def test_error_among_rows_surfaces_at_fetch(server: TdsServer, connect: Connect):
    rows = Rows((JSON,), [(str(n),) for n in range(3000)], finished=False)
    server.on_execute(lambda _: Reply(rows, ServerError(8134, "Divide by zero", severity=16)))
    cursor = connect().cursor().execute(STATEMENT, DOCUMENT)
    with pytest.raises(pyodbc.DataError) as caught:
        cursor.fetchall()
    assert native_number(caught.value) == 8134


def test_error_after_complete_rows_surfaces_only_at_nextset(server: TdsServer, connect: Connect):
    server.on_execute(lambda _: Reply(json_rows("[1]"), ServerError(50409, "too late")))
    cursor = connect().cursor().execute(STATEMENT, DOCUMENT)
    assert [tuple(row) for row in cursor.fetchall()] == [("[1]",)]
    with pytest.raises(pyodbc.ProgrammingError) as caught:
        cursor.nextset()
    assert native_number(caught.value) == 50409


def test_only_the_first_of_several_errors_is_shown(server: TdsServer, connect: Connect):
    first, second = ServerError(2627, "first", severity=14), ServerError(3621, "second")
    server.on_execute(lambda _: Reply(first, second))
    with pytest.raises(pyodbc.IntegrityError) as caught:
        connect().cursor().execute(STATEMENT, DOCUMENT)
    assert native_number(caught.value) == 2627
    assert "second" not in caught.value.args[1]


# Sessions


def test_reset_travels_with_the_next_request_only(server: TdsServer, connect: Connect):
    connection = connect()
    connection.cursor().execute(STATEMENT, DOCUMENT).close()
    before = len(server.requests)
    connection.set_attr(RESET_CONNECTION, RESET_YES)
    assert len(server.requests) == before
    for _ in range(2):
        cursor = connection.cursor()
        cursor.execute(STATEMENT, DOCUMENT).fetchall()
        cursor.close()
    resets = [request.reset for request in server.requests[before:]]
    assert resets == [True] + [False] * (len(resets) - 1)
    assert len({request.connection_id for request in server.requests}) == 1


def test_kept_cursor_works_after_a_reset(server: TdsServer, connect: Connect):
    connection = connect()
    cursor = connection.cursor()
    for _ in range(3):
        assert cursor.execute(STATEMENT, DOCUMENT).fetchval() == 1
        assert not cursor.nextset()
        connection.set_attr(RESET_CONNECTION, RESET_YES)
    assert [request.reset for request in server.executions] == [False, True, True]


# Time


def test_query_timeout_sends_attention_and_the_connection_lives(
    server: TdsServer, connect: Connect
):
    server.replies.append(Reply(hold=True))
    connection = connect()
    connection.timeout = 1
    cursor = connection.cursor()
    with pytest.raises(pyodbc.OperationalError) as caught:
        cursor.execute(STATEMENT, DOCUMENT)
    assert caught.value.args[0] == "HYT00"
    assert "Query timeout expired" in caught.value.args[1]
    assert server.wait_for("attention").connection_id == 1
    assert cursor.execute(STATEMENT, DOCUMENT).fetchval() == 1


def test_unacknowledged_attention_kills_the_connection(server: TdsServer, connect: Connect):
    server.acknowledges_attention = False
    server.replies.append(Reply(hold=True))
    connection = connect()
    connection.timeout = 1
    with pytest.raises(pyodbc.OperationalError) as caught:
        connection.cursor().execute(STATEMENT, DOCUMENT)
    assert caught.value.args[0] == "HYT00"
    with pytest.raises(pyodbc.Error) as dead:
        connection.cursor().execute(STATEMENT, DOCUMENT)
    assert dead.value.args[0] == "08S01"


def test_cancelled_statement_ends_with_hy008_or_without_any_error(
    server: TdsServer, connect: Connect
):
    server.replies.append(Reply(hold=True))
    cursor = connect().cursor()

    def cancel() -> None:
        server.wait_for("prepexec")
        cursor.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    ended = None
    try:
        cursor.execute(STATEMENT, DOCUMENT)
        ended = cursor.description
    except pyodbc.Error as error:
        ended = error.args[0]
    finally:
        canceller.join()
    assert ended in (None, "HY008"), "which of the two is a race inside the driver"
    assert server.wait_for("attention")


def test_closing_a_cursor_with_much_unread_sends_attention(server: TdsServer, connect: Connect):
    rows = [("x" * 2000,)] * 20_000
    server.replies.append(Reply(Rows((JSON,), rows)))
    connection = connect()
    cursor = connection.cursor().execute(STATEMENT, DOCUMENT)
    cursor.fetchone()
    cursor.close()
    assert server.wait_for("attention")
    assert connection.cursor().execute(STATEMENT, DOCUMENT).fetchval() == 1


# Cuts


@pytest.mark.parametrize(
    "stage, cut, state",
    [
        # no RST at accept: the driver may take it for a failed TCP connect and try once more
        ("accept", "fin", "08001"),
        ("prelogin", "fin", "08001"),
        ("prelogin", "rst", "08001"),
        ("login", "fin", "08S01"),
        ("login", "rst", "08S01"),
    ],
)
def test_cut_in_mid_login(server: TdsServer, connect: Connect, stage: str, cut: str, state: str):
    server.cut_login(stage, cut)
    with pytest.raises(pyodbc.OperationalError) as caught:
        connect()
    assert caught.value.args[0] == state
    assert connect().cursor().execute("SELECT 1").fetchval() == 1


@pytest.mark.parametrize("cut_after", [1, 8, 9, 40, 100])
def test_cut_inside_the_login_answer(server: TdsServer, connect: Connect, cut_after: int):
    server.login_replies.append(Reply(cut_after=cut_after))
    with pytest.raises(pyodbc.OperationalError) as caught:
        connect()
    assert caught.value.args[0] == "08S01"
    assert connect()


def test_hung_login_costs_the_full_login_timeout(server: TdsServer, connect: Connect):
    server.login_replies.append(Reply(hold=True))
    with pytest.raises(pyodbc.OperationalError) as caught:
        connect(login_timeout=1)
    assert caught.value.args[0] == "HYT00"
    assert "Login timeout expired" in caught.value.args[1]


def test_refused_port_is_a_login_timeout(server: TdsServer, connect: Connect):
    server.refuse()
    with pytest.raises(pyodbc.OperationalError) as caught:
        connect(login_timeout=1)
    assert caught.value.args[0] == "HYT00"
    assert server.connections == []


@pytest.mark.parametrize("cut", ["fin", "rst"])
@pytest.mark.parametrize("after", [1, 30, 4096, 100_000])
def test_cut_while_the_request_is_sent(server: TdsServer, connect: Connect, after: int, cut: str):
    connection = connect()
    connection.cursor().execute("SELECT 1").fetchall()
    server.cut_request(after, cut)
    with pytest.raises(pyodbc.OperationalError) as caught:
        connection.cursor().execute("SELECT 2 /* " + "x" * 200_000 + " */")
    assert caught.value.args[0] == "08S01"
    assert [request.statement for request in server.executions] == ["SELECT 1"]


def test_cut_between_prepare_and_execute(server: TdsServer, connect: Connect):
    connection = connect()
    server.cut_request(2_000)
    with pytest.raises(pyodbc.OperationalError) as caught:
        connection.cursor().execute(STATEMENT, "x" * 3000)
    assert caught.value.args[0] == "08S01"
    assert [request.kind for request in server.requests if request.kind != "rpc"] == ["prepare"]


@pytest.mark.parametrize("cut, number", [("fin", 10054), ("rst", 104)])
def test_cut_before_the_first_byte_of_the_answer(
    server: TdsServer, connect: Connect, cut: str, number: int
):
    server.replies.append(Reply(json_rows("[1]"), cut_after=0, cut=cut))
    connection = connect()
    with pytest.raises(pyodbc.OperationalError) as caught:
        connection.cursor().execute(STATEMENT, DOCUMENT)
    assert caught.value.args[0] == "08S01"
    assert native_number(caught.value) == number
    assert server.executions[0].values == (DOCUMENT,)
    with pytest.raises(pyodbc.OperationalError) as dead:
        connection.cursor().execute(STATEMENT, DOCUMENT)
    assert dead.value.args[0] == "08S01"


@pytest.mark.parametrize("cut", ["fin", "rst"])
@pytest.mark.parametrize("cut_after", [5, 60, 5_000, 50_000])
def test_cut_among_the_rows(server: TdsServer, connect: Connect, cut_after: int, cut: str):
    text = "x" * 100_000
    server.replies.append(Reply(json_rows(text, size=2033), cut_after=cut_after, cut=cut))
    cursor = connect().cursor()
    with pytest.raises(pyodbc.OperationalError) as caught:
        cursor.execute(STATEMENT, DOCUMENT).fetchall()
    assert caught.value.args[0] == "08S01"


@pytest.mark.parametrize("cut", ["fin", "rst"])
def test_cut_between_calls_is_seen_at_the_next_one(server: TdsServer, connect: Connect, cut: str):
    connection = connect()
    cursor = connection.cursor()
    cursor.execute(STATEMENT, DOCUMENT).fetchall()
    server.connections[0].cut(cut)
    with pytest.raises(pyodbc.OperationalError) as caught:
        cursor.execute(STATEMENT, DOCUMENT)
    assert caught.value.args[0] == "08S01"
    assert len(server.connections) == 1, "ConnectRetryCount=0 leaves recovery to its caller"
