"""The ODBC driver: the newest that is installed, or one sentence that says what to install."""

import pyodbc
import pytest

from database.connect import drivers
from database.connect.connection_string import ConnectionString
from database.connect.drivers import Driver, DriverMissing, find_driver, refuse_token_in_clear


@pytest.fixture
def installed(monkeypatch):
    """Makes the machine one that has these drivers and no other, in no file either."""

    def have(*names):
        monkeypatch.setattr(pyodbc, "drivers", lambda: list(names))
        monkeypatch.setattr(drivers, "find_spec", lambda _: None)
        monkeypatch.setattr(drivers.Path, "glob", lambda *_: iter(()))

    return have


def test_the_newest_of_microsofts_drivers_is_taken_by_its_number(installed):
    installed("ODBC Driver 9 for SQL Server", "ODBC Driver 18 for SQL Server", "SQLite3")
    assert find_driver("sqlserver") == "ODBC Driver 18 for SQL Server"


def test_without_psqlodbc_one_sentence_says_what_to_type(installed):
    installed("SQLite3")
    with pytest.raises(DriverMissing, match=r"\(SQLite3\): run `apt-get install odbc-postgresql`"):
        find_driver("postgresql")


def test_without_microsofts_driver_one_sentence_says_what_to_install(installed):
    installed()
    with pytest.raises(DriverMissing, match=r"\(none\): install the package mssql-python"):
        find_driver("sqlserver")


def test_a_named_driver_that_is_not_there_is_told_with_those_that_are(installed):
    installed("SQLite3", "ODBC Driver 18 for SQL Server")
    with pytest.raises(DriverMissing) as raised:
        Driver("Driver={ODBC Driver 13 for SQL Server};Server=x;UID=a", family="sqlserver")
    assert "'ODBC Driver 13 for SQL Server' is not installed" in str(raised.value)
    assert "ODBC Driver 18 for SQL Server, SQLite3" in str(raised.value)


@pytest.mark.parametrize(
    "text", ["UID=a", "User=a", "PWD=", "Authentication=x", "Trusted_Connection=yes"]
)
def test_a_string_that_names_a_user_wants_no_token(installed, text):
    installed("ODBC Driver 18 for SQL Server")
    assert not Driver(f"Server=x;{text}", family="sqlserver").wants_token
    assert Driver("Server=x", family="sqlserver").wants_token


@pytest.mark.parametrize("server", ["x.database.windows.net", "10.0.0.1", "localhost.example"])
@pytest.mark.parametrize("encrypt", ["no", "No", "optional", "false"])
def test_a_token_does_not_travel_in_clear(server, encrypt):
    with pytest.raises(ValueError, match="Set Encrypt=yes"):
        refuse_token_in_clear(ConnectionString(f"Server={server};Encrypt={encrypt}"))


@pytest.mark.parametrize("server", ["localhost", "127.0.0.1,1433", "tcp:localhost,14330", "::1"])
def test_a_token_may_go_in_clear_to_this_machine(server):
    refuse_token_in_clear(ConnectionString(f"Server={server};Encrypt=no"))
