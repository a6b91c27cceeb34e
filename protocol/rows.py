"""Rows of a result set as JSON, NDJSON or CSV, a batch at a time.

A batch is a list of rows in the order of the columns. Decimals are JSON numbers with every digit,
dates and times are ISO 8601, binary values are base64.
"""

import base64
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import orjson

from database.statement import ResultColumn
from protocol.arrow import is_undeclared
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
    columns: Sequence[ResultColumn],
    batches: Iterable[Sequence[Sequence[Any]]],
    *,
    escapes_formulas: bool = False,
) -> Iterator[str]:
    """RFC 4180 with a header; null is an empty cell.

    A number of a decimal column without a declared scale has at least one digit after the point, so
    that readers which take a column's type from its first rows take none for an integer.
    escapes_formulas: put an apostrophe before text that a spreadsheet would calculate.
    """
    text_cell = _escaped_cell if escapes_formulas else _cell
    cells = [_decimal_cell if is_undeclared(column) else text_cell for column in columns]
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([column.name for column in columns])
    for batch in batches:
        writer.writerows(
            [[cell(value) for cell, value in zip(cells, row, strict=True)] for row in batch]
        )
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _decimal_cell(value: Decimal | None) -> str | None:
    if value is None:
        return None
    text = format(value, "f")
    return text if "." in text or not value.is_finite() else f"{text}.0"


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
