"""Lists the required objects that a database lacks: procedures, their parameter, permissions."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import pyodbc

from database.dialects import dialect_of

# OBJECT_ID is also NULL for objects that the user has no permission on.
SQL_SERVER_PROCEDURE = "SELECT OBJECT_ID(?, N'P'), HAS_PERMS_BY_NAME(?, N'OBJECT', N'EXECUTE')"
# Babelfish rejects this query.
SQL_SERVER_PARAMETERS = """
SELECT p.name + N' ' + TYPE_NAME(p.user_type_id)
    + CASE WHEN p.max_length = -1 THEN N'(max)' ELSE N'' END
    + CASE WHEN p.is_output = 1 THEN N' OUTPUT' ELSE N'' END
FROM sys.parameters AS p WHERE p.object_id = ? ORDER BY p.parameter_id
"""
# Of the tables that the procedures use, directly or through the modules that they call.
SQL_SERVER_POLICIES = """
WITH used (id, depth) AS (
    SELECT o.object_id, 0
    FROM sys.objects AS o
    WHERE o.object_id IN ({objects})
    UNION ALL
    SELECT d.referenced_id, u.depth + 1
    FROM used AS u
    INNER JOIN sys.sql_expression_dependencies AS d ON d.referencing_id = u.id
    WHERE u.depth < 6 AND d.referenced_id <> u.id
)
SELECT DISTINCT
    OBJECT_SCHEMA_NAME(q.target_object_id), OBJECT_NAME(q.target_object_id),
    SCHEMA_NAME(p.schema_id), p.name
FROM sys.security_policies AS p
INNER JOIN sys.security_predicates AS q ON q.object_id = p.object_id
WHERE p.is_enabled = 1 AND q.target_object_id IN (SELECT used.id FROM used)
"""
SQL_SERVER_TABLE = "SELECT HAS_PERMS_BY_NAME(?, N'OBJECT', N'SELECT')"
# From the catalog, because to_regprocedure raises without USAGE on the schema.
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
    """The procedures to execute and the tables to select from, each as "schema.name".

    procedures: also whether the streaming form, with the suffix _rows, is required.
    """

    procedures: Mapping[str, bool]
    tables: Collection[str] = ()


def missing(connection: pyodbc.Connection, required: RequiredObjects) -> list[str]:
    """A sentence for each object or permission that the connection's user lacks.

    Raises pyodbc.Error.
    """
    if dialect_of(connection).name == "postgresql":
        return [*_missing_on_postgresql(connection, required)]
    return [*_missing_on_sql_server(connection, required)]


def policies(connection: pyodbc.Connection, required: RequiredObjects) -> list[str]:
    """A sentence for each enabled security policy on a table that the procedures use.

    Complete for an owner of the database only, because SQL Server shows a policy only to users with
    permission on its definition. [] on PostgreSQL and on engines without such policies.
    """
    names = sorted([*required.procedures, *required.tables])
    if not names or dialect_of(connection).name == "postgresql":
        return []
    statement = SQL_SERVER_POLICIES.format(objects=", ".join(["OBJECT_ID(?)"] * len(names)))
    try:
        found = connection.execute(statement, *names).fetchall()
    except pyodbc.Error:
        return []
    return [
        f"{table_schema}.{table}: the security policy {schema}.{policy} is on and may hide rows"
        " from the API; see docs/row-level-security.md."
        for table_schema, table, schema, policy in found
    ]


def _missing_on_sql_server(
    connection: pyodbc.Connection, required: RequiredObjects
) -> Iterator[str]:
    for name in sorted(required.procedures):
        found, allowed = connection.execute(SQL_SERVER_PROCEDURE, name, name).fetchone()
        if found is None:
            yield f"{name}: there is no such procedure, or this user has no permission on it."
            continue
        if not allowed:
            yield f"{name}: this user may not execute it."
        try:
            parameters = connection.execute(SQL_SERVER_PARAMETERS, found).fetchall()
        except pyodbc.Error:
            continue  # an engine without this catalog view
        wanted = ["@Json nvarchar(max)"]
        if [row[0] for row in parameters] != wanted:
            yield f"{name}: its one parameter must be {wanted[0]}."
    for name in sorted(required.tables):
        if not connection.execute(SQL_SERVER_TABLE, name).fetchval():
            yield f"{name}: there is no such table, or this user may not select from it."


def _missing_on_postgresql(
    connection: pyodbc.Connection, required: RequiredObjects
) -> Iterator[str]:
    streamed = (f"{name}_rows" for name, streams in required.procedures.items() if streams)
    for name in sorted([*required.procedures, *streamed]):
        found = connection.execute(POSTGRESQL_PROCEDURE, *name.split(".")).fetchall()
        allowed = [allowed for parameters, allowed in found if parameters == "text"]
        if not found:
            yield f"{name}: there is no such function."
        elif not allowed:
            yield f"{name}: its one parameter must be text."
        elif not allowed[0]:
            yield f"{name}: this user may not execute it."
    for name in sorted(required.tables):
        allowed = connection.execute(POSTGRESQL_TABLE, *name.split(".")).fetchval()
        if allowed is None:
            yield f"{name}: there is no such table."
        elif not allowed:
            yield f"{name}: this user may not select from it."
