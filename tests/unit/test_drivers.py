"""The ODBC driver: the newest installed one, or an error with the package to install."""

import pyodbc
import pytest

from database.connect import drivers
from database.connect.connection_string import ConnectionString
from database.connect.drivers import Driver, DriverMissing, find_driver, refuse_token_in_clear


@pytest.fixture
def installed(monkeypatch):
    """Install exactly the named drivers, as far as this process can see."""

    def have(*names):
        monkeypatch.setattr(pyodbc, "drivers", lambda: list(names))
        monkeypatch.setattr(drivers, "find_spec", lambda _: None)
        monkeypatch.setattr(drivers.Path, "glob", lambda *_: iter(()))

    return have


def test_microsofts_driver_with_the_highest_version_is_used(installed):
    installed("ODBC Driver 9 for SQL Server", "ODBC Driver 18 for SQL Server", "SQLite3")
    assert find_driver("sqlserver") == "ODBC Driver 18 for SQL Server"


def test_without_psqlodbc_the_error_has_the_command_to_install_it(installed):
    installed("SQLite3")
    with pytest.raises(DriverMissing, match=r"\(SQLite3\): run `apt-get install odbc-postgresql`"):
        find_driver("postgresql")


def test_without_microsofts_driver_the_error_has_the_package_to_install(installed):
    installed()
    with pytest.raises(DriverMissing, match=r"\(none\): install the package mssql-python"):
        find_driver("sqlserver")


def test_the_error_for_a_missing_driver_lists_the_installed_ones(installed):
    installed("SQLite3", "ODBC Driver 18 for SQL Server")
    with pytest.raises(DriverMissing) as raised:
        Driver("Driver={ODBC Driver 13 for SQL Server};Server=x;UID=a", family="sqlserver")
    assert "'ODBC Driver 13 for SQL Server' is not installed" in str(raised.value)
    assert "ODBC Driver 18 for SQL Server, SQLite3" in str(raised.value)


@pytest.mark.parametrize(
    "text", ["UID=a", "User=a", "PWD=", "Authentication=x", "Trusted_Connection=yes"]
)
def test_a_string_that_names_a_user_needs_no_token(installed, text):
    installed("ODBC Driver 18 for SQL Server")
    assert not Driver(f"Server=x;{text}", family="sqlserver").wants_token
    assert Driver("Server=x", family="sqlserver").wants_token


@pytest.mark.parametrize("server", ["x.database.windows.net", "10.0.0.1", "localhost.example"])
@pytest.mark.parametrize("encrypt", ["no", "No", "optional", "false"])
def test_a_token_is_not_sent_unencrypted(server, encrypt):
    with pytest.raises(ValueError, match="Set Encrypt=yes"):
        refuse_token_in_clear(ConnectionString(f"Server={server};Encrypt={encrypt}"))


@pytest.mark.parametrize("server", ["localhost", "127.0.0.1,1433", "tcp:localhost,14330", "::1"])
def test_a_token_may_be_sent_unencrypted_to_this_machine(server):
    refuse_token_in_clear(ConnectionString(f"Server={server};Encrypt=no"))
