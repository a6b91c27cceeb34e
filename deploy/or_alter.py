"""CREATE OR ALTER on T-SQL engines that lack it.

T-SQL modules are written as CREATE OR ALTER, which keeps their grants. For an engine that rejects
it, each module is dropped, created and granted again, in one transaction.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping

import pyodbc

from database.errors import NATIVE_ERROR
from deploy.lexer import pieces

_OR_ALTER = re.compile(
    r"\bCREATE\s+OR\s+ALTER\s+(PROCEDURE|VIEW|FUNCTION|TRIGGER)\b", re.IGNORECASE
)
_MODULE_NAME = re.compile(r"\s+((?:\w+|\[[^\]']+\])(?:\.(?:\w+|\[[^\]']+\]))?)")
# Syntax errors: 102 and 156 of SQL Server before 2016 SP1, and Babelfish's general number.
_PARSE_ERRORS = (102, 156, 33557097)
# In separate columns, because their collations differ and can't be joined to one text.
_GRANTS = """
SELECT p.state, p.permission_name, u.name
FROM sys.database_permissions AS p
INNER JOIN sys.database_principals AS u ON u.principal_id = p.grantee_principal_id
WHERE p.class = 1 AND p.minor_id = 0 AND p.major_id = OBJECT_ID(?)
"""


def execute(connection: pyodbc.Connection, sql: str) -> None:
    """Run a batch and read all of its results. Raises pyodbc.Error."""
    cursor = connection.cursor()
    # The text is for the server: it has no ODBC escape sequences or parameter markers.
    cursor.noscan = True
    try:
        cursor.execute(sql)
        # An error after a complete result is raised by nextset().
        while cursor.nextset():
            pass
    finally:
        cursor.close()


def modules_of(sql: str) -> dict[str, str]:
    """The name and kind of each CREATE OR ALTER in a batch, also in the literal of an EXEC."""
    modules = {}
    for kind, start, stop in pieces(sql, "sqlserver"):
        for statement in _OR_ALTER.finditer(sql, start, stop) if kind != "comment" else ():
            if name := _MODULE_NAME.match(sql, statement.end()):
                modules[name[1]] = statement[1].upper()
    return modules


def accepts_or_alter(connection: pyodbc.Connection, sql: str) -> bool:
    """Run `sql`, a batch with CREATE OR ALTER; False if the engine can't parse it."""
    try:
        execute(connection, sql)
    except pyodbc.Error as error:
        number = NATIVE_ERROR.search(str(error.args[-1]))
        if number and int(number[1]) in _PARSE_ERRORS:
            return False
        raise
    return True


def replace_modules(connection: pyodbc.Connection, sql: str, modules: Mapping[str, str]) -> None:
    """Drop `modules`, run `sql` with CREATE only, and repeat the grants, in one transaction."""
    grants = [grant for name in modules for grant in _grants(connection, name)]
    drops = [
        f"IF OBJECT_ID(N'{name}') IS NOT NULL DROP {kind} {name}" for name, kind in modules.items()
    ]
    connection.autocommit = False
    try:
        for statement in [*drops, _OR_ALTER.sub(r"CREATE \1", sql), *grants]:
            execute(connection, statement)
        connection.commit()
    except pyodbc.Error:
        with contextlib.suppress(pyodbc.Error):
            connection.rollback()
        raise
    finally:
        # Fails on a broken connection, but the first error is the one to report.
        with contextlib.suppress(pyodbc.Error):
            connection.autocommit = True


def _grants(connection: pyodbc.Connection, name: str) -> Iterator[str]:
    for state, permission, grantee in connection.execute(_GRANTS, name).fetchall():
        verb = "DENY" if state == "D" else "GRANT"
        option = " WITH GRANT OPTION" if state == "W" else ""
        quoted = grantee.replace("]", "]]")
        yield f"{verb} {permission} ON {name} TO [{quoted}]{option}"
