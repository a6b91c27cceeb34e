"""Converts the columns of a TLC Parquet file of any year to those of dbo.taxidata.

Names and types vary over the years. Sources: the TLC's "Data Dictionary - Yellow Taxi Trip
Records" for the numbers of vendors and payment types, and the schemas of its monthly files.
"""

from collections import Counter
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

TABLE_SCHEMA = pa.schema(
    [
        ("VendorID", pa.int16()),
        ("tpep_pickup_datetime", pa.timestamp("us")),
        ("tpep_dropoff_datetime", pa.timestamp("us")),
        ("passenger_count", pa.int16()),
        ("trip_distance", pa.float64()),
        ("RatecodeID", pa.int16()),
        ("store_and_fwd_flag", pa.bool_()),
        ("PULocationID", pa.int32()),
        ("DOLocationID", pa.int32()),
        ("payment_type", pa.int16()),
        ("fare_amount", pa.float64()),
        ("extra", pa.float64()),
        ("mta_tax", pa.float64()),
        ("tip_amount", pa.float64()),
        ("tolls_amount", pa.float64()),
        ("improvement_surcharge", pa.float64()),
        ("total_amount", pa.float64()),
        ("congestion_surcharge", pa.float64()),
    ]
)
SQL_TYPES = {
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.float64(): "double precision",
    pa.bool_(): "boolean",
    pa.timestamp("us"): "timestamp in microseconds",
}

# Names of green taxis, of 2010 to 2014 and of 2009, in lower case (names match in any case).
OTHER_NAMES = {
    "VendorID": ("vendor_id", "vendor_name"),
    "tpep_pickup_datetime": ("lpep_pickup_datetime", "pickup_datetime", "trip_pickup_datetime"),
    "tpep_dropoff_datetime": (
        "lpep_dropoff_datetime",
        "dropoff_datetime",
        "trip_dropoff_datetime",
    ),
    "RatecodeID": ("rate_code", "rate_code_id"),
    "store_and_fwd_flag": ("store_and_forward",),
    "fare_amount": ("fare_amt",),
    "extra": ("surcharge",),
    "tip_amount": ("tip_amt",),
    "tolls_amount": ("tolls_amt",),
    "total_amount": ("total_amt",),
}
BEGAN_IN = {"improvement_surcharge": 2015, "congestion_surcharge": 2019}
# Older files have coordinates instead of zones, which the TLC introduced later.
DEGREES_INSTEAD = {
    "PULocationID": ("start_lon", "pickup_longitude"),
    "DOLocationID": ("end_lon", "dropoff_longitude"),
}

# Words of 2009 and 2010, with the numbers of today's dictionary; None becomes NULL.
NUMBERS_OF_WORDS = {
    "VendorID": {"cmt": 1, "vts": 2, "dds": None},
    "payment_type": {
        **{"credit": 1, "cre": 1, "crd": 1},
        **{"cash": 2, "cas": 2, "csh": 2},
        **{"no charge": 3, "no": 3, "noc": 3},
        **{"dispute": 4, "dis": 4},
        **{"unknown": 5, "unk": 5, "na": None},
    },
}
FLAGS_OF_WORDS = {
    **{"y": True, "yes": True, "t": True, "true": True, "1": True},
    **{"n": False, "no": False, "f": False, "false": False, "0": False},
    **{"": None, "*": None},
}
FIRST_TIME, LAST_TIME = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)


class LoadError(Exception):
    """The trips can't be loaded; nothing has changed. The message is one sentence."""


class TripColumns:
    """Maps the columns of one file's `schema` to those of TABLE_SCHEMA.

    notes: one sentence for each column that is converted, renamed or left out.
    Raises LoadError if a required column is absent, occurs twice, or has an unsuitable type.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._sources = _match(schema.names)
        self._nulled: Counter[tuple[str, str]] = Counter()
        self.notes = [
            note
            for name in TABLE_SCHEMA.names
            for note in _notes(name, self._sources.get(name), schema)
        ]
        left_out = [name for name in schema.names if name not in self._sources.values()]
        self.notes += [f"{name}: left out, the table has no such column" for name in left_out]

    @property
    def sources(self) -> list[str]:
        """The names of the file's columns to read."""
        return list(self._sources.values())

    def late_notes(self) -> list[str]:
        """A sentence for each column in which `convert` replaced values by NULL, with how many."""
        return [
            f"{name}: {count:,} values stored as NULL ({reason})"
            for (name, reason), count in self._nulled.items()
        ]

    def convert(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """`batch`, with the columns `sources`, as a batch of TABLE_SCHEMA with as many rows.

        Raises LoadError with the column and the first value that can't be converted exactly.
        """
        arrays = [
            self._converted(field, batch.column(self._sources[field.name]))
            if field.name in self._sources
            else pa.nulls(batch.num_rows, field.type)
            for field in TABLE_SCHEMA
        ]
        return pa.record_batch(arrays, schema=TABLE_SCHEMA)

    def _converted(self, field: pa.Field, values: pa.Array) -> pa.Array:
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if values.type == field.type and not pa.types.is_floating(field.type):
            return _in_calendar(field.name, values) if field.type == pa.timestamp("us") else values
        try:
            if pa.types.is_timestamp(field.type):
                return _timestamps(field.name, values)
            if pa.types.is_boolean(field.type):
                return self._flags(field.name, values)
            if pa.types.is_integer(field.type):
                return self._integers(field, values)
            return self._doubles(field.name, values)
        except pa.ArrowInvalid as error:
            raise LoadError(f"{field.name} has a value that does not fit: {error}") from error

    def _integers(self, field: pa.Field, values: pa.Array) -> pa.Array:
        if _is_text(values.type):
            values = self._numbers(field.name, values)
        elif not pa.types.is_integer(values.type):
            values = self._doubles(field.name, values)
        if pa.types.is_floating(values.type):
            _refuse_any(field.name, values, pc.not_equal(pc.floor(values), values), "not whole")
        bits = field.type.bit_width - 1
        span = f"beyond {SQL_TYPES[field.type]} ({-(2**bits)} to {2**bits - 1})"
        beyond = pc.or_(pc.less(values, -(2**bits)), pc.greater(values, 2**bits - 1))
        _refuse_any(field.name, values, beyond, span)
        return values.cast(field.type)

    def _numbers(self, name: str, texts: pa.Array) -> pa.Array:
        """Doubles from words for numbers, and from numbers as text."""
        words = {"": None, **NUMBERS_OF_WORDS.get(name, {})}
        folded = _folded(texts)
        index = pc.index_in(folded, value_set=pa.array(words, folded.type))
        from_words = pa.array(words.values(), pa.float64()).take(index)
        from_digits = pc.if_else(pc.is_null(index), folded, None).cast(pa.float64())
        numbers = pc.coalesce(from_words, from_digits)
        self._count_nulled(name, texts, numbers, "words without a number")
        return numbers

    def _doubles(self, name: str, values: pa.Array) -> pa.Array:
        if _is_text(values.type):
            values = self._numbers(name, values)
        elif not pa.types.is_float64(values.type) and not pa.types.is_integer(values.type):
            # Through their decimal digits, so that the 7.8 of a narrow type stays 7.8 and does not
            # become 7.800000190734863.
            values = values.cast(pa.string()).cast(pa.float64())
        values = values.cast(pa.float64())
        finite = pc.if_else(pc.is_finite(values), values, None)
        self._count_nulled(name, values, finite, "not a finite number")
        return pc.add(finite, 0.0)  # turns -0.0 into 0.0, because JSON would show -0

    def _flags(self, name: str, values: pa.Array) -> pa.Array:
        if not _is_text(values.type):
            numbers = self._doubles(name, values)
            other = pc.and_(pc.not_equal(numbers, 0), pc.not_equal(numbers, 1))
            _refuse_any(name, numbers, other, "neither 0 nor 1")
            return numbers.cast(pa.bool_())
        folded = _folded(values)
        index = pc.index_in(folded, value_set=pa.array(FLAGS_OF_WORDS, folded.type))
        unknown = pc.and_(pc.is_valid(folded), pc.is_null(index))
        _refuse_any(name, values, unknown, "neither Y nor N")
        flags = pa.array(FLAGS_OF_WORDS.values(), pa.bool_()).take(index)
        self._count_nulled(name, values, flags, "neither Y nor N")
        return flags

    def _count_nulled(self, name: str, before: pa.Array, after: pa.Array, reason: str) -> None:
        if after.null_count > before.null_count:
            self._nulled[name, reason] += after.null_count - before.null_count


def _match(names: list[str]) -> dict[str, str]:
    """{table column: file column}. Raises LoadError with the required columns that are absent."""
    by_folded_name: dict[str, list[str]] = {}
    for name in names:
        by_folded_name.setdefault(name.lower(), []).append(name)
    sources, missing = {}, []
    for name in TABLE_SCHEMA.names:
        candidates = (name.lower(), *OTHER_NAMES.get(name, ()))
        found = next((by_folded_name[c] for c in candidates if c in by_folded_name), [])
        if len(found) > 1:
            raise LoadError(f"it has {len(found)} columns for {name}: {', '.join(found)}")
        if found:
            sources[name] = found[0]
        elif name not in BEGAN_IN and by_folded_name.keys().isdisjoint(
            DEGREES_INSTEAD.get(name, ())
        ):
            missing.append(name)
    if missing:
        plural = "s" if len(missing) > 1 else ""
        raise LoadError(
            f"it lacks the column{plural} {', '.join(missing)};"
            f" it has {', '.join(names) or 'no columns at all'}"
        )
    return sources


def _notes(name: str, source: str | None, schema: pa.Schema) -> list[str]:
    if source is None:
        why = (
            f"charged since {BEGAN_IN[name]} only"
            if name in BEGAN_IN
            else "the file has coordinates and no zones"
        )
        return [f"{name}: not in the file, stored as NULL ({why})"]
    notes = [] if source == name else [f"{name}: read from {source}"]
    given, stored = schema.field(source).type, TABLE_SCHEMA.field(name).type
    if pa.types.is_dictionary(given):
        given = given.value_type
    if not _has_meaning(given, stored):
        raise LoadError(f"its {source} is {given}, which can't become {SQL_TYPES[stored]}")
    if pa.types.is_timestamp(given) and given.tz:
        notes.append(f"{name}: {given} to UTC without a time zone")
    elif given != stored and not _only_widens(given, stored):
        notes.append(f"{name}: {given} to {SQL_TYPES[stored]}")
    return notes


def _only_widens(given: pa.DataType, stored: pa.DataType) -> bool:
    both_integers = pa.types.is_signed_integer(given) and pa.types.is_signed_integer(stored)
    return bool(both_integers and given.bit_width <= stored.bit_width)


def _has_meaning(given: pa.DataType, stored: pa.DataType) -> bool:
    if pa.types.is_null(given) or _is_text(given):
        return True
    if pa.types.is_timestamp(stored):
        return bool(pa.types.is_timestamp(given) or pa.types.is_date(given))
    if pa.types.is_boolean(given):
        return bool(pa.types.is_boolean(stored))
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(is_kind(given) for is_kind in numeric)


def _timestamps(name: str, values: pa.Array) -> pa.Array:
    if _is_text(values.type):
        values = pc.utf8_trim_whitespace(values.cast(pa.string()))
    elif pa.types.is_timestamp(values.type):
        # Without its zone, Arrow keeps the instant in UTC.
        values = values.cast(pa.timestamp(values.type.unit))
        return _in_calendar(name, values.cast(pa.timestamp("us"), safe=values.type.unit != "ns"))
    return _in_calendar(name, values.cast(pa.timestamp("us")))


def _in_calendar(name: str, times: pa.Array) -> pa.Array:
    beyond = pc.or_(pc.less(times, pa.scalar(FIRST_TIME)), pc.greater(times, pa.scalar(LAST_TIME)))
    if pc.any(beyond).as_py():
        raise LoadError(f"{name} has a time outside the years 1 to 9999")
    return times


def _refuse_any(name: str, values: pa.Array, wrong: pa.Array, why: str) -> None:
    if pc.any(wrong).as_py():
        raise LoadError(f"{name} has the value {values.filter(wrong)[0].as_py()!r}, which is {why}")


def _folded(texts: pa.Array) -> pa.Array:
    return pc.utf8_lower(pc.utf8_trim_whitespace(texts.cast(pa.string())))


def _is_text(given: pa.DataType) -> bool:
    return bool(pa.types.is_string(given) or pa.types.is_large_string(given))
