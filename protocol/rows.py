"""Rows of a result set as JSON, NDJSON, CSV or Arrow, a batch at a time.

A batch is a list of rows in the order of the columns. Decimals are JSON numbers with every digit,
dates and times are ISO 8601, binary values are base64.
"""

import base64
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import orjson

from database.statement import ResultColumn
from protocol.formats import FORMULA_BEGINS


class UnusableColumns(ValueError):
    """Rows can't become objects; the message is a sentence for the log."""


def names_of(columns: Sequence[ResultColumn]) -> list[str]:
    """The members' names. Raises UnusableColumns where one is missing or given twice."""
    names = [column.name for column in columns]
    for place, name in enumerate(names, 1):
        if not name:
            raise UnusableColumns(f"Column {place} of the result has no name; give it one with AS.")
        if names.index(name) != place - 1:
            raise UnusableColumns(f"The result has two columns named {name}; rename one with AS.")
    return names


def json_objects(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[bytes]:
    """Each row as one JSON object."""
    return [
        orjson.dumps(dict(zip(names, row, strict=True)), default=_json, option=OPTIONS)
        for row in rows
    ]


def json_array(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """All rows as one JSON array."""
    objects = [dict(zip(names, row, strict=True)) for row in rows]
    return orjson.dumps(objects, default=_json, option=OPTIONS)


def json_value(value: Any) -> bytes:
    """Any value of the driver as JSON."""
    return orjson.dumps(value, default=_json, option=OPTIONS)


OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME


def _json(value: Any) -> Any:
    """A value that orjson does not encode by itself."""
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f")) if value.is_finite() else None
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    return str(value)


def csv_text(
    names: Sequence[str],
    batches: Iterable[Sequence[Sequence[Any]]],
    *,
    escapes_formulas: bool = False,
) -> Iterator[str]:
    """RFC 4180 with a header; null is an empty cell.

    escapes_formulas: put an apostrophe before text that a spreadsheet would calculate.
    """
    cell = _escaped_cell if escapes_formulas else _cell
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(names)
    for batch in batches:
        writer.writerows([[cell(value) for value in row] for row in batch])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _escaped_cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA_BEGINS):
        return "'" + value
    return _cell(value)


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return base64.b64encode(value).decode()


def arrow_stream(
    columns: Sequence[ResultColumn], batches: Iterable[Sequence[Sequence[Any]]]
) -> Iterator[bytes]:
    """The Arrow IPC streaming format, a record batch for each batch of rows."""
    # Imported here: a server whose clients never ask for Arrow starts without it.
    import pyarrow as pa

    types = [_arrow_type(pa, column) for column in columns]
    names = names_of(columns)
    schema = pa.schema(list(zip(names, types, strict=True)))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        yield _taken(sink)
        for batch in batches:
            arrays = [
                pa.array([row[place] for row in batch], kind)
                if not pa.types.is_floating(kind)
                else pa.array([None if row[place] is None else float(row[place]) for row in batch])
                for place, kind in enumerate(types)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            yield _taken(sink)
    yield _taken(sink)


def _taken(sink: io.BytesIO) -> bytes:
    data = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return data


# PostgreSQL's numeric without a declared precision is described with this one.
UNDECLARED = (28, 6)


def _arrow_type(pa: Any, column: ResultColumn) -> Any:
    simple: dict[type, Callable[[], Any]] = {
        bool: pa.bool_,
        int: pa.int64,
        float: pa.float64,
        str: pa.string,
        bytes: pa.binary,
        bytearray: pa.binary,
        date: pa.date32,
    }
    if column.type is Decimal:
        if (column.precision, column.scale) == UNDECLARED or not 0 < column.precision <= 38:
            return pa.float64()
        return pa.decimal128(column.precision, column.scale)
    if column.type is datetime:
        return pa.timestamp("us")
    if column.type is time:
        return pa.time64("us")
    return simple.get(column.type, pa.string)()
