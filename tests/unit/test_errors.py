"""What a failure means is read from its number or SQLSTATE, in one table that cites its sources."""

import ast
import copy
import re
from collections import Counter

import pyodbc
import pytest

from database import errors
from database.errors import SQL_SERVER, SQLSTATES, DatabaseError, Kind, classify
from settings import ROOT

DRIVER = "[Microsoft][ODBC Driver 18 for SQL Server]"
SOURCES = {"azure", "sql", "synapse", "ef", "pg", "odbc", "own"}
TABLE = [*SQL_SERVER.items(), *SQLSTATES.items()]


def server_error(sqlstate, number, message="Said so.", function="SQLExecDirectW"):
    text = f"[{sqlstate}] {DRIVER}[SQL Server]{message} ({number}) ({function})"
    return pyodbc.ProgrammingError(sqlstate, text)


def driver_error(sqlstate, message, number=0, function="SQLExecDirectW"):
    return pyodbc.OperationalError(
        sqlstate, f"[{sqlstate}] {DRIVER}{message} ({number}) ({function})"
    )


def postgresql_error(sqlstate, message):
    text = f"[{sqlstate}] ERROR: {message};\nError while executing the query (1) (SQLExecDirectW)"
    return pyodbc.Error(sqlstate, text)


@pytest.mark.parametrize(("number", "rule"), TABLE, ids=[str(n) for n, _ in TABLE])
def test_each_number_has_a_kind_and_a_source_that_the_module_names(number, rule):
    assert isinstance(rule.kind, Kind)
    assert rule.source in SOURCES
    assert f"[{rule.source}]" in errors.__doc__
    assert 0 <= rule.wait <= 60


def test_no_number_is_listed_twice():
    """The tables are merged, so a second mention would silently win."""
    tree = ast.parse((ROOT / "database" / "errors.py").read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    listed = Counter(
        argument.value
        for call in calls
        if getattr(call.func, "id", "") == "_rules"
        for argument in call.args[2:]
    )
    assert set(listed) == set(SQL_SERVER) | set(SQLSTATES)
    assert max(listed.values()) == 1


@pytest.mark.parametrize(("number", "rule"), SQL_SERVER.items())
def test_a_number_of_the_server_decides_whatever_the_sqlstate(number, rule):
    for sqlstate in ("42000", "HY000", "08S01", "23000"):
        found = classify(server_error(sqlstate, number))
        assert (found.kind, found.native, found.wait) == (rule.kind, number, rule.wait)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (40613, Kind.RESUMING),
        (40197, Kind.RESUMING),
        (42109, Kind.RESUMING),
        (40501, Kind.THROTTLED),
        (10928, Kind.THROTTLED),
        (49918, Kind.THROTTLED),
        (1205, Kind.CONTENTION),
        (2627, Kind.CONSTRAINT),
        (547, Kind.CONSTRAINT),
        (515, Kind.BAD_VALUE),
        (8152, Kind.BAD_VALUE),
        (229, Kind.FORBIDDEN),
        (2812, Kind.NOT_DEPLOYED),
        (18456, Kind.LOGIN_REFUSED),
        (4060, Kind.NOT_OPEN),
        (3906, Kind.RESUMING),
        (3980, Kind.LOST),
        (208, Kind.NO_SUCH_OBJECT),
        (8144, Kind.WRONG_PARAMETERS),
        (8134, Kind.FAULTY),
        (1105, Kind.FULL),
        (9002, Kind.FULL),
        (33557097, Kind.UNKNOWN),
    ],
)
def test_the_numbers_that_azure_sql_answers_with_mean_what_microsoft_says(number, kind):
    assert classify(server_error("42000", number)).kind is kind


def test_the_number_is_the_last_one_since_messages_hold_parentheses_too():
    message = "Key (1205) (SQLExecute) of (50409) is (2627) there"
    assert classify(server_error("42000", 40613, message)).kind is Kind.RESUMING


def test_a_number_that_only_stands_in_the_message_means_nothing():
    found = classify(pyodbc.Error("42000", f"{DRIVER}[SQL Server]Deadlock (1205) was here"))
    assert found.kind is Kind.UNKNOWN


def test_the_exception_class_and_the_text_decide_nothing():
    text = f"[42000] {DRIVER}[SQL Server]deadlock timeout connection lost (2627) (SQLExecute)"
    for kind in (pyodbc.Error, pyodbc.OperationalError, pyodbc.DataError, pyodbc.InterfaceError):
        assert classify(kind("42000", text)).kind is Kind.CONSTRAINT


@pytest.mark.parametrize("status", [400, 404, 409, 412, 422, 503, 599])
def test_a_procedure_chooses_a_status_and_says_why_on_either_engine(status):
    message = "Customers[3]: a customer (of this name) exists."
    for error in (
        server_error("42000", 50000 + status, message),
        postgresql_error(f"PT{status}", message),
    ):
        found = classify(error)
        assert (found.kind, found.status, found.message) == (Kind.CHOSEN, status, message)


def test_a_message_of_several_lines_is_kept_whole_and_its_context_is_not():
    error = postgresql_error("PT422", "first\nsecond\nDETAIL: of the engine")
    assert classify(error).message == "first\nsecond"
    assert classify(server_error("42000", 50422, "first\nsecond")).message == "first\nsecond"


@pytest.mark.parametrize("number", [50000, 50001, 50399, 50600, 51409])
def test_another_number_of_a_throw_is_no_status(number):
    found = classify(server_error("42000", number, "private"))
    assert (found.kind, found.status, found.message) == (Kind.RAISED, None, "private")


@pytest.mark.parametrize("sqlstate", ["PT399", "PT600", "PTabc", "PT4", "P0001"])
def test_another_sqlstate_of_a_raise_is_no_status(sqlstate):
    found = classify(postgresql_error(sqlstate, "private"))
    assert (found.kind, found.status, found.message) == (Kind.RAISED, None, "private")


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("57P01", Kind.RESUMING),
        ("57P03", Kind.RESUMING),
        ("40001", Kind.CONTENTION),
        ("40P01", Kind.CONTENTION),
        ("53300", Kind.THROTTLED),
        ("23505", Kind.CONSTRAINT),
        ("23503", Kind.CONSTRAINT),
        ("23502", Kind.BAD_VALUE),
        ("22001", Kind.BAD_VALUE),
        ("28P01", Kind.LOGIN_REFUSED),
        ("42501", Kind.FORBIDDEN),
        ("42883", Kind.NOT_DEPLOYED),
        ("42P01", Kind.NO_SUCH_OBJECT),
        ("22012", Kind.FAULTY),
        ("53100", Kind.FULL),
        ("57014", Kind.CANCELLED),
        ("XX000", Kind.UNKNOWN),
    ],
)
def test_the_states_that_postgresql_answers_with_mean_what_its_appendix_says(sqlstate, kind):
    assert classify(postgresql_error(sqlstate, "said so")).kind is kind


def test_a_login_timeout_and_a_query_timeout_are_told_apart_by_the_function():
    login = driver_error("HYT00", "Login timeout expired", function="SQLDriverConnect")
    query = driver_error("HYT00", "Query timeout expired")
    assert classify(login).kind is Kind.UNREACHABLE
    assert classify(query).kind is Kind.TIMED_OUT


@pytest.mark.parametrize("function", ["SQLExecDirectW", "SQLGetData", "SQLFetch"])
def test_a_cut_is_a_lost_connection_wherever_it_comes(function):
    for number in (0, 10054, 104):
        error = driver_error("08S01", "TCP Provider: 0x2746", number, function)
        found = classify(error)
        assert found.kind is Kind.LOST
        assert found.kind.transient
        assert found.kind.spoils_connection


# What Microsoft's, EF Core's or Data API builder's lists have, and the server says in passing.
MISSED = (921, 941, 952, 988, 3906, 3980, 4060, 10930, 20041, 40642, 40648, 40671, 40675, 40890)


@pytest.mark.parametrize("number", [*MISSED, 40903, 49802])
def test_what_passes_by_itself_is_transient(number):
    assert classify(server_error("42000", number)).kind.transient


def test_a_connection_that_timed_out_is_lost():
    assert classify(driver_error("HYT01", "Connection timeout expired")).kind is Kind.LOST


def test_a_missing_driver_is_not_transient():
    text = "[01000] [unixODBC][Driver Manager]Can't open lib 'x' : file not found (0) (SQLDriver"
    found = classify(pyodbc.Error("01000", text + "Connect)"))
    assert found.kind is Kind.MISCONFIGURED
    assert not found.kind.transient


@pytest.mark.parametrize("error", [server_error("42000", 1105), postgresql_error("53100", "full")])
def test_a_full_disk_is_not_tried_again_and_asks_to_wait(error):
    found = classify(error)
    assert found.kind is Kind.FULL
    assert not found.kind.transient
    assert found.wait == 30


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (server_error("42S02", 208, "Invalid object\n name 'x'."), "Invalid object name 'x'."),
        (postgresql_error("P0001", "boo (1) x"), "ERROR: boo (1) x"),
        (driver_error("HYT00", "Login timeout expired"), "Login timeout expired"),
        (pyodbc.Error(), ""),
    ],
)
def test_what_the_server_said_is_kept_for_the_log_on_one_line(error, said):
    assert classify(error).said == said


def test_values_of_a_request_are_left_out_of_what_is_kept_for_the_log():
    duplicate = "Cannot insert duplicate key in 'Sales.x'. The duplicate key value is (John (Doe))."
    refused = "Conversion failed when converting the nvarchar value 'John' to data type int."
    for error in (
        server_error("23000", 2627, duplicate),
        server_error("22018", 245, refused),
        postgresql_error("23505", 'violates "UQ_x"\nDETAIL: Key (name)=(John Doe) exists.'),
        postgresql_error("22P02", 'invalid input syntax for type integer: "John"'),
    ):
        assert "John" not in classify(error).report
    assert "Sales.x" in classify(server_error("23000", 2627, duplicate)).report
    assert 'violates "UQ_x"' in classify(postgresql_error("23505", 'violates "UQ_x"')).report


def test_a_copy_means_the_same():
    found = classify(server_error("42000", 40613))
    copied = copy.copy(found)
    assert (str(copied), copied.kind, copied.said) == (str(found), found.kind, found.said)


@pytest.mark.parametrize(
    "error", [pyodbc.Error(), pyodbc.Error("HY000"), ValueError("x"), OSError()]
)
def test_anything_else_is_unknown_and_not_tried_again(error):
    found = classify(error)
    assert found.kind is Kind.UNKNOWN
    assert not found.kind.transient


def test_what_is_logged_has_the_number_and_nothing_that_the_driver_said():
    for error in (
        server_error("23000", 2627, "The duplicate key value is (John Doe)."),
        postgresql_error("23505", "Key (name)=(John Doe) exists"),
        server_error("42000", 50409, "John Doe is taken"),
    ):
        found = classify(error)
        assert isinstance(found, DatabaseError)
        assert "John" not in str(found)
        assert found.sqlstate in str(found)


# The API never runs CREATE USER; that row is of deployments.
AZURE_ROWS = re.findall(
    r"`([^`]+)`,? \(([1-9]\d+)\)(?! at `CREATE USER`)",
    (ROOT / "docs" / "azure.md").read_text(encoding="utf-8"),
)


@pytest.mark.parametrize(("message", "number"), AZURE_ROWS)
def test_each_message_of_the_azure_page_is_what_the_log_has(message, number):
    found = classify(server_error("42000", int(number), message))
    assert found.kind is not Kind.UNKNOWN
    assert message in found.report
    assert number in found.report


def test_the_azure_page_has_messages_with_numbers():
    assert {"18456", "40615", "229", "2812", "208", "40613", "4060"} <= {n for _, n in AZURE_ROWS}
