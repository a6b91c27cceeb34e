"""What differs between the engines: the driver, how to connect, how a procedure is called.

The driver is chosen before there is a connection; the engine is asked for on each new connection
(SQL_DBMS_NAME), never guessed from the connection string.
"""

import math
import platform
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pyodbc

from database.connection_string import ConnectionString
from database.errors import DatabaseError, Kind
from database.sockets import FoundSocket, SocketFinder

# Driver-manager pooling does not reuse connections on Linux, and ours needs to see each connect.
pyodbc.pooling = False

# msodbcsql.h: SQL_COPT_SS_ACCESS_TOKEN, SQL_COPT_SS_RESET_CONNECTION, SQL_RESET_YES.
ACCESS_TOKEN = 1256
RESET_CONNECTION, RESET_YES = 1246, 1
# Rows a fetch while streaming. psqlodbc slows down with the square of it: a million trips took
# 8 s by 200, 15 s by 1,000 and 19 s by 5,000.
FETCH_ROWS = 200
# (type, size, digits) for setinputsizes: always nvarchar(max), so one plan for every length.
NVARCHAR_MAX = [(pyodbc.SQL_WVARCHAR, 0, 0)]

_LOOPBACK = re.compile(
    r"(?:tcp:)?(?:localhost|127(?:\.\d+){3}|\[?::1\]?|\(local\)|\.)(?:[,\\].*)?$", re.IGNORECASE
)


class DriverMissing(RuntimeError):
    """The ODBC driver that is needed is not installed; one sentence lists those that are."""


class SqlServer:
    """SQL Server, Azure SQL, Synapse and Babelfish through Microsoft's driver."""

    name = "sqlserver"
    dbms_names = ("Microsoft SQL Server",)
    # Closing a cursor costs a round trip (sp_unprepare), so each statement keeps its own.
    keeps_cursors = True

    def call_text(self, procedure: str) -> str:
        return f"EXEC {procedure} ?"

    def bind(self, cursor: pyodbc.Cursor) -> None:
        cursor.setinputsizes(NVARCHAR_MAX)

    def reset(self, connection: pyodbc.Connection) -> None:
        """Have the session reset with the next request, at no round trip; no statement is open."""
        connection.set_attr(RESET_CONNECTION, RESET_YES)

    def rows(self, cursor: pyodbc.Cursor, procedure: str, document: str) -> Iterator[list[str]]:
        """The first column of each row, in batches, as the server sends them."""
        cursor.execute(self.call_text(procedure), document)
        while True:
            while cursor.description is not None and (rows := cursor.fetchmany(FETCH_ROWS)):
                yield [row[0] for row in rows]
            # An error may come after the rows, and only nextset() shows it.
            if not cursor.nextset():
                break

    def limit_statement(self, connection: pyodbc.Connection, seconds: float) -> None:
        """A second line behind the deadline's cancel: the driver gives up at twice this."""
        connection.timeout = math.ceil(seconds)


class PostgreSQL:
    """PostgreSQL through psqlodbc."""

    name = "postgresql"
    dbms_names = ("PostgreSQL",)
    keeps_cursors = True

    def call_text(self, procedure: str) -> str:
        schema, name = procedure.split(".")
        return f'SELECT * FROM {schema}."{name}"(?)'

    def bind(self, cursor: pyodbc.Cursor) -> None:
        pass

    def reset(self, connection: pyodbc.Connection) -> None:
        pass

    def rows(self, cursor: pyodbc.Cursor, procedure: str, document: str) -> Iterator[list[str]]:
        """As SqlServer.rows. A function's result would be gathered before its first row came;
        its twin `<name>_rows` opens a cursor instead, which lives in a transaction."""
        schema, name = procedure.split(".")
        cursor.connection.autocommit = False
        cursor.execute(f'SELECT {schema}."{name}_rows"(?)', document)
        fetch = f'FETCH {FETCH_ROWS} FROM "{cursor.fetchval()}"'
        while rows := cursor.execute(fetch).fetchall():
            yield [row[0] for row in rows]
        cursor.connection.rollback()
        cursor.connection.autocommit = True

    def limit_statement(self, connection: pyodbc.Connection, seconds: float) -> None:
        pass  # psqlodbc has no statement timeout to set on a connection


DIALECTS = (SqlServer(), PostgreSQL())


def dialect_of(connection: pyodbc.Connection) -> SqlServer | PostgreSQL:
    """The dialect of a live connection, by the name its engine gives itself."""
    name = connection.getinfo(pyodbc.SQL_DBMS_NAME)
    for dialect in DIALECTS:
        if name in dialect.dbms_names:
            return dialect
    raise DatabaseError(Kind.MISCONFIGURED)


class Driver:
    """How a database is connected to: a completed connection string and, maybe, a token.

    family: "sqlserver" or "postgresql". Raises DriverMissing when no driver fits, ValueError with
    a sentence when a token would travel unencrypted.
    """

    def __init__(self, connection_string: str, *, family: str) -> None:
        given = ConnectionString(connection_string)
        # An empty UID or PWD counts: the driver refuses a token beside it (FA005).
        self.wants_token = (
            family == "sqlserver"
            and given.get("UID", "USER", "PWD", "PASSWORD", "AUTHENTICATION", "TRUSTED_CONNECTION")
            is None
        )
        if self.wants_token:
            refuse_token_in_clear(given)
        driver = given.get("DRIVER") or find_driver(family)
        if given.get("DRIVER"):
            check_installed(driver)
        defaults = {"DRIVER": driver}
        if family == "sqlserver":
            # Recovery is ours: the driver's own would send a stale token and hide the cut.
            defaults |= {"ConnectRetryCount": "0", "APP": "sql-procedures-api"}
            if self.wants_token:
                defaults["Encrypt"] = "yes"
        else:
            # Text of any length whole; one round trip a call without a prepared statement, which
            # costs the same as a kept one and needs no cursor kept (bench/driver_options.py).
            defaults |= {
                "MaxVarcharSize": "0",
                "TextAsLongVarchar": "0",
                "UnknownsAsLongVarchar": "0",
                "UseServerSidePrepare": "0",
            }
        completed = given.with_defaults(defaults)
        self._text = str(completed)
        self._finder = SocketFinder(peer_of(completed, family), one_at_a_time=family != "sqlserver")

    def connect(
        self, timeout: float, *, token: bytes | None = None
    ) -> tuple[pyodbc.Connection, FoundSocket | None]:
        """A new autocommit connection, and its socket where it can be told.

        `timeout` is in seconds, rounded up to whole ones. Raises pyodbc.Error.
        """
        attributes = {ACCESS_TOKEN: token} if token is not None else {}
        return self._finder.connect(
            lambda: pyodbc.connect(
                self._text,
                autocommit=True,
                timeout=max(1, math.ceil(timeout)),
                attrs_before=attributes,
            )
        )


def peer_of(given: ConnectionString, family: str) -> int | str:
    """Where the socket leads: a port, or the path of PostgreSQL's Unix socket."""
    server = given.get("SERVER", "SERVERNAME", "ADDR", "ADDRESS", "DATA SOURCE") or ""
    if family == "sqlserver":
        _, _, port = server.partition(",")
        return int(port) if port.strip().isdigit() else 1433
    port = given.get("PORT") or "5432"
    if server.startswith("/"):
        return f"{server}/.s.PGSQL.{port}"
    return int(port) if port.isdigit() else 5432


def refuse_token_in_clear(given: ConnectionString) -> None:
    """The driver itself would send a token without TLS; nothing here may."""
    encrypt = (given.get("ENCRYPT") or "yes").lower()
    server = given.get("SERVER", "ADDR", "ADDRESS", "DATA SOURCE") or ""
    if encrypt in ("no", "optional", "false") and not _LOOPBACK.match(server):
        raise ValueError(
            "The connection string says Encrypt=no and names no user: an access token would travel"
            " unencrypted. Set Encrypt=yes."
        )


def installed_drivers() -> Sequence[str]:
    return sorted(pyodbc.drivers())


def check_installed(driver: str) -> None:
    if driver not in pyodbc.drivers() and not Path(driver).exists():
        known = ", ".join(installed_drivers()) or "none"
        raise DriverMissing(f"The ODBC driver {driver!r} is not installed; installed: {known}.")


def find_driver(family: str) -> str:
    """The name or file of the newest driver for `family`; DriverMissing where there is none."""
    if family == "sqlserver":
        pattern = re.compile(r"ODBC Driver (\d+) for SQL Server")
        named = [(int(m[1]), d) for d in pyodbc.drivers() if (m := pattern.fullmatch(d))]
        found = max(named)[1] if named else _packaged_driver()
        missing = "install the package mssql-python or Microsoft's ODBC Driver 18 for SQL Server"
    else:
        named = [d for d in pyodbc.drivers() if d.startswith("PostgreSQL Unicode")]
        files = Path("/usr").glob("lib*/*/odbc/psqlodbcw.so")
        found = next(iter(named), None) or next((str(f) for f in files), None)
        missing = "run `apt-get install odbc-postgresql`"
    if found is None:
        known = ", ".join(installed_drivers()) or "none"
        raise DriverMissing(f"No ODBC driver for {family} is installed ({known}): {missing}.")
    return found


def _packaged_driver() -> str | None:
    """Microsoft's driver inside the package mssql-python-odbc, for this machine."""
    spec = find_spec("mssql_python_odbc")
    if spec is None or not spec.submodule_search_locations:
        return None
    release = Path("/etc/os-release")
    text = release.read_text().lower() if release.exists() else ""
    flavour = "suse" if "suse" in text else "rhel" if "rhel" in text else "debian_ubuntu"
    machine = {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x86_64")
    folder = Path(spec.submodule_search_locations[0]) / "libs" / "linux" / flavour / machine
    return next((str(f) for f in sorted(folder.glob("lib/libmsodbcsql-*.so*"))), None)
