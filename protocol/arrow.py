"""Rows in the Arrow IPC streaming format, a record batch for each batch of rows."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from importlib.util import find_spec
from typing import Any

import orjson

from database.statement import ResultColumn

# PostgreSQL's numeric without a declared precision is described with this one.
UNDECLARED = (28, 6)
# The type of each field of a row by name; an object is a mapping of its own.
Fields = Mapping[str, Any]


def installed() -> bool:
    """Whether pyarrow is there; the container image has none."""
    return find_spec("pyarrow") is not None


def is_undeclared(column: ResultColumn) -> bool:
    """Whether a decimal column has no declared precision and scale."""
    return column.type is Decimal and (column.precision, column.scale) == UNDECLARED


def arrow_stream(
    columns: Sequence[ResultColumn], batches: Iterable[Sequence[Sequence[Any]]]
) -> Iterator[bytes]:
    """Rows of values in the order of `columns`, whose names must be unique."""
    # Imported here: a server whose clients never request Arrow starts without it.
    import pyarrow as pa

    schema = pa.schema([(column.name, _type_of_column(pa, column)) for column in columns])

    def arrays(batch: Sequence[Sequence[Any]]) -> list[Any]:
        return [
            pa.array([row[place] for row in batch], kind)
            if not pa.types.is_floating(kind)
            else pa.array([None if row[place] is None else float(row[place]) for row in batch])
            for place, kind in enumerate(schema.types)
        ]

    return _messages(pa, schema, map(arrays, batches))


def arrow_of_json(fields: Fields, batches: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """Rows that are JSON texts; a key that a row lacks is null."""
    import pyarrow as pa

    schema = pa.schema(_named_types(pa, fields))

    def arrays(batch: Sequence[str]) -> list[Any]:
        items = orjson.loads(f"[{','.join(batch)}]")
        return [_array(pa, [item.get(f.name) for item in items], f.type) for f in schema]

    return _messages(pa, schema, map(arrays, batches))


def _messages(pa: Any, schema: Any, batches: Iterable[list[Any]]) -> Iterator[bytes]:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        yield _taken(sink)
        for arrays in batches:
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            yield _taken(sink)
    yield _taken(sink)


def _taken(sink: io.BytesIO) -> bytes:
    data = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return data


def _array(pa: Any, values: list[Any], kind: Any) -> Any:
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)


def _named_types(pa: Any, fields: Fields) -> list[tuple[str, Any]]:
    return [
        (name, pa.struct(_named_types(pa, kind)) if isinstance(kind, Mapping) else _type(pa, kind))
        for name, kind in fields.items()
    ]


def _type_of_column(pa: Any, column: ResultColumn) -> Any:
    if column.type is Decimal:
        if is_undeclared(column) or not 0 < column.precision <= 38:
            return pa.float64()
        return pa.decimal128(column.precision, column.scale)
    return _type(pa, column.type)


def _type(pa: Any, kind: type) -> Any:
    if kind is datetime:
        return pa.timestamp("us")
    if kind is time:
        return pa.time64("us")
    simple: dict[type, Callable[[], Any]] = {
        bool: pa.bool_,
        int: pa.int64,
        float: pa.float64,
        str: pa.string,
        bytes: pa.binary,
        bytearray: pa.binary,
        date: pa.date32,
    }
    return simple.get(kind, pa.string)()
