"""Each database: login, connection, clock, what the routes require, procedures and contract."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from cli.catalogs import operations_of
from cli.checks import Finding
from cli.connections import connect, plain, served_target
from cli.examination import contract_changes, examine, operations_in
from cli.logins import EXPIRES_SOON_SECONDS, Login, login_of
from settings import Settings, Target

if TYPE_CHECKING:
    import pyodbc

    from catalog.procedure import Procedure
    from database.errors import Kind

# The seconds by which clocks may differ: a warning beyond the first. Beyond the second, Microsoft's
# and other issuers' tokens can be refused as not valid yet, or as expired.
CLOCK_WARNING_SECONDS = 5.0
CLOCK_ERROR_SECONDS = 300.0
# psqlodbc has one SQLSTATE for a server that refuses the login, and one that is not there.
POSTGRESQL_ANSWERED = "FATAL:"
# The database's clock in whole seconds since 2000: since 1970 would leave an int in 2038.
CLOCKS = {
    "postgresql": "SELECT floor(extract(epoch FROM clock_timestamp()) - 946684800)::bigint",
    "sqlserver": "SELECT DATEDIFF(second, '20000101', SYSUTCDATETIME())",
}
YEAR_2000 = 946_684_800


def check_databases(settings: Settings) -> Iterator[Finding]:
    """The findings of each database, then those about the operations of all of them together."""
    from databases import EMBEDDED

    procedures: dict[str, list[Procedure]] = {}
    keyed: set[str] = set()
    for name in settings.database_names:
        if not settings.embedded and name not in settings.targets:
            yield Finding(
                *(name, "connection", "warning", "Not configured: its routes answer 503."),
                f"Set SQLAZURECONNSTR_{name} or another variable of docs/settings.md.",
            )
            continue
        served = EMBEDDED if settings.embedded else name
        yield from _check(settings, name, served, procedures, keyed)
        for replica in () if settings.embedded else settings.targets[name].replicas:
            yield from _check_replica(replica)
    yield from _operations(procedures, keyed)


def _check(
    settings: Settings,
    name: str,
    served: str,
    procedures: "dict[str, list[Procedure]]",
    keyed: set[str],
) -> Iterator[Finding]:
    """Fills `procedures` and `keyed` with what a working database has."""
    import pyodbc

    login = login_of(settings, name)
    if login.credential is not None or login.failed:
        yield _token(login)
    if login.failed:
        return
    try:
        target = served_target(name)
    except click.ClickException as error:  # of the embedded default
        yield Finding(
            *(name, "connection", "error", error.message),
            "The log in LOCAL_DIR/postgresql has the details; see docs/embedded.md.",
        )
        return
    assert target is not None, "a database without a connection string was left out"
    connection, finding = _open(target)
    yield finding
    if connection is None:
        return
    try:
        yield _clock(name, connection)
        yield from _schema(name, served, connection, procedures, keyed)
    except pyodbc.Error as error:
        yield Finding(
            *(name, "schema", "error", f"The check failed: {plain(error)}"),
            "Run flask doctor again; if it fails again, see the database's own log.",
        )
    finally:
        connection.close()


def _check_replica(replica: Target) -> Iterator[Finding]:
    """The connection and the clock; procedures and grants are those of the primary."""
    connection, finding = _open(replica)
    yield finding
    if connection is not None:
        try:
            yield _clock(replica.name, connection)
        finally:
            connection.close()


def _open(target: Target) -> "tuple[pyodbc.Connection | None, Finding]":
    """A connection, or None, and what was found."""
    import pyodbc

    from database.connect.drivers import DriverMissing
    from database.connect.tokens import TokenUnavailable

    began = time.monotonic()
    try:
        connection = connect(target)
    except (DriverMissing, ValueError) as error:
        remedy = f"Correct {_variable(target)}."
        return None, Finding(target.name, "connection", "error", str(error), remedy)
    except TokenUnavailable as error:
        return None, Finding(target.name, "connection", "error", str(error), "Run flask token.")
    except pyodbc.Error as error:
        return None, _refused(target, error)
    return connection, _connected(target.name, connection, time.monotonic() - began)


def _token(login: Login) -> Finding:
    check = "token"
    if login.failed:
        sentence = " ".join([login.message, *(f"{tried}." for tried in login.tried)])
        return Finding(login.name, check, "error", sentence, login.remedy)
    left = login.seconds_left
    sentence = f"{login.message[:1].upper()}{login.message[1:]}"
    if login.credential == "TOKEN" and left is not None and left < EXPIRES_SOON_SECONDS:
        return Finding(
            *(login.name, check, "warning", f"{sentence} That is in {left / 60:.0f} minutes."),
            "Set TOKEN to a new one, or remove it: a managed identity or az login renews itself.",
        )
    return Finding(login.name, check, "ok", sentence)


def _connected(name: str, connection: "pyodbc.Connection", seconds: float) -> Finding:
    import pyodbc

    engine = connection.getinfo(pyodbc.SQL_DBMS_NAME)
    number = connection.getinfo(pyodbc.SQL_DBMS_VER)
    user = connection.getinfo(pyodbc.SQL_USER_NAME)
    return Finding(
        *(name, "connection", "ok"),
        f"{engine} {number} as {user}, connected in {seconds * 1000:.0f} ms.",
    )


def _refused(target: Target, error: "pyodbc.Error") -> Finding:
    from database.errors import Kind, classify

    text, kind = plain(error), classify(error).kind
    if POSTGRESQL_ANSWERED in text:
        kind = Kind.LOGIN_REFUSED
    return Finding(
        *(target.name, "connection", "error"),
        f"{target.place} from {_variable(target)}, {kind.value}: {text}",
        _connection_remedy(kind, target),
    )


def _connection_remedy(kind: "Kind", target: Target) -> str:
    from database.errors import Kind

    variable = _variable(target)
    if kind in (Kind.UNREACHABLE, Kind.LOST, Kind.TIMED_OUT):
        return (
            f"Check the server and port in {variable}, that the server runs, and that its firewall"
            " admits this machine."
        )
    if kind is Kind.LOGIN_REFUSED:
        return (
            f"Check user, password and database in {variable}. An administrator makes the user of a"
            " managed identity with flask sql deploy --app-name."
        )
    if kind is Kind.NOT_OPEN:
        return f"Check the name of the database in {variable}, and that its user may open it."
    if kind in (Kind.RESUMING, Kind.THROTTLED):
        return "The database answers later by itself: run flask doctor again in a minute."
    return f"Check {variable}; docs/azure.md and docs/postgresql.md have examples."


def _clock(name: str, connection: "pyodbc.Connection") -> Finding:
    import pyodbc

    from database.dialects import dialect_of

    sent = time.time()
    try:
        stated = connection.execute(CLOCKS[dialect_of(connection).name]).fetchval() + YEAR_2000
    except pyodbc.Error as error:
        return Finding(
            *(name, "clock", "warning", f"Its clock could not be read: {plain(error)}"),
            "Compare it with this machine's by hand.",
        )
    answered = time.time()
    # Neither the round trip nor the fraction of a second, which is cut off, is a difference.
    ahead = stated + 0.5 - (sent + answered) / 2
    difference = max(0.0, abs(ahead) - (answered - sent) / 2 - 0.5)
    if difference < CLOCK_WARNING_SECONDS:
        return Finding(name, "clock", "ok", "Its clock agrees with this machine's.")
    which = "ahead of" if ahead > 0 else "behind"
    return Finding(
        *(name, "clock", "error" if difference >= CLOCK_ERROR_SECONDS else "warning"),
        f"Its clock is {abs(ahead):,.0f} s {which} this machine's: tokens and idempotency keys"
        " expire early or late.",
        "Correct the clock that is wrong, here for example with timedatectl set-ntp true.",
    )


def _schema(
    name: str,
    served: str,
    connection: "pyodbc.Connection",
    procedures: "dict[str, list[Procedure]]",
    keyed: set[str],
) -> Iterator[Finding]:
    from catalog import query_on
    from catalog.statements import key_table_usable
    from database.dialects import dialect_of

    found = examine(connection, name, served)
    for sentence in found.missing:
        yield Finding(name, "schema", "error", sentence, _schema_remedy(name, served))
    for sentence in found.notes:
        yield Finding(name, "row-level-security", "warning", sentence, "Test as a limited caller.")
    if not (found.missing or found.catalog_only):
        yield Finding(
            *(name, "schema", "ok"),
            f"Procedures: {found.procedures}, tables: {found.tables}; all there, and allowed.",
        )
    if found.listed is not None:
        procedures[served] = found.listed
        usable = key_table_usable(dialect_of(connection).name)
        if query_on(connection)(usable)[0][0]:
            keyed.add(served)


def _schema_remedy(name: str, served: str) -> str:
    if served != name:
        return "Stop the server and delete the folder LOCAL_DIR: the next start makes a new one."
    return f"Run flask sql deploy --target {name} --app-name USER, as its administrator."


def _operations(procedures: "dict[str, list[Procedure]]", keyed: set[str]) -> Iterator[Finding]:
    from catalog import CatalogError

    try:
        catalog = operations_of(procedures, keyed)
        changes = contract_changes(procedures, catalog, None)
    except CatalogError as error:
        yield Finding("procedures", "routes", "error", str(error), "Run flask procedures.")
        return
    for name in procedures:
        refused = [r for r in catalog.refusals if r.procedure.database == name]
        for refusal in refused:
            yield Finding(
                *(name, "procedures", "warning"),
                f"{refusal.procedure.qualified} has no route: {refusal.reason}",
                "Change the procedure, or mark it @private in its comment.",
            )
        count = operations_in(catalog, name)
        if count and not refused:
            yield Finding(name, "procedures", "ok", f"{count} operations of your own procedures.")
        writes = any(
            o.procedure is not None and o.procedure.database == name and not o.reads
            for o in catalog.operations
        )
        if writes and name not in keyed:
            yield Finding(
                *(name, "keys", "warning", "No Idempotency-Key: the key table is missing."),
                f"Run flask sql deploy --target {name} --keys --app-name USER.",
            )
    for sentence in changes:
        yield Finding(
            *("procedures", "contract", "error", sentence),
            "Undo the change, or accept it with flask procedures --lock procedures.lock.json.",
        )


def _variable(target: Target) -> str:
    return target.variable or "LOCAL_DIR"
