"""What a database lacks of what is needed: procedures, their one parameter, rights."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import pyodbc

from database.dialects import dialect_of

# OBJECT_ID is NULL also for what the user may not see.
SQL_SERVER_PROCEDURE = "SELECT OBJECT_ID(?, N'P'), HAS_PERMS_BY_NAME(?, N'OBJECT', N'EXECUTE')"
# Babelfish refuses this one.
SQL_SERVER_PARAMETERS = """
SELECT p.name + N' ' + TYPE_NAME(p.user_type_id)
    + CASE WHEN p.max_length = -1 THEN N'(max)' ELSE N'' END
    + CASE WHEN p.is_output = 1 THEN N' OUTPUT' ELSE N'' END
FROM sys.parameters AS p WHERE p.object_id = ? ORDER BY p.parameter_id
"""
SQL_SERVER_TABLE = "SELECT HAS_PERMS_BY_NAME(?, N'OBJECT', N'SELECT')"
# By the catalogue: to_regprocedure raises where the schema may not be used.
POSTGRESQL_PROCEDURE = """
SELECT pg_catalog.oidvectortypes(p.proargtypes),
       (pg_catalog.has_schema_privilege(n.oid, 'USAGE')
        AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE'))::int
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = ? AND p.proname = ?
"""
POSTGRESQL_TABLE = """
SELECT (pg_catalog.has_schema_privilege(n.oid, 'USAGE')
        AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))::int
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ? AND c.relname = ? AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""


@dataclass(frozen=True)
class RequiredObjects:
    """procedures: "schema.name", and whether its form of one row an item is needed too;
    tables: "schema.name", to be read."""

    procedures: Mapping[str, bool]
    tables: Collection[str] = ()


def missing(connection: pyodbc.Connection, needs: RequiredObjects) -> list[str]:
    """A sentence for each thing that the connection's user lacks; [] where all is there.

    Raises pyodbc.Error.
    """
    if dialect_of(connection).name == "postgresql":
        return [*_missing_on_postgresql(connection, needs)]
    return [*_missing_on_sql_server(connection, needs)]


def _missing_on_sql_server(connection: pyodbc.Connection, needs: RequiredObjects) -> Iterator[str]:
    for name in sorted(needs.procedures):
        found, allowed = connection.execute(SQL_SERVER_PROCEDURE, name, name).fetchone()
        if found is None:
            yield f"{name}: there is no such procedure, or this user may not see it."
            continue
        if not allowed:
            yield f"{name}: this user may not execute it."
        try:
            parameters = connection.execute(SQL_SERVER_PARAMETERS, found).fetchall()
        except pyodbc.Error:
            continue  # an engine that does not tell them
        wanted = ["@Json nvarchar(max)"]
        if [row[0] for row in parameters] != wanted:
            yield f"{name}: its one parameter must be {wanted[0]}."
    for name in sorted(needs.tables):
        if not connection.execute(SQL_SERVER_TABLE, name).fetchval():
            yield f"{name}: there is no such table, or this user may not select from it."


def _missing_on_postgresql(connection: pyodbc.Connection, needs: RequiredObjects) -> Iterator[str]:
    streamed = (f"{name}_rows" for name, streams in needs.procedures.items() if streams)
    for name in sorted([*needs.procedures, *streamed]):
        found = connection.execute(POSTGRESQL_PROCEDURE, *name.split(".")).fetchall()
        allowed = [allowed for parameters, allowed in found if parameters == "text"]
        if not found:
            yield f"{name}: there is no such function."
        elif not allowed:
            yield f"{name}: its one parameter must be text."
        elif not allowed[0]:
            yield f"{name}: this user may not execute it."
    for name in sorted(needs.tables):
        allowed = connection.execute(POSTGRESQL_TABLE, *name.split(".")).fetchval()
        if allowed is None:
            yield f"{name}: there is no such table."
        elif not allowed:
            yield f"{name}: this user may not select from it."
