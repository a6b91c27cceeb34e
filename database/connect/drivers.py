"""The ODBC driver of a database: which one, its options, and a connect that can be abandoned.

The driver is chosen before there is a connection, by the type of the connection string.
"""

import functools
import math
import platform
import re
import socket
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import pyodbc

from database.connect.connection_string import ConnectionString, ConnectionStringError
from database.connect.sockets import FoundSocket, SocketFinder, TaggedSockets
from database.connect.translation import to_odbc

# Driver-manager pooling does not reuse connections on Linux, and the pool must see each connect.
pyodbc.pooling = False

# msodbcsql.h: SQL_COPT_SS_ACCESS_TOKEN.
ACCESS_TOKEN = 1256

_LOOPBACK = re.compile(
    r"(?:tcp:)?(?:localhost|127(?:\.\d+){3}|\[?::1\]?|\(local\)|\.)(?:[,\\].*)?$", re.IGNORECASE
)


class DriverMissing(RuntimeError):
    """The ODBC driver that is needed is not installed; one sentence lists those that are."""


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
            # The pool reconnects: the driver's recovery would send a stale token and hide the cut.
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
        """A connect with `timeout` seconds, rounded up to whole ones, not begun yet."""
        if self._tag is None:
            return ConnectAttempt(str(self._given), FoundSocket(self._finder), timeout, token)
        tagged = self._tag()
        return ConnectAttempt(str(self._given.replaced(tagged.keywords)), tagged, timeout, token)

    def connect(self, timeout: float, *, token: bytes | None = None) -> pyodbc.Connection:
        """A new autocommit connection. Raises pyodbc.Error."""
        return self.connect_attempt(timeout, token=token).connect()


class ConnectAttempt:
    """One connect; abandon() ends it, or a later wait of its connection, from another thread."""

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
    """What sets the timeouts of each connection's sockets; None for a Unix socket, which has no
    such option, and where the connection string sets its own."""
    if family == "sqlserver":
        own = given.get("KEEPALIVE", "KEEPALIVEINTERVAL") is not None
        return TaggedSockets.of_microsoft if hasattr(socket, "TCP_KEEPIDLE") and not own else None
    options = given.get("PQOPT") or ""
    tagged = hasattr(socket, "TCP_USER_TIMEOUT") and isinstance(peer_of(given, family), int)
    if not tagged or "tcp_user_timeout" in options:
        return None
    return functools.partial(TaggedSockets.of_libpq, options)


def peer_of(given: ConnectionString, family: str) -> int | str:
    """The socket's target: a port, or the path of PostgreSQL's Unix socket."""
    server = server_of(given)
    if family == "sqlserver":
        _, _, port = server.partition(",")
        return int(port) if port.strip().isdigit() else 1433
    port = given.get("PORT") or "5432"
    if server.startswith("/"):
        return f"{server}/.s.PGSQL.{port}"
    return int(port) if port.isdigit() else 5432


def wants_token(given: ConnectionString, *, family: str) -> bool:
    """Whether to log in with an access token: the connection string names no other way."""
    # An empty UID or PWD counts: the driver refuses a token next to it (FA005).
    named = ("UID", "USER", "PWD", "PASSWORD", "AUTHENTICATION", "TRUSTED_CONNECTION")
    return family == "sqlserver" and given.get(*named) is None


def refuse_token_in_clear(given: ConnectionString) -> None:
    """Raises ConnectionStringError: the driver itself would send a token without TLS."""
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
