"""Prepares a deployment before its scripts run: creates the database and the app's user."""

from collections.abc import Callable
from uuid import UUID

import pyodbc

# Synapse serverless: Parquet strings are UTF-8, and a binary collation lets a filter skip files.
UTF8_COLLATION = "Latin1_General_100_BIN2_UTF8"
_SID = (
    "SELECT CONVERT(nvarchar(36), CONVERT(uniqueidentifier, CONVERT(binary(16), p.sid)))"
    " FROM sys.database_principals AS p WHERE p.name = ?"
)


def create_database(master: pyodbc.Connection, name: str) -> bool:
    """Create database `name` unless it exists. True if it was created.

    master: an autocommit connection to the server's master database. Raises pyodbc.Error.
    """
    cursor = master.cursor()
    if cursor.execute("SELECT 1 FROM sys.databases WHERE name = ?", name).fetchone():
        return False
    cursor.execute(f"CREATE DATABASE {_identifier(name)} COLLATE {UTF8_COLLATION}")
    return True


def prepare_user(
    connection: pyodbc.Connection,
    name: str,
    *,
    object_id: UUID | None,
    client_id: UUID | None,
    report: Callable[[str], None],
) -> None:
    """Make database user `name` the managed identity of the given ids.

    client_id: a user of that name with another SID belongs to a deleted app and is dropped; the
    SID of an application's user is its client id.
    object_id: a missing user is created WITH OBJECT_ID, so that another principal with the same
    display name neither causes error 33131 nor receives the grants. Without an object_id, the
    grants script creates the user by name.
    Raises pyodbc.Error.
    """
    if object_id is None and client_id is None:
        return
    cursor = connection.cursor()
    sid = cursor.execute(_SID, name).fetchval()
    if sid and client_id and UUID(sid) != client_id:
        report(f"User {name} belongs to an earlier identity: dropping it, with its rights.")
        cursor.execute(f"DROP USER {_identifier(name)}")
        sid = None
    if object_id and not sid:
        report(f"Creating user {name} for object id {object_id}.")
        cursor.execute(
            f"CREATE USER {_identifier(name)} FROM EXTERNAL PROVIDER WITH OBJECT_ID = '{object_id}'"
        )


def _identifier(name: str) -> str:
    return "[" + name.replace("]", "]]") + "]"
