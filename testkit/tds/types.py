"""SQL types on the wire: the description of a column, and the bytes of its values.

Source: [MS-TDS] 2.2.5.4 to 2.2.5.6. A type is spelled as in T-SQL: int, decimal(10,2),
nvarchar(max), datetime2(7). Dates and times are given as ISO text, all others as Python's values.
"""

from __future__ import annotations

import datetime
import re
import struct
import uuid
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any

COLLATION = bytes.fromhex("0904d00034")  # SQL_Latin1_General_CP1_CI_AS
PLP_NULL = b"\xff" * 8
MAX = 0xFFFF

INTEGERS = {"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}
FLOATS = {"real": 4, "float": 8}
TEXTS = {"nvarchar": 0xE7, "nchar": 0xEF, "varchar": 0xA7, "char": 0xAF}
BINARIES = {"varbinary": 0xA5, "binary": 0xAD}
EPOCH = datetime.date(1, 1, 1)
EPOCH_1900 = datetime.date(1900, 1, 1)
EXACT = Context(prec=60)
# Bytes of a time by its digits after the second.
TIME_BYTES = (3, 3, 3, 4, 4, 5, 5, 5)

_WRITTEN = re.compile(r"(\w+)(?:\((max|\d+)(?:,(\d+))?\))?")
_ISO = re.compile(
    r"(?:(\d{4}-\d\d-\d\d)[T ]?)?(?:(\d\d):(\d\d):(\d\d)(?:\.(\d{1,7}))?)?(?:([+-])(\d\d):(\d\d))?"
)


def parsed(written: str) -> tuple[str, int, int]:
    """(name, first number, second number); max is MAX. Raises ValueError for an unknown type."""
    found = _WRITTEN.fullmatch(written)
    name = found[1] if found else ""
    if found is None or name not in ENCODERS:
        raise ValueError(f"column type {written} is not one that this server writes")
    return name, MAX if found[2] == "max" else int(found[2] or 0), int(found[3] or 0)


def type_info(written: str) -> bytes:
    """The TYPE_INFO of a column."""
    name, first, second = parsed(written)
    if name in INTEGERS:
        return bytes((0x26, INTEGERS[name]))
    if name in FLOATS:
        return bytes((0x6D, FLOATS[name]))
    if name in TEXTS:
        width = 2 if name.startswith("n") else 1
        limit = MAX if first == MAX else width * (first or 1)
        return struct.pack("<BH", TEXTS[name], limit) + COLLATION
    if name in BINARIES:
        return struct.pack("<BH", BINARIES[name], first or 1)
    if name in ("decimal", "numeric"):
        return bytes((0x6C, 17, first or 18, second))
    if name in ("time", "datetime2", "datetimeoffset"):
        codes = {"time": 0x29, "datetime2": 0x2A, "datetimeoffset": 0x2B}
        return bytes((codes[name], first if "(" in written else 7))
    return _FIXED[name]


def value(written: str, given: Any) -> tuple[bytes, ...]:
    """The bytes of one value in a ROW, in pieces."""
    name, first, second = parsed(written)
    is_long = first == MAX or name == "xml"
    if given is None:
        if is_long:
            return (PLP_NULL,)
        if name == "sql_variant":
            return (b"\0\0\0\0",)
        return (b"\xff\xff",) if name in TEXTS or name in BINARIES else (b"\0",)
    raw = ENCODERS[name](given, first if "(" in written else 7, second)
    if name == "sql_variant":
        return (raw,)
    if is_long:
        chunk = struct.pack("<I", len(raw)) if raw else b""
        return struct.pack("<Q", len(raw)), chunk, raw, b"\0\0\0\0"
    if name in TEXTS or name in BINARIES:
        return struct.pack("<H", len(raw)), raw
    return bytes((len(raw),)), raw


def decimal_bytes(number: Decimal, scale: int) -> bytes:
    """Sign and magnitude, 17 bytes."""
    unscaled = int(number.scaleb(scale, EXACT))
    return bytes((number >= 0,)) + abs(unscaled).to_bytes(16, "little")


def decimal_of(raw: bytes, scale: int) -> Decimal:
    magnitude = Decimal(int.from_bytes(raw[1:], "little")).scaleb(-scale, EXACT)
    return magnitude if raw[0] else -magnitude


def _money(given: Any, *_: int) -> bytes:
    unscaled = int(Decimal(given).scaleb(4))
    return struct.pack("<iI", unscaled >> 32, unscaled & 0xFFFFFFFF)


def _parts(given: Any) -> tuple[datetime.date, int, int]:
    """(date, ten-millionths of a second since midnight, minutes of the offset) of an ISO text."""
    found = _ISO.fullmatch(str(given))
    if found is None:
        raise ValueError(f"{given} is not an ISO date or time")
    day, hour, minute, second, fraction, sign, hours, minutes = found.groups()
    seconds = int(hour or 0) * 3600 + int(minute or 0) * 60 + int(second or 0)
    ticks = seconds * 10**7 + int((fraction or "").ljust(7, "0"))
    offset = int(hours or 0) * 60 + int(minutes or 0)
    return (
        datetime.date.fromisoformat(day) if day else EPOCH,
        ticks,
        -offset if sign == "-" else offset,
    )


def _date(given: Any, *_: int) -> bytes:
    days: int = (_parts(given)[0] - EPOCH).days
    return days.to_bytes(3, "little")


def _time(given: Any, scale: int, *_: int) -> bytes:
    return _ticks(_parts(given)[1], scale)


def _ticks(ticks: int, scale: int) -> bytes:
    units: int = ticks // 10 ** (7 - scale)
    return units.to_bytes(TIME_BYTES[scale], "little")


def _datetime2(given: Any, scale: int, *_: int) -> bytes:
    return _time(given, scale) + _date(given)


def _datetimeoffset(given: Any, scale: int, *_: int) -> bytes:
    """On the wire the moment is in UTC; the offset says how to show it."""
    day, ticks, offset = _parts(given)
    moment = (day - EPOCH).days * 864_000_000_000 + ticks - offset * 600_000_000
    days, ticks = divmod(moment, 864_000_000_000)
    return _ticks(ticks, scale) + days.to_bytes(3, "little") + struct.pack("<h", offset)


def _datetime(given: Any, *_: int) -> bytes:
    day, ticks, _offset = _parts(given)
    return struct.pack("<iI", (day - EPOCH_1900).days, round(ticks * 300 / 10**7))


def _variant(given: int | str, *_: int) -> bytes:
    """An int, or text as nvarchar."""
    if isinstance(given, int):
        inner = b"\x38\x00" + struct.pack("<i", given)
    else:
        inner = b"\xe7\x07" + COLLATION + struct.pack("<H", 8000) + given.encode("utf-16-le")
    return struct.pack("<I", len(inner)) + inner


ENCODERS: dict[str, Callable[..., bytes]] = {
    **{
        name: lambda given, *_, width=width: given.to_bytes(width, "little", signed=width > 1)
        for name, width in INTEGERS.items()
    },
    "bit": lambda given, *_: bytes((bool(given),)),
    "real": lambda given, *_: struct.pack("<f", given),
    "float": lambda given, *_: struct.pack("<d", given),
    "decimal": lambda given, _, scale: decimal_bytes(Decimal(given), scale),
    "numeric": lambda given, _, scale: decimal_bytes(Decimal(given), scale),
    "money": _money,
    "smallmoney": lambda given, *_: struct.pack("<i", int(Decimal(given).scaleb(4))),
    "uniqueidentifier": lambda given, *_: uuid.UUID(str(given)).bytes_le,
    "date": _date,
    "time": _time,
    "datetime2": _datetime2,
    "datetimeoffset": _datetimeoffset,
    "datetime": _datetime,
    "varbinary": lambda given, *_: bytes(given),
    "binary": lambda given, *_: bytes(given),
    "nvarchar": lambda given, *_: given.encode("utf-16-le"),
    "nchar": lambda given, *_: given.encode("utf-16-le"),
    "varchar": lambda given, *_: given.encode("cp1252"),
    "char": lambda given, *_: given.encode("cp1252"),
    "xml": lambda given, *_: given.encode("utf-16-le"),
    "sql_variant": _variant,
}
_FIXED = {
    "bit": b"\x68\x01",
    "money": b"\x6e\x08",
    "smallmoney": b"\x6e\x04",
    "uniqueidentifier": b"\x24\x10",
    "date": b"\x28",
    "datetime": b"\x6f\x08",
    "xml": b"\xf1\x00",
    "sql_variant": b"\x62" + struct.pack("<I", 8009),
}
