"""What the log says of a failed call: enough to mend it, and no value of the request."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from connection_manager import ConnectionManager
from database.deadline import Deadline
from database.errors import DatabaseError, Unavailable
from observability.logs import JsonFormatter, RequestLog, TextFormatter
from observability.observer import Observer
from testkit.tds.script import Reply, ServerError
from testkit.tds.server import TdsServer


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """What the calls' logger says meanwhile: JSON lines."""
    stream, logger = io.StringIO(), logging.getLogger("calls")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def manager(driver: str, server: TdsServer) -> Iterator[ConnectionManager]:
    text = f"DRIVER={driver};SERVER=127.0.0.1,{server.port};UID=reader;PWD=secret;Encrypt=no"
    made = ConnectionManager(
        text, family="sqlserver", name="WWIF", observe=Observer(RequestLog()).observe
    )
    yield made
    made.close()


def failed_call(stream: io.StringIO) -> dict:
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    (line,) = [line for line in lines if line.get("event") == "failed_call"]
    return line


@pytest.mark.parametrize(
    "expected",
    [
        (208, "Invalid object name 'dbo.trips'.", "no_such_object", "table or column missing"),
        (2812, "Could not find stored procedure 'web.x'.", "not_deployed", "procedure missing"),
        (229, "The EXECUTE permission was denied.", "forbidden", "permission missing"),
        (8134, "Divide by zero error encountered.", "faulty", "error in the procedure"),
        (18456, "Login failed for user 'app'.", "login_refused", "login refused"),
    ],
)
def test_the_line_of_a_failed_call_names_everything(
    server: TdsServer,
    manager: ConnectionManager,
    said: io.StringIO,
    expected: tuple[int, str, str, str],
):
    number, message, failure, meaning = expected
    answers = server.login_replies if number == 18456 else server.replies
    answers.append(Reply(ServerError(number, message)))
    with pytest.raises(DatabaseError):
        manager.call("web.put_customer")
    line = failed_call(said)
    assert (line["database"], line["procedure"]) == ("WWIF", "web.put_customer")
    assert (line["native"], line["failure"], line["level"]) == (number, failure, "ERROR")
    assert line["server_message"] == message
    assert len(line["sqlstate"]) == 5
    numbers = f"(SQLSTATE {line['sqlstate']}, native error {number})"
    text = f"failed call: web.put_customer on WWIF: {meaning} {numbers}: {message}"
    assert line["message"] == text


def test_a_database_that_stays_away_is_named_with_its_last_message(
    server: TdsServer, manager: ConnectionManager, said: io.StringIO
):
    server.on_login(lambda _: Reply(ServerError(40613, "Database 'WWI' is not available.")))
    with pytest.raises(Unavailable):
        manager.call("web.get_customer", deadline=Deadline(0.5))
    line = failed_call(said)
    assert line["native"] == 40613
    assert line["server_message"] == "Database 'WWI' is not available."


def test_a_conflict_is_no_error_and_its_values_are_left_out(
    server: TdsServer, manager: ConnectionManager, said: io.StringIO
):
    message = "Cannot insert duplicate key in 'Sales.Customers'. The duplicate key is (John)."
    server.replies.append(Reply(ServerError(2627, message)))
    with pytest.raises(DatabaseError):
        manager.call("web.put_customer")
    line = failed_call(said)
    assert line["level"] == "INFO"
    assert "Sales.Customers" in line["server_message"]
    assert "John" not in said.getvalue()


def test_a_status_that_the_procedure_chose_is_no_failed_call(
    server: TdsServer, manager: ConnectionManager, said: io.StringIO
):
    server.replies.append(Reply(ServerError(50404, "There is no such customer.")))
    with pytest.raises(DatabaseError):
        manager.call("web.get_customer")
    assert "failed_call" not in said.getvalue()


def test_an_error_that_a_procedure_raises_is_information(
    server: TdsServer, manager: ConnectionManager, said: io.StringIO
):
    server.replies.append(Reply(ServerError(50000, "The warehouse is closed.")))
    with pytest.raises(DatabaseError):
        manager.call("web.put_customer")
    line = failed_call(said)
    assert (line["level"], line["failure"], line["native"]) == ("INFO", "raised", 50000)


@pytest.mark.parametrize("formatter", [JsonFormatter, TextFormatter])
def test_a_secret_in_a_server_s_message_is_redacted(
    server: TdsServer, manager: ConnectionManager, said: io.StringIO, formatter: type
):
    logging.getLogger("calls").handlers[-1].setFormatter(formatter())
    server.replies.append(Reply(ServerError(50000, "Linked server said PWD=hunter2hunter2;")))
    with pytest.raises(DatabaseError):
        manager.call("web.get_customer")
    assert "failed call" in said.getvalue()
    assert "hunter2" not in said.getvalue()
