"""Reads functions and procedures out of PostgreSQL's catalog (pg_proc), 14 and later."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from catalog import Query
from catalog.description import read_description
from catalog.procedure import Direction, Parameter, Procedure, Result
from catalog.sql_types import postgresql_type
from catalog.types import Column, ParameterType, named

MODES = {"i": Direction.IN, "v": Direction.IN, "o": Direction.OUT, "b": Direction.INOUT}
NO_RESULT = Result(empty=True)

# One row: the text changes with anything that would be read differently. xmin is the transaction
# that wrote the row last; of a composite result the columns count.
CHANGES = """
SELECT md5(string_agg(t.state, ',' ORDER BY t.state)) FROM (
    SELECT p.oid || ' ' || p.xmin || ' ' || p.pronamespace || ' '
        || (has_schema_privilege(n.oid, 'USAGE')
            AND has_function_privilege(p.oid, 'EXECUTE'))::text
        || ' ' || coalesce(obj_description(p.oid, 'pg_proc'), '')
        || ' ' || coalesce((
            SELECT string_agg(a.attname || ' ' || a.atttypid || ' ' || a.atttypmod, ','
                              ORDER BY a.attnum)
              FROM pg_type r JOIN pg_attribute a ON a.attrelid = r.typrelid
             WHERE r.oid = p.prorettype AND a.attnum > 0 AND NOT a.attisdropped), '') AS state
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname IN ({marks})
) AS t
"""
# A row for each procedure. arguments, columns: JSON arrays. In a domain's place stand its name and
# its base type; a domain over a domain is followed down.
EVERYTHING = """
WITH RECURSIVE bases AS (
    SELECT t.oid AS type, t.typbasetype AS base, t.typtypmod AS modifier
      FROM pg_type t WHERE t.typtype = 'd'
    UNION ALL
    SELECT b.type, t.typbasetype, greatest(b.modifier, t.typtypmod)
      FROM bases b JOIN pg_type t ON t.oid = b.base AND t.typtype = 'd'
), types AS (
    SELECT t.oid AS type, format_type(t.oid, NULL) AS name,
           CASE WHEN b.base IS NOT NULL THEN format_type(b.base, b.modifier) END AS base
      FROM pg_type t LEFT JOIN bases b ON b.type = t.oid
       AND NOT EXISTS (SELECT FROM pg_type d WHERE d.oid = b.base AND d.typtype = 'd')
)
SELECT n.nspname, p.proname, p.prokind::text, p.provolatile::text, p.proretset::int,
       (has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE'))::int,
       obj_description(p.oid, 'pg_proc'),
       format_type(p.prorettype, NULL), r.typtype::text,
       (SELECT json_agg(json_build_object(
                   'name', coalesce(p.proargnames[a.place], ''),
                   'mode', coalesce(p.proargmodes[a.place]::text, 'i'),
                   'type', t.name, 'base', t.base,
                   'default', CASE WHEN coalesce(p.proargmodes[a.place]::text, 'i') IN ('i', 'b')
                                   THEN pg_get_function_arg_default(p.oid, a.place::int) END)
                   ORDER BY a.place)
          FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]))
               WITH ORDINALITY AS a (type, place)
          JOIN types t ON t.type = a.type)::text,
       (SELECT json_agg(json_build_object(
                   'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
                   'base', t.base)
                   ORDER BY a.attnum)
          FROM pg_attribute a JOIN types t ON t.type = a.atttypid
         WHERE a.attrelid = r.typrelid AND a.attnum > 0 AND NOT a.attisdropped)::text
  FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_type r ON r.oid = p.prorettype
 WHERE n.nspname IN ({marks}) AND p.prokind IN ('f', 'p')
   AND r.typname NOT IN ('trigger', 'event_trigger')
 ORDER BY n.nspname, p.proname, p.oid
"""


class PostgreSQLReader:
    """Reads the functions and procedures of `schemas`. Raises what the query raises."""

    def __init__(self, database: str, schemas: Sequence[str]) -> None:
        self._database = database
        self._schemas = schemas
        self._marks = ", ".join("?" * len(schemas))

    def changes(self, query: Query) -> str:
        """A text that differs from the last one when read() would; one cheap query.

        Call it before read(), so that a change between the two is seen next time.
        """
        return str(query(CHANGES.format(marks=self._marks), *self._schemas)[0][0])

    def read(self, query: Query) -> list[Procedure]:
        """Every function and procedure, in one query."""
        rows = query(EVERYTHING.format(marks=self._marks), *self._schemas)
        found = [_procedure(self._database, row) for row in rows]
        overloads: dict[str, list[Procedure]] = {}
        for procedure in found:
            if not procedure.tags.private:
                overloads.setdefault(procedure.qualified, []).append(procedure)
        return [procedure for procedure in found if procedure.tags.private] + [
            _overloaded(same) if len(same) > 1 else same[0] for same in overloads.values()
        ]


def _procedure(database: str, row: Sequence[Any]) -> Procedure:
    schema, name, kind, volatility, is_set, allowed, comment, returns, returns_kind = row[:9]
    arguments = json.loads(row[9] or "[]")
    columns = json.loads(row[10] or "[]")
    described = read_description(comment)
    texts = dict(described.tags.parameters)
    is_function = kind == "f"
    parameters = tuple(
        Parameter(
            argument["name"],
            _type(argument),
            required=argument["default"] is None,
            direction=MODES[argument["mode"]],
            default=argument["default"],
            description=texts.get(argument["name"].casefold(), ""),
        )
        for argument in arguments
        if argument["mode"] in (("i", "v", "b") if is_function else MODES)
    )
    outs = []
    if is_function:
        # A function returns its OUT and INOUT parameters as columns.
        outs = [a for a in arguments if a["mode"] in ("o", "b", "t")]
        parameters = tuple(replace(p, direction=Direction.IN) for p in parameters)
    reads = described.tags.readonly or (is_function and volatility in "is")
    return Procedure(
        database=database,
        schema=schema,
        name=name,
        engine="postgresql",
        parameters=parameters,
        result=replace(
            _result(name, returns, outs or columns, bool(is_set)) if is_function else NO_RESULT,
            many=described.tags.many_results,
        ),
        summary=described.summary,
        description=described.text,
        tags=described.tags,
        is_function=is_function,
        reads=reads,
        allowed=bool(allowed),
        reason=_unnamed(arguments)
        or (_unanswerable(returns, returns_kind, bool(outs or columns)) if is_function else ""),
    )


def _type(found: dict[str, Any]) -> ParameterType:
    """Its type, under a domain's own name where it is one."""
    if found["base"] is None:
        return postgresql_type(found["type"])
    base = postgresql_type(found["base"])
    return named(base, found["type"]) if base.supported else postgresql_type(found["type"])


def _result(name: str, returns: str, columns: list[dict[str, Any]], is_set: bool) -> Result:
    if returns == "void":
        return NO_RESULT
    if columns:
        return Result(tuple(Column(c["name"], _type(c)) for c in columns), rows=is_set)
    return Result((Column(name, postgresql_type(returns)),), rows=is_set)


def _unnamed(arguments: list[dict[str, Any]]) -> str:
    """Why it can't be called with named parameters; "" where it can."""
    inputs = [a for a in arguments if a["mode"] in ("i", "b", "v")]
    if any(a["mode"] == "v" for a in inputs):
        return "it has a VARIADIC parameter"
    unnamed = [n for n, a in enumerate(inputs, 1) if not a["name"]]
    if unnamed and not (len(inputs) == 1 and inputs[0]["type"] in ("text", "json", "jsonb")):
        return f"its parameter {unnamed[0]} has no name"
    return ""


def _unanswerable(returns: str, returns_kind: str, has_columns: bool) -> str:
    """Why a function's result can't become a response; "" where it can."""
    if returns == "record" and not has_columns:
        return "it returns record without the names of columns; declare RETURNS TABLE (…)"
    if returns == "refcursor" or (returns_kind == "p" and returns not in ("record", "void")):
        return f"it returns {returns}"
    return ""


def _overloaded(same: list[Procedure]) -> Procedure:
    """The refusal of overloads: the names of a request's members don't choose between them."""
    signatures = [
        f"{p.name}({', '.join(f'{a.name} {a.type.sql}'.strip() for a in p.inputs)})" for p in same
    ]
    return replace(
        same[0],
        reason=f"it is overloaded: {'; '.join(signatures)};"
        " give them other names, or mark all but one @private",
    )
