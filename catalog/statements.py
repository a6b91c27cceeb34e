"""The SQL text that calls a procedure with the values of one request, in one round trip.

A write with a key runs in one transaction with the row that remembers the key, so that the write
and its key are committed together or not at all. Names come from the catalog; every value is a
parameter.
"""

import base64
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from catalog.procedure import Parameter, Procedure
from catalog.types import Column, Kind, ParameterType
from database.statement import Statement

# sql/keys/ makes these.
KEY_TABLE = "procedures_api.requests"
# The first column of the result set that stands in for the procedure's own when the key is known.
REPLAY_COLUMN = "procedures_api_replay"
# The number that the batch throws when a procedure leaves the transaction open or ended.
TRANSACTION_BROKEN = 59266
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
    """A call of `procedure` with `values` by parameter name; a parameter without a value is left
    out, for the default in the database.

    key: run the call once for this key. rows_as_json: PostgreSQL encodes each row, as one text.
    open_cursor: PostgreSQL opens a cursor, for rows in batches.
    """
    if procedure.engine == "sqlserver":
        return _t_sql(procedure, values, key)
    return _postgresql(procedure, values, key, rows_as_json, open_cursor)


def find_response(procedure: Procedure, key: str) -> Statement:
    """Digest, status, headers and response of a known key; one row."""
    if procedure.engine == "sqlserver":
        return Statement(f"SELECT {_STORED} FROM {KEY_TABLE} WHERE RequestKey = ?", (key,))
    return Statement("SELECT * FROM procedures_api.find_response(?)", (key,))


def keep_response(
    procedure: Procedure, key: str, status: int, headers: str, response: str | None
) -> Statement:
    """Store the response of a write that has been committed. response: None where it is too long
    to be kept."""
    if procedure.engine == "sqlserver":
        kept = "NULL" if response is None else "?"
        values = (status, headers, *(() if response is None else (response,)), key)
        return Statement(
            f"UPDATE {KEY_TABLE} SET Status = ?, Headers = ?, Response = {kept}"
            " WHERE RequestKey = ?",
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


def key_table_usable(engine: str) -> str:
    """A query for 1 where the API's login may keep keys, else 0."""
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
        # RAISERROR and a missing procedure do not end a batch: without a CATCH the key would be
        # committed without its write.
        " COMMIT; END TRY BEGIN CATCH IF @@TRANCOUNT > 0 ROLLBACK; THROW; END CATCH;",
        (key.key, key.digest, *declared_values, *argument_values),
    )


def _t_sql_variables(
    procedure: Procedure, values: Mapping[str, Any]
) -> tuple[str, tuple[Any, ...]]:
    """Variables for outputs and tables, which EXEC can't take as parameter markers."""
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
            f"DECLARE @table{n} {parameter.type.sql};"
            f" INSERT @table{n} ({columns}) SELECT {columns} FROM OPENJSON(?) WITH ({typed}); "
        )
        found.append(_json_rows(values[parameter.name]))
    return text, tuple(found)


def _t_sql_arguments(
    procedure: Procedure, values: Mapping[str, Any]
) -> tuple[list[str], tuple[Any, ...]]:
    arguments: list[str] = []
    found: list[Any] = []
    outputs = {p.name: n for n, p in enumerate(procedure.outputs)}
    tables = {p.name: n for n, p in enumerate(_tables(procedure, values))}
    for parameter in procedure.parameters:
        name = parameter.name
        if name in outputs:
            arguments.append(f"@{name} = @out{outputs[name]} OUTPUT")
        elif name in tables:
            arguments.append(f"@{name} = @table{tables[name]}")
        elif name in values:
            # A None as a parameter would cost a round trip to learn its type.
            arguments.append(f"@{name} = {'NULL' if values[name] is None else '?'}")
            if values[name] is not None:
                found.append(values[name])
    return arguments, tuple(found)


def _tables(procedure: Procedure, values: Mapping[str, Any]) -> list[Parameter]:
    return [
        p
        for p in procedure.parameters
        if p.type.kind is Kind.TABLE and values.get(p.name) is not None
    ]


def _json_column(place: int, column: Column) -> str:
    return f"{_bracketed(column.name)} {column.type.sql} '$[{place}]'"


def _json_rows(rows: list[Any]) -> str:
    """Rows as JSON arrays. OPENJSON reads base64 into binary columns."""
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"), default=_json_value)


def _json_value(value: Any) -> Any:
    if isinstance(value, Decimal):
        # As text: a JSON number of json.dumps is a double. OPENJSON converts it exactly.
        return format(value, "f")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


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
        # CALL takes a NULL in the place of each OUT parameter.
        value = values.get(parameter.name)
        marker = "NULL" if value is None else "?"
        argument = f"CAST({marker} AS {parameter.type.sql})"
        arguments.append(f"{_quoted(parameter.name)} => {argument}" if parameter.name else argument)
        if value is not None:
            found.append(value)
    call = f"{procedure.call_name}({', '.join(arguments)})"
    if procedure.is_function:
        text = f"SELECT {_select_list(procedure)} FROM {_aliased(procedure, call)}"
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


def _select_list(procedure: Procedure) -> str:
    """The columns of a function; those that JSON or the driver would spell otherwise are cast."""
    columns = procedure.result.columns
    if not columns:
        return "*"
    return ", ".join(_selected(column.name, column.type) for column in columns)


def _selected(name: str, kind: ParameterType) -> str:
    column = f"f.{_quoted(name)}"
    if kind.kind is Kind.BINARY:
        return f"translate(encode({column}, 'base64'), E'\\n', '') AS {_quoted(name)}"
    return f"{column} AS {_quoted(name)}" if column != f"f.{name}" else column


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
