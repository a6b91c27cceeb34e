"""Reads procedures out of SQL Server, Azure SQL, Synapse serverless and Babelfish.

sys.procedures, sys.schemas and sys.sql_modules are on all of them. The other views are looked for
before they are read, so that a view that is missing is never mistaken for a database that fails.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from catalog import Query
from catalog.description import Description, read_description
from catalog.header import HeaderError, HeaderParameter, read_header
from catalog.procedure import Direction, Parameter, Procedure, Result
from catalog.sql_types import t_sql_type
from catalog.types import Column, ParameterType, named, table_of, unsupported

# NULL for a view that this engine lacks. OBJECT_ID alone might not find a system view everywhere.
PROBE = """
SELECT COALESCE(OBJECT_ID(N'sys.{view}'),
    (SELECT MAX(o.object_id) FROM sys.all_objects AS o
      WHERE o.schema_id = SCHEMA_ID(N'sys') AND o.name = N'{view}'))
"""
STATE = """
SELECT p.object_id, s.name, p.name, p.modify_date,
       HAS_PERMS_BY_NAME(QUOTENAME(s.name) + N'.' + QUOTENAME(p.name), N'OBJECT', N'EXECUTE')
  FROM sys.procedures AS p JOIN sys.schemas AS s ON s.schema_id = p.schema_id
 WHERE s.name IN ({marks}) ORDER BY p.object_id
"""
# The same with a row for each description.
DESCRIBED_STATE = """
SELECT p.object_id, s.name, p.name, p.modify_date,
       HAS_PERMS_BY_NAME(QUOTENAME(s.name) + N'.' + QUOTENAME(p.name), N'OBJECT', N'EXECUTE'),
       e.class, e.minor_id, CAST(e.value AS nvarchar(4000))
  FROM sys.procedures AS p JOIN sys.schemas AS s ON s.schema_id = p.schema_id
  LEFT JOIN sys.extended_properties AS e
    ON e.major_id = p.object_id AND e.class IN (1, 2) AND e.name = N'MS_Description'
 WHERE s.name IN ({marks}) ORDER BY p.object_id, e.class, e.minor_id
"""
SOURCES = """
SELECT p.object_id, m.definition
  FROM sys.procedures AS p JOIN sys.schemas AS s ON s.schema_id = p.schema_id
  JOIN sys.sql_modules AS m ON m.object_id = p.object_id
 WHERE s.name IN ({marks})
"""
PARAMETERS = """
SELECT a.object_id, a.name, ts.name, t.name, b.name, a.max_length, a.precision, a.scale,
       a.is_output, a.is_readonly
  FROM sys.parameters AS a
  LEFT JOIN sys.types AS b ON b.user_type_id = a.system_type_id
  LEFT JOIN sys.types AS t ON t.user_type_id = a.user_type_id
  LEFT JOIN sys.schemas AS ts ON ts.schema_id = t.schema_id
  JOIN sys.procedures AS p ON p.object_id = a.object_id
  JOIN sys.schemas AS s ON s.schema_id = p.schema_id
 WHERE s.name IN ({marks}) AND a.parameter_id > 0 ORDER BY a.object_id, a.parameter_id
"""
USER_TYPES = """
SELECT s.name, t.name, b.name, t.max_length, t.precision, t.scale
  FROM sys.types AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id
  JOIN sys.types AS b ON b.user_type_id = t.system_type_id
 WHERE t.is_user_defined = 1
"""
TABLE_TYPES = """
SELECT s.name, t.name, c.name, b.name, c.max_length, c.precision, c.scale, c.is_nullable,
       CASE WHEN c.is_computed = 1 OR c.is_identity = 1 THEN 1 ELSE 0 END
  FROM sys.table_types AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id
  JOIN sys.columns AS c ON c.object_id = t.type_table_object_id
  LEFT JOIN sys.types AS b ON b.user_type_id = c.system_type_id
 ORDER BY s.name, t.name, c.column_id
"""
# A row with an error_number and no column where the server can't tell, as with a temporary table.
RESULTS = """
SELECT p.object_id, r.name, r.system_type_name, r.is_nullable, r.error_number
  FROM sys.procedures AS p JOIN sys.schemas AS s ON s.schema_id = p.schema_id
 OUTER APPLY sys.dm_exec_describe_first_result_set_for_object(p.object_id, 0) AS r
 WHERE s.name IN ({marks}) AND ISNULL(r.is_hidden, 0) = 0
 ORDER BY p.object_id, r.column_ordinal
"""
CHARACTERS_OF_TWO_BYTES = ("nchar", "nvarchar")
BY_LENGTH = ("char", "varchar", "binary", "varbinary", *CHARACTERS_OF_TWO_BYTES)
BY_PRECISION = ("decimal", "numeric")
BY_SCALE = ("time", "datetime2", "datetimeoffset")


_Types = dict[tuple[str, str], ParameterType]


class _Listed(NamedTuple):
    """A parameter as sys.parameters has it."""

    name: str
    type: ParameterType
    is_output: bool


class _Texts(NamedTuple):
    """The descriptions of a procedure, and of its parameters by their number from 1."""

    procedure: Description
    parameters: dict[int, str]

    def of(self, place: int, name: str) -> str:
        written = dict(self.procedure.tags.parameters)
        return self.parameters.get(place) or written.get(name.casefold(), "")


NO_TEXTS = _Texts(read_description(None), {})


class _Views(NamedTuple):
    """Which of the views that some engines lack this one has."""

    parameters: bool
    descriptions: bool
    table_types: bool
    results: bool


class SqlServerReader:
    """Reads the procedures of `schemas`. Raises what the query raises."""

    def __init__(self, database: str, schemas: Sequence[str]) -> None:
        self._database = database
        self._schemas = schemas
        self._found_views: _Views | None = None

    def changes(self, query: Query) -> str:
        """A text that differs from the last one when read() would; one cheap query.

        Call it before read(), so that a change between the two is seen next time.
        """
        described = self._views(query).descriptions
        rows = self._in(query, DESCRIBED_STATE if described else STATE)
        return hashlib.sha256(repr([tuple(row) for row in rows]).encode()).hexdigest()

    def read(self, query: Query) -> list[Procedure]:
        """Every procedure, in a handful of queries."""
        listing = self._in(query, STATE)
        if not listing:
            # Not every engine has the views below; one that exposes nothing needs none of them.
            return []
        views = self._views(query)
        sources = dict(map(tuple, self._in(query, SOURCES)))
        headers = {number: _header(source) for number, source in sources.items() if source}
        declared = {number: header for number, (header, _) in headers.items()}
        in_header = [p for header in declared.values() for p in header or ()]
        types = {}
        if views.parameters or any(p.type_schema or p.is_readonly for p in in_header):
            types = _user_types(query, views)
        listed = self._listed_parameters(query, types) if views.parameters else None
        texts = self._descriptions(query) if views.descriptions else {}
        results = self._results(query) if views.results else {}
        found = []
        for number, schema, name, _, allowed in listing:
            texts_here = texts.get(number, NO_TEXTS)
            header, fault = headers.get(number, (None, ""))
            parameters: tuple[Parameter, ...] = ()
            if header is not None:
                parameters = _declared_parameters(header, types, texts_here)
            elif listed is not None:
                parameters, fault = _undeclared(listed[number], texts_here), ""
            else:
                fault = fault or (
                    "its source can't be seen; grant VIEW DEFINITION ON SCHEMA::" + schema
                )
            description = texts_here.procedure
            found.append(
                Procedure(
                    database=self._database,
                    schema=schema,
                    name=name,
                    engine="sqlserver",
                    parameters=parameters,
                    result=Result(
                        results.get(number),
                        empty=results.get(number) == (),
                        many=description.tags.many_results,
                    ),
                    summary=description.summary,
                    description=description.text,
                    tags=description.tags,
                    reads=description.tags.readonly,
                    allowed=bool(allowed),
                    reason=fault,
                )
            )
        return found

    def _views(self, query: Query) -> _Views:
        if self._found_views is None:
            self._found_views = _Views(
                _has(query, "parameters"),
                _has(query, "extended_properties"),
                _has(query, "table_types"),
                _has(query, "dm_exec_describe_first_result_set_for_object"),
            )
        return self._found_views

    def _in(self, query: Query, text: str) -> Sequence[Sequence[Any]]:
        """The rows for the schemas that are read."""
        return query(text.format(marks=", ".join("?" * len(self._schemas))), *self._schemas)

    def _listed_parameters(self, query: Query, types: _Types) -> dict[int, list[_Listed]]:
        """The parameters by sys.parameters, by the procedure's object_id."""
        found = defaultdict(list)
        for row in self._in(query, PARAMETERS):
            number, name, schema, type_name, base, *size, is_output, is_readonly = row
            if is_readonly:
                kind = types.get((schema.lower(), type_name.lower())) if schema else None
                kind = kind or unsupported(f"{schema}.{type_name}")
            else:
                kind = _sized(base, *size) if base else unsupported(type_name)
            found[number].append(_Listed(name.lstrip("@"), kind, bool(is_output)))
        return found

    def _descriptions(self, query: Query) -> dict[int, _Texts]:
        own: dict[int, str] = {}
        parameters: dict[int, dict[int, str]] = defaultdict(dict)
        for number, *_, kind, place, text in self._in(query, DESCRIBED_STATE):
            if kind == 1:
                own[number] = text
            elif kind == 2:
                parameters[number][place] = text
        return {
            number: _Texts(read_description(own.get(number)), parameters[number])
            for number in {*own, *parameters}
        }

    def _results(self, query: Query) -> dict[int, tuple[Column, ...] | None]:
        """The columns of the first result set; () where there is none, None where unknown."""
        found: dict[int, tuple[Column, ...] | None] = {}
        for number, name, kind, nullable, error in self._in(query, RESULTS):
            if error is not None:
                found[number] = None
            elif kind is None:
                found.setdefault(number, ())
            elif (earlier := found.setdefault(number, ())) is not None:
                found[number] = (*earlier, Column(name or "", t_sql_type(kind), bool(nullable)))
        return found


def _has(query: Query, view: str) -> bool:
    return query(PROBE.format(view=view))[0][0] is not None


def _header(source: str) -> tuple[tuple[HeaderParameter, ...] | None, str]:
    """The parameters in a source; or None, and the reason."""
    try:
        return read_header(source), ""
    except HeaderError as error:
        return None, f"its source can't be read: {error}".rstrip(".")


def _declared_parameters(
    header: tuple[HeaderParameter, ...], types: _Types, texts: _Texts
) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(
            p.name,
            _type(p, types),
            # A table that is left out is an empty one.
            required=p.default is None and not p.is_output and not p.is_readonly,
            direction=Direction.INOUT if p.is_output else Direction.IN,
            default=p.default,
            description=texts.of(place, p.name),
        )
        for place, p in enumerate(header, 1)
    )


def _undeclared(listed: list[_Listed], texts: _Texts) -> tuple[Parameter, ...]:
    """By sys.parameters, which knows no defaults: each may be left out."""
    return tuple(
        Parameter(
            p.name,
            p.type,
            required=False if p.is_output else None,
            direction=Direction.INOUT if p.is_output else Direction.IN,
            description=texts.of(place, p.name),
        )
        for place, p in enumerate(listed, 1)
    )


def _type(parameter: HeaderParameter, types: _Types) -> ParameterType:
    schema = (parameter.type_schema or "dbo").lower()
    found = types.get((schema, parameter.type_name.lower()))
    if parameter.type_schema is not None or parameter.is_readonly:
        return found or unsupported(parameter.type)
    built_in = t_sql_type(parameter.type)
    return built_in if built_in.supported or found is None else found


def _user_types(query: Query, views: _Views) -> _Types:
    """Alias types and table types, by schema and name in lower case."""
    found = {}
    for schema, name, base, *size in query(USER_TYPES):
        kind = _sized(base, *size)
        found[schema.lower(), name.lower()] = (
            named(kind, f"{schema}.{name}") if kind.supported else kind
        )
    if views.table_types:
        columns = defaultdict(list)
        for schema, name, column, base, *size, nullable, is_made in query(TABLE_TYPES):
            # A client can't send identity and computed columns, and ODBC can't leave them out.
            kind = unsupported(str(base)) if is_made or base is None else _sized(base, *size)
            columns[schema, name].append(Column(column, kind, bool(nullable)))
        for (schema, name), listed in columns.items():
            found[schema.lower(), name.lower()] = table_of(f"{schema}.{name}", tuple(listed))
    return found


def _sized(name: str, length: int, precision: int, scale: int) -> ParameterType:
    """A built-in type by the numbers that sys.types and its like have."""
    name = name.lower()
    if name in BY_LENGTH:
        if name in CHARACTERS_OF_TWO_BYTES and length > 0:
            length //= 2
        return t_sql_type(f"{name}({'max' if length < 0 else length})")
    if name in BY_PRECISION:
        return t_sql_type(f"{name}({precision},{scale})")
    if name in BY_SCALE:
        return t_sql_type(f"{name}({scale})")
    if name == "float":
        return t_sql_type(f"float({precision or 53})")
    return t_sql_type(name)
