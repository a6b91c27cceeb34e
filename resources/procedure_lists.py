"""Rows as the database delivers them: JSON, NDJSON, CSV or Arrow, with flat memory."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Response, current_app, g

from catalog import statements
from catalog.operation import Operation
from catalog.procedure import Procedure
from catalog.types import Kind
from connection_manager import Rows
from database.statement import ResultSet
from operations.result_body import ENCODED, is_text
from protocol.arrow import arrow_stream
from protocol.authorization import caller_claims
from protocol.formats import ARROW, CSV, JSON, NDJSON, alike, streamed_bytes
from protocol.limits import StreamLimit
from protocol.problems import Problem
from protocol.rows import UnusableColumns, csv_text, json_objects, names_of
from resources.base import reads_of
from resources.procedure_calls import Call

Batches = Iterator[list[Any]]


def streams(operation: Operation) -> bool:
    """Whether an operation answers a list whose shape is known before its last row."""
    procedure = operation.procedure
    if procedure is None or operation.method != "GET" or operation.route.endswith("}"):
        return False
    result = procedure.result
    has_one_set = not (procedure.outputs or result.many or result.empty)
    # PostgreSQL's CALL has no cursor.
    return has_one_set and (procedure.is_function or procedure.engine == "sqlserver")


def list_response(call: Call, media_type: str) -> Response:
    """A list that fits one batch is sent whole; a longer one as its rows arrive.

    Only the longer one counts as a stream: it holds its connection while the client reads.
    """
    statement = statements.call(
        call.procedure, call.values, rows_as_json=media_type in (JSON, NDJSON), open_cursor=True
    )
    caller, deadline = caller_claims(), g.deadline
    rows = reads_of(call.procedure.database).stream_rows(
        call.procedure.qualified, statement, caller=caller, deadline=deadline
    )
    try:
        return _response(call, rows, media_type)
    except BaseException:
        rows.close()
        raise


def _response(call: Call, rows: Rows, media_type: str) -> Response:
    batches = iter(rows)
    first = next(batches, [])
    second = next(batches, None)
    if second is not None:
        limit: StreamLimit = current_app.extensions["stream_limit"]
        counted = limit.begin(lambda: rows)
    else:
        counted = rows
    arriving = itertools.chain(
        [first] if first else [], [] if second is None else [second], batches
    )
    if is_text([column.name for column in rows.columns]):
        if media_type != JSON:
            counted.close()
            raise Problem("not-acceptable", f"{call.operation.route} has {JSON} only.")
        if second is not None:
            return streamed_bytes(counted, _pieces(arriving), JSON)
    elif media_type != JSON or second is not None:
        try:
            encoded = _encoded(call, rows, arriving, media_type)
        except UnusableColumns as error:
            counted.close()
            raise call.breach(str(error)) from None
        return streamed_bytes(counted, encoded, media_type)
    return call.response([ResultSet(rows.columns, first)])


def _encoded(call: Call, rows: Rows, batches: Batches, media_type: str) -> Iterator[bytes]:
    """Raises UnusableColumns before the first byte."""
    names = names_of(rows.columns)
    if media_type == CSV:
        escapes = current_app.config["CSV_ESCAPES_FORMULAS"]
        return (t.encode() for t in csv_text(rows.columns, batches, escapes_formulas=escapes))
    if media_type == ARROW:
        return arrow_stream(rows.columns, batches)
    if media_type == NDJSON:
        return _ndjson(names, batches, alike(_unscaled(call.procedure)))
    return _json_array(names, batches)


def _unscaled(procedure: Procedure) -> Iterator[str]:
    """The columns in which PostgreSQL may write 5 in one row, and 5.76 in another."""
    for column in procedure.result.columns or ():
        kind, scale = column.type.kind, column.type.scale
        if kind is Kind.FLOAT or (kind is Kind.DECIMAL and scale is None):
            yield column.name


def _json_array(names: list[str], batches: Batches) -> Iterator[bytes]:
    lead = b"["
    for batch in batches:
        yield lead + b",".join(_objects(names, batch))
        lead = b","
    yield b"]" if lead == b"," else b"[]"


def _ndjson(
    names: list[str], batches: Batches, written_alike: Callable[[str], str]
) -> Iterator[bytes]:
    for batch in batches:
        if tuple(names) == ENCODED:
            yield written_alike("\n".join([row[0] for row in batch]) + "\n").encode()
        else:
            yield b"\n".join(json_objects(names, batch)) + b"\n"


def _objects(names: list[str], batch: list[Any]) -> list[bytes]:
    if tuple(names) == ENCODED:
        return [row[0].encode() for row in batch]
    return json_objects(names, batch)


def _pieces(batches: Iterable[list[Any]]) -> Iterator[bytes]:
    """JSON text that the database has cut into rows."""
    for batch in batches:
        yield "".join([row[0] for row in batch if row[0]]).encode()
