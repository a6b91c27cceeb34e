"""What differs between the engines: the driver, how to connect, how a procedure is called.

The driver is chosen before there is a connection; the engine is asked for on each new connection
(SQL_DBMS_NAME), never guessed from the connection string.
"""

import functools
import math
import platform
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyodbc

from database.connect.connection_string import ConnectionString, ConnectionStringError
from database.connect.sockets import FoundSocket, SocketFinder, TaggedSockets
from database.connect.translation import to_odbc
from database.errors import DatabaseError, Kind
from database.statement import ResultColumn, Statement, columns_of

# Driver-manager pooling does not reuse connections on Linux, and ours needs to see each connect.
pyodbc.pooling = False

# msodbcsql.h: SQL_COPT_SS_ACCESS_TOKEN, SQL_COPT_SS_RESET_CONNECTION, SQL_RESET_YES.
ACCESS_TOKEN = 1256
RESET_CONNECTION, RESET_YES = 1246, 1
# Rows a fetch while streaming. psqlodbc slows down with the square of it: a million trips took
# 8 s by 200, 15 s by 1,000 and 19 s by 5,000.
FETCH_ROWS = 200
# (type, size, digits) for setinputsizes: always nvarchar(max), so one plan for every length.
NVARCHAR_MAX = (pyodbc.SQL_WVARCHAR, 0, 0)
# What sp_set_session_context takes at most: sql_variant holds no nvarchar(max).
CALLER_MAX_CHARACTERS = 4000
NVARCHAR_CALLER = (pyodbc.SQL_WVARCHAR, CALLER_MAX_CHARACTERS, 0)

# Settings that a procedure has made for its session. In the call's own round trip it costs some
# hundredths of a call over a Unix socket (bench/overhead.py).
FORGET = "RESET ALL"
# Local to the transaction. Read it as nullif(current_setting('request.caller', true), '').
SET_CALLER = "SELECT set_config('request.caller', ?, true)"
# For a statement that ends transactions; reset after it.
SET_SESSION_CALLER = "SELECT set_config('request.caller', ?, false)"
SET_CALLER_T_SQL = (
    "BEGIN TRY EXEC sys.sp_set_session_context N'caller', ?, 1 END TRY BEGIN CATCH THROW END CATCH;"
)

_LOOPBACK = re.compile(
    r"(?:tcp:)?(?:localhost|127(?:\.\d+){3}|\[?::1\]?|\(local\)|\.)(?:[,\\].*)?$", re.IGNORECASE
)


class DriverMissing(RuntimeError):
    """The ODBC driver that is needed is not installed; one sentence lists those that are."""


class SqlServer:
    """SQL Server, Azure SQL, Synapse and Babelfish through Microsoft's driver."""

    name = "sqlserver"
    dbms_names = ("Microsoft SQL Server",)
    # Results in front of the procedure's when a caller is told.
    caller_results = 0

    def call_text(self, procedure: str, *, with_caller: bool = False) -> str:
        """The statement; with_caller: its first parameter is the caller, its second the document.

        The key is read-only, so that no procedure can pass for another caller; the reset before
        the next statement takes it away. An error there must end the batch, which only THROW does.
        """
        if with_caller:
            return f"{SET_CALLER_T_SQL} EXEC {procedure} ?"
        return f"EXEC {procedure} ?"

    def bind(self, cursor: pyodbc.Cursor, *, with_caller: bool = False) -> None:
        cursor.setinputsizes([NVARCHAR_CALLER, NVARCHAR_MAX] if with_caller else [NVARCHAR_MAX])

    def reset(self, connection: pyodbc.Connection) -> None:
        """Have the session reset with the next request, at no round trip; no statement is open."""
        connection.set_attr(RESET_CONNECTION, RESET_YES)

    def discard(self, connection: pyodbc.Connection) -> None:
        """Forget what a borrower's own statements have set: reset() will."""

    def rows(
        self, cursor: pyodbc.Cursor, procedure: str, document: str, caller: str | None = None
    ) -> Iterator[list[str]]:
        """The first column of each row, in batches, as the server sends them."""
        statement = self.call_text(procedure, with_caller=caller is not None)
        cursor.execute(statement, *parameters(document, caller))
        while True:
            while cursor.description is not None and (rows := cursor.fetchmany(FETCH_ROWS)):
                yield [row[0] for row in rows]
            # An error may come after the rows, and only nextset() shows it.
            if not cursor.nextset():
                break

    def with_session(
        self, statement: Statement, caller: str | None
    ) -> tuple[str, tuple[Any, ...], int]:
        """(text, values, result sets to skip) of `statement` for this caller."""
        if caller is None:
            return statement.text, statement.values, statement.skip
        return f"{SET_CALLER_T_SQL} {statement.text}", (caller, *statement.values), statement.skip

    def before_alone(self, connection: pyodbc.Connection, caller: str | None) -> None:
        """Prepare the session for a statement that runs alone: with_session() has done it."""

    def after_alone(self, connection: pyodbc.Connection) -> None:
        """Forget what before_alone() has set: reset() will."""

    def bind_values(self, cursor: pyodbc.Cursor, values: tuple[Any, ...]) -> None:
        """Bind every str as nvarchar(max): one plan for every length."""
        cursor.setinputsizes([NVARCHAR_MAX if isinstance(v, str) else None for v in values])

    def open(
        self,
        cursor: pyodbc.Cursor,
        text: str,
        values: tuple[Any, ...],
        skip: int,
        fetch_from: str,
    ) -> tuple[tuple[ResultColumn, ...], Iterator[list[Any]]]:
        """Run a statement: the columns of its first own result set, and the rows to come."""
        cursor.execute(text, *values)
        while cursor.description is None or skip:
            skip -= cursor.description is not None
            if not cursor.nextset():
                return (), iter(())
        return columns_of(cursor.description), self._fetch(cursor)

    def _fetch(self, cursor: pyodbc.Cursor) -> Iterator[list[Any]]:
        while rows := cursor.fetchmany(FETCH_ROWS):
            yield rows
        # An error may come after the rows, and only nextset() shows it.
        while cursor.nextset():
            if cursor.description is not None:
                cursor.fetchall()

    def statement_limit(self, seconds: float) -> int:
        """The query timeout of a cursor for a statement that may take `seconds`; 0 is none.

        A second line behind the deadline's cancel. A cursor keeps the timeout that its connection
        had when it was created, so it is rounded up to a power of two: a cursor that is kept is
        made again for a longer deadline a few times in its life, and not for each one.
        """
        return 1 << math.ceil(math.log2(max(1.0, seconds)))


class PostgreSQL:
    """PostgreSQL through psqlodbc."""

    name = "postgresql"
    dbms_names = ("PostgreSQL",)
    caller_results = 2

    def call_text(self, procedure: str, *, with_caller: bool = False) -> str:
        """As SqlServer.call_text. The statements travel together and so are one transaction, at
        whose end the caller goes, whatever its end; what else a procedure before may have set
        goes at its beginning, at no round trip."""
        return _postgresql_call(procedure, with_caller)

    def bind(self, cursor: pyodbc.Cursor, *, with_caller: bool = False) -> None:
        pass

    def reset(self, connection: pyodbc.Connection) -> None:
        pass

    def discard(self, connection: pyodbc.Connection) -> None:
        """Forget what a borrower's own statements have set; one round trip."""
        connection.execute("DISCARD ALL").close()

    def rows(
        self, cursor: pyodbc.Cursor, procedure: str, document: str, caller: str | None = None
    ) -> Iterator[list[str]]:
        """As SqlServer.rows. A function's result would be gathered before its first row came;
        its twin `<name>_rows` opens a cursor instead, which lives in a transaction."""
        schema, name = procedure.split(".")
        cursor.connection.autocommit = False
        statement = f'SELECT {schema}."{name}_rows"(?)'
        if caller is None:
            cursor.execute(f"{FORGET};{statement}", document)
        else:
            cursor.execute(f"{FORGET};{SET_CALLER};{statement}", caller, document)
            cursor.nextset()
        cursor.nextset()
        fetch = f'FETCH {FETCH_ROWS} FROM "{cursor.fetchval()}"'
        while rows := cursor.execute(fetch).fetchall():
            yield [row[0] for row in rows]
        cursor.connection.rollback()
        cursor.connection.autocommit = True

    def with_session(
        self, statement: Statement, caller: str | None
    ) -> tuple[str, tuple[Any, ...], int]:
        """As SqlServer.with_session. All statements travel together and are one transaction; one
        that runs alone may end its transaction and begin others."""
        if statement.alone:
            return statement.text, statement.values, statement.skip
        if caller is None:
            return f"{FORGET};{statement.text}", statement.values, statement.skip
        text = f"{FORGET};{SET_CALLER};{statement.text}"
        return text, (caller, *statement.values), statement.skip + 1

    def before_alone(self, connection: pyodbc.Connection, caller: str | None) -> None:
        """As SqlServer.before_alone; one more round trip."""
        connection.execute(FORGET).close()
        if caller is not None:
            connection.execute(SET_SESSION_CALLER, caller).close()

    def after_alone(self, connection: pyodbc.Connection) -> None:
        connection.execute(FORGET).close()

    def bind_values(self, cursor: pyodbc.Cursor, values: tuple[Any, ...]) -> None:
        pass

    def open(
        self,
        cursor: pyodbc.Cursor,
        text: str,
        values: tuple[Any, ...],
        skip: int,
        fetch_from: str,
    ) -> tuple[tuple[ResultColumn, ...], Iterator[list[Any]]]:
        """As SqlServer.open. `text` declares the cursor `fetch_from`, which lives in a
        transaction; without a cursor psqlodbc would fetch the whole result first."""
        cursor.connection.autocommit = False
        cursor.execute(text, *values)
        while cursor.nextset():
            pass
        fetch = f"FETCH {FETCH_ROWS} FROM {fetch_from}"
        rows = cursor.execute(fetch).fetchall()
        return columns_of(cursor.description), self._fetch(cursor, fetch, rows)

    def _fetch(self, cursor: pyodbc.Cursor, fetch: str, rows: list[Any]) -> Iterator[list[Any]]:
        while rows:
            yield rows
            rows = cursor.execute(fetch).fetchall()
        cursor.connection.rollback()
        cursor.connection.autocommit = True

    def statement_limit(self, seconds: float) -> int:
        return 0  # the deadline's cancel and the socket's end are enough


@functools.cache
def _postgresql_call(procedure: str, with_caller: bool) -> str:
    schema, name = procedure.split(".")
    caller = f"{SET_CALLER};" if with_caller else ""
    return f'{FORGET};{caller}SELECT * FROM {schema}."{name}"(?)'


DIALECTS = (SqlServer(), PostgreSQL())


def parameters(document: str, caller: str | None) -> tuple[str, ...]:
    """What call_text's statement wants, in its order."""
    return (document,) if caller is None else (caller, document)


def dialect_of(connection: pyodbc.Connection) -> SqlServer | PostgreSQL:
    """The dialect of a live connection, by the name its engine gives itself."""
    name = connection.getinfo(pyodbc.SQL_DBMS_NAME)
    for dialect in DIALECTS:
        if name in dialect.dbms_names:
            return dialect
    raise DatabaseError(Kind.MISCONFIGURED)


class Driver:
    """How a database is connected to: a completed connection string and, maybe, a token.

    connection_string: ODBC, ADO.NET or a URL. family: "sqlserver" or "postgresql". Raises
    DriverMissing when no driver fits, and ConnectionStringError with a sentence when a keyword
    can't be translated or a token would travel unencrypted.
    """

    def __init__(self, connection_string: str, *, family: str) -> None:
        given = to_odbc(connection_string, family=family)
        self.wants_token = wants_token(given, family=family)
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
            # Text of any length whole; several statements in one round trip, which a prepared
            # one can't be, at the same cost where the cursor is kept (bench/driver_options.py).
            defaults |= {
                "MaxVarcharSize": "0",
                "TextAsLongVarchar": "0",
                "UnknownsAsLongVarchar": "0",
                "UseServerSidePrepare": "0",
                "BoolsAsChar": "0",
            }
        self._given = given.with_defaults(defaults)
        self._finder = SocketFinder(peer_of(given, family), one_at_a_time=family == "postgresql")
        self._tag = _tagging(given, family)

    def connect_attempt(self, timeout: float, *, token: bytes | None = None) -> "ConnectAttempt":
        """A connection about to be made within `timeout` seconds, rounded up to whole ones."""
        if self._tag is None:
            return ConnectAttempt(str(self._given), FoundSocket(self._finder), timeout, token)
        tagged = self._tag()
        return ConnectAttempt(str(self._given.replaced(tagged.keywords)), tagged, timeout, token)

    def connect(self, timeout: float, *, token: bytes | None = None) -> pyodbc.Connection:
        """A new autocommit connection. Raises pyodbc.Error."""
        return self.connect_attempt(timeout, token=token).connect()


class ConnectAttempt:
    """One connect, and the means to end it, or whatever it waits for later, from another thread."""

    def __init__(
        self,
        text: str,
        sockets: FoundSocket | TaggedSockets,
        timeout: float,
        token: bytes | None,
    ) -> None:
        self._text = text
        self._sockets = sockets
        self._timeout = max(1, math.ceil(timeout))
        self._attributes = {ACCESS_TOKEN: token} if token is not None else {}

    def connect(self) -> pyodbc.Connection:
        """A new autocommit connection. Raises pyodbc.Error."""
        return self._sockets.connect(self._connect)

    def abandon(self) -> None:
        """Shut its sockets down; the driver reports a lost connection."""
        self._sockets.shutdown()

    def _connect(self) -> pyodbc.Connection:
        return pyodbc.connect(
            self._text, autocommit=True, timeout=self._timeout, attrs_before=self._attributes
        )


def server_of(given: ConnectionString) -> str:
    """The server as the connection string names it, with its protocol and port; "" if unnamed."""
    return given.get("SERVER", "SERVERNAME", "ADDR", "ADDRESS", "DATA SOURCE") or ""


def _tagging(given: ConnectionString, family: str) -> Callable[[], TaggedSockets] | None:
    """What tags the sockets of each connection; None for a Unix socket, which has no such option,
    and where the connection string has values of its own for it."""
    if family == "sqlserver":
        own = given.get("KEEPALIVE", "KEEPALIVEINTERVAL") is not None
        return TaggedSockets.of_microsoft if hasattr(socket, "TCP_KEEPIDLE") and not own else None
    options = given.get("PQOPT") or ""
    tagged = hasattr(socket, "TCP_USER_TIMEOUT") and isinstance(peer_of(given, family), int)
    if not tagged or "tcp_user_timeout" in options:
        return None
    return functools.partial(TaggedSockets.of_libpq, options)


def peer_of(given: ConnectionString, family: str) -> int | str:
    """Where the socket leads: a port, or the path of PostgreSQL's Unix socket."""
    server = server_of(given)
    if family == "sqlserver":
        _, _, port = server.partition(",")
        return int(port) if port.strip().isdigit() else 1433
    port = given.get("PORT") or "5432"
    if server.startswith("/"):
        return f"{server}/.s.PGSQL.{port}"
    return int(port) if port.isdigit() else 5432


def wants_token(given: ConnectionString, *, family: str) -> bool:
    """Whether an access token is to log in: the connection string says nothing of how to."""
    # An empty UID or PWD counts: the driver refuses a token beside it (FA005).
    named = ("UID", "USER", "PWD", "PASSWORD", "AUTHENTICATION", "TRUSTED_CONNECTION")
    return family == "sqlserver" and given.get(*named) is None


def refuse_token_in_clear(given: ConnectionString) -> None:
    """The driver itself would send a token without TLS; nothing here may."""
    encrypt = (given.get("ENCRYPT") or "yes").lower()
    server = given.get("SERVER", "ADDR", "ADDRESS", "DATA SOURCE") or ""
    if encrypt in ("no", "optional", "false") and not _LOOPBACK.match(server):
        raise ConnectionStringError(
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
