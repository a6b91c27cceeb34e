"""The SQL text that calls a procedure with the values of one request, in one round trip.

A write with a key runs in one transaction with the row that stores the key, so that both are
committed or neither is. Names come from the catalog; every value is a parameter.
"""

import base64
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from catalog.procedure import Parameter, Procedure
from catalog.types import Column, Kind
from database.statement import Guard, Statement

# Created by sql/keys/.
KEY_TABLE = "procedures_api.requests"
# The first column of the result set that replaces the procedure's own when the key is known.
REPLAY_COLUMN = "procedures_api_replay"
# The number that the batch throws when a procedure returns with the transaction count changed.
TRANSACTION_BROKEN = 59266
# The number that the guard of a read throws on a replica that lacks a write.
BEHIND = 59267
# The SQLSTATE by which PostgreSQL reports a known key.
KEY_KNOWN = "KEY01"
CURSOR = "procedures_api_rows"


class RequestKey(NamedTuple):
    """The idempotency key of a write, at most 255 characters, and its request's digest."""

    key: str
    digest: str


def call(
    procedure: Procedure,
    values: Mapping[str, Any],
    *,
    key: RequestKey | None = None,
    rows_as_json: bool = False,
    open_cursor: bool = False,
) -> Statement:
    """A call of `procedure` with `values` by parameter name. Parameters without a value are left
    out, so that the database's defaults apply.

    key: run the call once for this key. rows_as_json: PostgreSQL encodes each row, as one text.
    open_cursor: PostgreSQL opens a cursor, for rows in batches.
    """
    if procedure.engine == "sqlserver":
        return _t_sql(procedure, values, key)
    return _postgresql(procedure, values, key, rows_as_json, open_cursor)


def find_response(procedure: Procedure, key: str) -> Statement:
    """Digest, status, headers and response of a known key; one row."""
    if procedure.engine == "sqlserver":
        return Statement(f"SELECT {_STORED} FROM {KEY_TABLE} WHERE {_IS_KEY}", (key,))
    return Statement("SELECT * FROM procedures_api.find_response(?)", (key,))


def keep_response(
    procedure: Procedure, key: str, status: int, headers: str, response: str | None
) -> Statement:
    """Store the response of a committed write. response: None where it is too long to be kept."""
    if procedure.engine == "sqlserver":
        kept = "NULL" if response is None else "?"
        values = (status, headers, *(() if response is None else (response,)), key)
        return Statement(
            f"UPDATE {KEY_TABLE} SET Status = ?, Headers = ?, Response = {kept} WHERE {_IS_KEY}",
            values,
        )
    text = "SELECT procedures_api.keep_response(?, ?, ?, ?)"
    return Statement(text, (key, status, headers, response))


def delete_expired_keys(engine: str, hours: int) -> Statement:
    """Delete the keys that are older than `hours`; one row with their number."""
    if engine == "sqlserver":
        return Statement(
            f"SET NOCOUNT ON; DELETE {KEY_TABLE}"
            " WHERE CreatedAt < DATEADD(hour, ?, SYSUTCDATETIME()); SELECT @@ROWCOUNT AS Deleted;",
            (-hours,),
        )
    return Statement("SELECT procedures_api.delete_expired(?)", (hours,))


def require_key(engine: str, key: str, since: str) -> Guard:
    """Raises Kind.BEHIND unless `key` is stored here, by a write after `since` (ISO 8601, UTC)."""
    if engine == "sqlserver":
        return Guard(
            f"IF NOT EXISTS (SELECT 1 FROM {KEY_TABLE} WHERE {_IS_KEY}"
            " AND CreatedAt > CAST(? AS datetime2(0)))"
            f" THROW {BEHIND}, N'The write is not here yet.', 1; ",
            (key, since),
        )
    return Guard("CALL procedures_api.require_key(?, ?);", (key, f"{since}Z"))


def require_sample_key(engine: str, key: str, since: str) -> Guard:
    """require_key() for a write by one of the sample's procedures, which keep keys themselves."""
    if engine == "sqlserver":
        return Guard("EXEC web.require_request ?, ?; ", (key, since))
    return Guard("CALL web.require_request(?, ?);", (key, f"{since}Z"))


def key_table_usable(engine: str) -> str:
    """A query that returns 1 if the API's login may store keys, else 0."""
    if engine == "sqlserver":
        return (
            f"SELECT CASE WHEN OBJECT_ID(N'{KEY_TABLE}') IS NULL THEN 0"
            f" ELSE HAS_PERMS_BY_NAME(N'{KEY_TABLE}', N'OBJECT', N'INSERT') END"
        )
    return (
        "SELECT coalesce(has_schema_privilege(to_regnamespace('procedures_api'), 'USAGE')"
        " AND has_function_privilege(to_regprocedure('procedures_api.claim(text,text)'),"
        " 'EXECUTE'), false)::int"
    )


_STORED = "Digest, Status, Headers, Response"
# Texts are bound as nvarchar(max), by which an index can't be searched as well.
_IS_KEY = "RequestKey = CAST(? AS nvarchar(255))"


# T-SQL


def _t_sql(procedure: Procedure, values: Mapping[str, Any], key: RequestKey | None) -> Statement:
    declared, declared_values = _t_sql_variables(procedure, values)
    arguments, argument_values = _t_sql_arguments(procedure, values)
    outputs = procedure.outputs
    call = f"EXEC {procedure.call_name}{' ' if arguments else ''}{', '.join(arguments)};"
    if outputs:
        selected = ", ".join(f"@out{n} AS {_bracketed(p.name)}" for n, p in enumerate(outputs))
        call += f" SELECT {selected};"
    if key is None:
        return Statement(f"{declared}{call}", (*declared_values, *argument_values))
    # TRY, because after RAISERROR and some other errors a batch goes on, XACT_ABORT or not: it
    # would commit the key of a write that has failed.
    return Statement(
        "SET NOCOUNT ON; SET XACT_ABORT ON;"
        " DECLARE @request_key nvarchar(255) = ?, @request_digest char(64) = ?;"
        f" {declared}BEGIN TRY BEGIN TRAN;"
        f" IF EXISTS (SELECT 1 FROM {KEY_TABLE} WITH (UPDLOCK, HOLDLOCK)"
        " WHERE RequestKey = @request_key)"
        f" SELECT 1 AS {REPLAY_COLUMN}, {_STORED} FROM {KEY_TABLE}"
        " WHERE RequestKey = @request_key;"
        " ELSE BEGIN"
        f" INSERT {KEY_TABLE} (RequestKey, Digest) VALUES (@request_key, @request_digest);"
        f" {call}"
        " END;"
        " IF @@TRANCOUNT <> 1 BEGIN IF @@TRANCOUNT > 0 ROLLBACK;"
        f" THROW {TRANSACTION_BROKEN}, N'The procedure changed the transaction.', 1; END;"
        " COMMIT; END TRY"
        " BEGIN CATCH IF @@TRANCOUNT > 0 ROLLBACK; THROW; END CATCH;",
        (key.key, key.digest, *declared_values, *argument_values),
    )


def _t_sql_variables(
    procedure: Procedure, values: Mapping[str, Any]
) -> tuple[str, tuple[Any, ...]]:
    """Variables for outputs and tables, for which EXEC takes no parameter markers, and for a
    datetimeoffset: Babelfish converts text to one in an assignment, but not in EXEC's argument."""
    text = ""
    found: list[Any] = []
    for n, parameter in enumerate(procedure.outputs):
        value = values.get(parameter.name)
        text += f"DECLARE @out{n} {parameter.type.sql}{'' if value is None else ' = ?'}; "
        if value is not None:
            found.append(value)
    for n, parameter in enumerate(_tables(procedure, values)):
        columns = ", ".join(_bracketed(c.name) for c in parameter.type.columns)
        typed = ", ".join(_json_column(m, c) for m, c in enumerate(parameter.type.columns))
        text += (
            f"DECLARE @table{n} {_qualified(parameter.type.sql)};"
            f" INSERT @table{n} ({columns}) SELECT {columns} FROM OPENJSON(?) WITH ({typed}); "
        )
        found.append(_json_rows(values[parameter.name]))
    for n, parameter in enumerate(_with_offset(procedure, values)):
        text += f"DECLARE @moment{n} {parameter.type.sql} = ?; "
        found.append(values[parameter.name])
    return text, tuple(found)


def _t_sql_arguments(
    procedure: Procedure, values: Mapping[str, Any]
) -> tuple[list[str], tuple[Any, ...]]:
    arguments: list[str] = []
    found: list[Any] = []
    outputs = {p.name: n for n, p in enumerate(procedure.outputs)}
    variables = {p.name: f"@table{n}" for n, p in enumerate(_tables(procedure, values))}
    variables |= {p.name: f"@moment{n}" for n, p in enumerate(_with_offset(procedure, values))}
    for parameter in procedure.parameters:
        name = parameter.name
        if name in outputs:
            arguments.append(f"@{name} = @out{outputs[name]} OUTPUT")
        elif name in variables:
            arguments.append(f"@{name} = {variables[name]}")
        elif name in values:
            # For None as a parameter the driver would ask the server for its type, one more trip.
            arguments.append(f"@{name} = {'NULL' if values[name] is None else '?'}")
            if values[name] is not None:
                found.append(values[name])
    return arguments, tuple(found)


def _tables(procedure: Procedure, values: Mapping[str, Any]) -> list[Parameter]:
    return _given(procedure, values, Kind.TABLE)


def _with_offset(procedure: Procedure, values: Mapping[str, Any]) -> list[Parameter]:
    outputs = procedure.outputs
    moments = _given(procedure, values, Kind.TIMESTAMPTZ)
    return [p for p in moments if p not in outputs]


def _given(procedure: Procedure, values: Mapping[str, Any], kind: Kind) -> list[Parameter]:
    parameters = procedure.parameters
    return [p for p in parameters if p.type.kind is kind and values.get(p.name) is not None]


def _json_column(place: int, column: Column) -> str:
    return f"{_bracketed(column.name)} {column.type.sql} '$[{place}]'"


def _json_rows(rows: list[Any]) -> str:
    """Rows as JSON arrays. OPENJSON reads base64 into binary columns."""
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"), default=_json_value)


def _json_value(value: Any) -> Any:
    if isinstance(value, Decimal):
        # As text, which OPENJSON converts exactly: json.dumps would write a double.
        return format(value, "f")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def _qualified(name: str) -> str:
    """The quoted name of a user-defined type, written schema.name."""
    schema, _, type_name = name.partition(".")
    return f"{_bracketed(schema)}.{_bracketed(type_name)}"


def _bracketed(name: str) -> str:
    return "[" + name.replace("]", "]]") + "]"


# PostgreSQL


def _postgresql(
    procedure: Procedure,
    values: Mapping[str, Any],
    key: RequestKey | None,
    rows_as_json: bool,
    open_cursor: bool,
) -> Statement:
    arguments: list[str] = []
    found: list[Any] = []
    for parameter in procedure.parameters:
        given = parameter.name in values
        if not given and not (parameter.is_output and not procedure.is_function):
            continue
        # CALL takes NULL for each OUT parameter.
        value = values.get(parameter.name)
        marker = "NULL" if value is None else "?"
        argument = f"CAST({marker} AS {parameter.type.sql})"
        arguments.append(f"{_quoted(parameter.name)} => {argument}" if parameter.name else argument)
        if value is not None:
            found.append(value)
    call = f"{procedure.call_name}({', '.join(arguments)})"
    if procedure.is_function:
        selected = _select_list(procedure, rows_as_json)
        text = f"SELECT {selected} FROM {_aliased(procedure, call)}"
        if rows_as_json and not procedure.result.passes_text and not procedure.result.empty:
            text = f"SELECT row_to_json(r)::text AS row_to_json FROM ({text}) AS r"
        if open_cursor:
            text = f"DECLARE {CURSOR} NO SCROLL CURSOR FOR {text}"
    else:
        text = f"CALL {call}"
    fetch_from = CURSOR if open_cursor else ""
    if key is None:
        alone = procedure.tags.nontransactional and not open_cursor
        return Statement(text, tuple(found), fetch_from=fetch_from, alone=alone)
    claim = "SELECT procedures_api.claim(?, ?)"
    return Statement(f"{claim};{text}", (key.key, key.digest, *found), skip=1)


def _aliased(procedure: Procedure, call: str) -> str:
    columns = procedure.result.columns or ()
    if len(columns) == 1 and procedure.result.columns is not None:
        # A function that returns one value has no column of its own.
        return f"{call} AS f({_quoted(columns[0].name)})"
    return f"{call} AS f"


def _select_list(procedure: Procedure, as_json: bool) -> str:
    columns = procedure.result.columns
    if not columns:
        return "*"
    return ", ".join(_selected(column.name, column.type.kind, as_json) for column in columns)


def _selected(name: str, kind: Kind, as_json: bool) -> str:
    """A column, cast where row_to_json() or else the driver would return another value than JSON
    has: `\\x` for bytes; a time without its offset, an array as {1,2}, a UUID in upper case."""
    column, quoted = f"f.{_quoted(name)}", _quoted(name)
    if as_json:
        if kind is Kind.BINARY:
            return f"translate(encode({column}, 'base64'), E'\\n', '') AS {quoted}"
        return column
    if kind is Kind.TIMESTAMPTZ:
        return f"to_json({column}) #>> '{{}}' AS {quoted}"
    if kind is Kind.ARRAY:
        return f"to_json({column})::text AS {quoted}"
    if kind in (Kind.UUID, Kind.XML, Kind.JSON, Kind.UNSUPPORTED):
        # Among the unsupported: interval, which pyodbc refuses, inet, and enumerations.
        return f"{column}::text AS {quoted}"
    return column


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
