"""Values of requests: a JSON member, or the text of a query or path, as the database takes it.

What each Kind becomes in Python, and so in pyodbc: INTEGER int, DECIMAL Decimal, FLOAT float,
BOOLEAN bool, BINARY bytes, TABLE a list of tuples in the order of the table's columns; every other
kind str: UUIDs, dates and times in ISO 8601, JSON compact, and a PostgreSQL ARRAY as its literal
`{1,2,NULL}`. Bind a str by CAST(? AS type.sql) where the database does not convert by itself.
"""

import base64
import binascii
import calendar
import json
import math
import re
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from catalog.types import Kind, ParameterType

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_CLOCK = re.compile(r"([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?")
_OFFSET = re.compile(r"[Zz]|[+-]([0-9]{2}):?([0-9]{2})")
_TRUE, _FALSE = ("true", "1"), ("false", "0")
# Two digits of a double that are noise: 0.1 + 0.2 is 0.30000000000000004.
_DOUBLE = Context(prec=15)
MOST_DIGITS = 1000
MOST_OFFSET = timedelta(hours=14)


class ValueFault(ValueError):
    """A value is refused; the message follows the parameter's name: "must be an integer"."""


def from_json(kind: ParameterType, value: Any) -> Any:
    """A value as `json.loads` made it (with numbers as int, float or Decimal); None for null.

    Raises ValueFault.
    """
    if value is None:
        return None
    read: Callable[[ParameterType, Any], Any] = _FROM_JSON.get(kind.kind, _text_from_json)
    return read(kind, value)


def from_text(kind: ParameterType, texts: Sequence[str]) -> Any:
    """The value of a query parameter, or of a part of a path, lenient where it is harmless.

    texts: one, but for an ARRAY, whose items they are. Raises ValueFault.
    """
    if kind.kind is Kind.ARRAY and kind.element is not None:
        return _array_literal([from_text(kind.element, [text]) for text in texts])
    if len(texts) != 1:
        raise ValueFault(f"must be given once, not {len(texts)} times")
    (text,) = texts
    return _FROM_TEXT.get(kind.kind, _text)(kind, text)


def _integer(kind: ParameterType, value: int) -> int:
    if not kind.least <= value <= kind.most:
        raise ValueFault(f"must be from {kind.least} to {kind.most}")
    return value


def _integer_from_json(kind: ParameterType, value: Any) -> int:
    # To JSON, 7.0 is as whole a number as 7.
    is_fractional = isinstance(value, float | Decimal)
    if is_fractional and _is_finite(value) and abs(value) < 1e30 and value == int(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueFault(f"must be an integer from {kind.least} to {kind.most}")
    return _integer(kind, value)


def _is_finite(value: float | Decimal) -> bool:
    # math.isfinite() raises for a signaling NaN.
    return value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)


def _integer_from_text(kind: ParameterType, text: str) -> int:
    if not _INTEGER.fullmatch(text) or len(text) > MOST_DIGITS:
        raise ValueFault(f"must be an integer from {kind.least} to {kind.most}")
    return _integer(kind, int(text))


def _decimal(kind: ParameterType, value: Decimal) -> Decimal:
    if not value.is_finite():
        raise ValueFault("must be a number")
    if abs(value.adjusted()) > MOST_DIGITS:
        raise ValueFault(f"must have at most {MOST_DIGITS} digits")
    if kind.scale is not None and _digits_after_point(value) > kind.scale:
        value = _DOUBLE.plus(value) if len(value.as_tuple().digits) > _DOUBLE.prec else value
        if _digits_after_point(value) > kind.scale:
            raise ValueFault(
                f"must have at most {kind.scale} digits after the point"
                if kind.scale
                else "must be a whole number"
            )
    if kind.most is not None and not kind.least <= value <= kind.most:
        raise ValueFault(f"must be from {kind.least} to {kind.most}")
    # Without an exponent, as SQL's decimals are written.
    return Decimal(f"{value:f}")


def _digits_after_point(value: Decimal) -> int:
    return max(0, -int(value.normalize(Context(prec=MOST_DIGITS * 2)).as_tuple().exponent))


def _decimal_from_json(kind: ParameterType, value: Any) -> Decimal:
    if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
        raise ValueFault("must be a number")
    return _decimal(kind, Decimal(repr(value)) if isinstance(value, float) else Decimal(value))


def _decimal_from_text(kind: ParameterType, text: str) -> Decimal:
    if not _NUMBER.fullmatch(text) or len(text) > MOST_DIGITS:
        raise ValueFault("must be a number")
    try:
        return _decimal(kind, Decimal(text))
    except InvalidOperation:
        raise ValueFault("must be a number") from None


def _float(kind: ParameterType, value: float) -> float:
    if not math.isfinite(value):
        raise ValueFault("must be a number that a double can hold")
    if kind.most is not None and not kind.least <= value <= kind.most:
        raise ValueFault(f"must be from {kind.least} to {kind.most}")
    return value


def _float_from_json(kind: ParameterType, value: Any) -> float:
    if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
        raise ValueFault("must be a number")
    try:
        double = float(value)
    except (OverflowError, ValueError):  # an integer beyond a double; a signaling NaN
        raise ValueFault("must be a number that a double can hold") from None
    return _float(kind, double)


def _float_from_text(kind: ParameterType, text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueFault("must be a number")
    return _float(kind, float(text))


def _boolean_from_json(kind: ParameterType, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueFault("must be true or false")
    return value


def _boolean_from_text(kind: ParameterType, text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueFault("must be true or false")
    return text.lower() in _TRUE


def _text(kind: ParameterType, text: str) -> str:
    """Text that the database holds whole: it would cut what is too long without an error."""
    if "\x00" in text:
        raise ValueFault("must not contain the character U+0000")
    try:
        units = len(text.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        raise ValueFault("must not contain half of a surrogate pair") from None
    if kind.length is not None and (units if kind.units else len(text)) > kind.length:
        what = "UTF-16 code units" if kind.units else "characters"
        raise ValueFault(f"must have at most {kind.length} {what}")
    return text


def _text_from_json(kind: ParameterType, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueFault("must be a string")
    return _text(kind, value)


def _uuid(kind: ParameterType, text: str) -> str:
    if not re.fullmatch(r"\{?[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){4}[0-9a-fA-F]{8}\}?", text):
        raise ValueFault("must be a UUID, such as 6f9619ff-8b86-d011-b42d-00c04fc964ff")
    return str(uuid.UUID(text))


def _binary(kind: ParameterType, text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueFault("must be base64") from None
    if kind.length is not None and len(found) > kind.length:
        raise ValueFault(f"must have at most {kind.length} bytes, not {len(found)}")
    return found


def _binary_from_text(kind: ParameterType, text: str) -> bytes:
    # In a query + is a blank; - and _ are the URL's own alphabet, in which padding is left out.
    plain = text.translate(str.maketrans(" -_", "++/"))
    return _binary(kind, plain + "=" * (-len(plain) % 4))


def _date(kind: ParameterType, text: str) -> str:
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueFault("must be a date, such as 2026-01-31")
    year, month, day = map(int, found.groups())
    if not (year and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        raise ValueFault("must be a date of the calendar, from 0001-01-01 to 9999-12-31")
    least, most = kind.least or "0001-01-01", kind.most or "9999-12-31"
    if not least <= text <= most:
        raise ValueFault(f"must be from {least} to {most}")
    return text


def _time(kind: ParameterType, text: str) -> str:
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueFault("must be a time, such as 13:45:00")
    hour, minute, second, fraction = found.groups()
    if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 59:
        raise ValueFault("must be a time from 00:00:00 to 23:59:59")
    fraction = (fraction or "").rstrip("0")
    if kind.scale is not None and len(fraction) > kind.scale:
        raise ValueFault(f"must have at most {kind.scale} digits after the second")
    return f"{hour}:{minute}:{second or '00'}" + (f".{fraction}" if fraction else "")


def _timestamp(kind: ParameterType, text: str) -> str:
    """With a T: to T-SQL's datetime the form with a blank depends on the language."""
    if text[10:11] not in ("T", "t", " ") and len(text) > 10:
        raise ValueFault("must be a date and time, such as 2026-01-31T13:45:00")
    if kind.kind is Kind.TIMESTAMP and _OFFSET.search(text, 11):
        raise ValueFault("must have no offset: the database keeps none; send local time")
    date = _date(kind, text[:10])
    return f"{date}T{_time(kind, text[11:]) if len(text) > 10 else '00:00:00'}"


def _timestamp_with_offset(kind: ParameterType, text: str) -> str:
    """Without an offset it is UTC; one that databases don't know, beyond 14 hours, becomes UTC."""
    # A blank in front of the offset is a + that was not percent-encoded.
    text = re.sub(r" (?=[0-9]{2}:?[0-9]{2}$)", "+", text[11:]).join([text[:11], ""])
    found = _OFFSET.search(text, 11)
    if found is None:
        return _timestamp(kind, text) + "+00:00"
    if found.end() != len(text):
        raise ValueFault("must be a date and time, such as 2026-01-31T13:45:00+01:00")
    local = _timestamp(kind, text[: found.start()])
    if found[1] is None:
        return local + "+00:00"
    hours, minutes = int(found[1]), int(found[2])
    if hours > 23 or minutes > 59:
        raise ValueFault("must have an offset from -23:59 to +23:59")
    offset = timedelta(hours=hours, minutes=minutes)
    sign = found[0][0]
    if offset <= MOST_OFFSET:
        return f"{local}{sign}{hours:02}:{minutes:02}"
    try:
        utc = datetime.fromisoformat(local[:16]) + (offset if sign == "-" else -offset)
    except OverflowError:
        raise ValueFault("must be from 0001-01-01 to 9999-12-31 in UTC") from None
    return f"{utc.isoformat()[:16]}{local[16:]}+00:00"


def _temporal(read: Callable[[ParameterType, str], Any]) -> Callable[[ParameterType, Any], Any]:
    """The reader of a text as one of any JSON value."""

    def checked(kind: ParameterType, value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueFault("must be a string")
        return read(kind, value)

    return checked


def _json_from_json(kind: ParameterType, value: Any) -> str:
    """A string is JSON text, as a column of such a type returns it; anything else is written."""
    if isinstance(value, str):
        return _json_from_text(kind, value)
    return _text(kind, written(value))


def _json_from_text(kind: ParameterType, text: str) -> str:
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ValueFault("must be JSON") from None
    return _text(kind, text)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def written(value: Any) -> str:
    """Compact JSON text in which a Decimal keeps its digits. Raises ValueFault."""
    try:
        return _plainly_written(value)
    except (TypeError, ValueError, RecursionError):
        pass  # there is a Decimal, or a fault
    try:
        return _written(value)
    except ValueError:
        raise ValueFault("must be JSON without NaN and Infinity") from None
    except RecursionError:
        raise ValueFault("must be nested less deeply") from None


_plainly_written = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


def _written(value: Any) -> str:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError
        return str(value)
    if isinstance(value, dict):
        members = (f"{json.dumps(k, ensure_ascii=False)}:{_written(v)}" for k, v in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _array_from_json(kind: ParameterType, value: Any) -> str:
    if not isinstance(value, list):
        raise ValueFault("must be an array")
    assert kind.element is not None
    items = []
    for number, item in enumerate(value):
        try:
            items.append(from_json(kind.element, item))
        except ValueFault as fault:
            raise ValueFault(f"item {number} {fault}") from None
    return _array_literal(items)


def _array_literal(items: list[Any]) -> str:
    return "{" + ",".join(map(_array_item, items)) + "}"


def _array_item(item: Any) -> str:
    if item is None:
        return "NULL"
    if isinstance(item, bytes):
        item = "\\x" + item.hex()
    return '"' + str(item).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _table_from_json(kind: ParameterType, value: Any) -> list[tuple[Any, ...]]:
    if not isinstance(value, list):
        raise ValueFault("must be an array of objects")
    return [_row(kind, number, item) for number, item in enumerate(value)]


def _row(kind: ParameterType, number: int, item: Any) -> tuple[Any, ...]:
    if not isinstance(item, dict):
        raise ValueFault(f"item {number} must be an object")
    given = {name.casefold(): value for name, value in item.items()}
    names = {column.name.casefold() for column in kind.columns}
    unknown = [name for name in item if name.casefold() not in names]
    if unknown:
        known = ", ".join(column.name for column in kind.columns)
        raise ValueFault(f"item {number} has the unknown member {unknown[0]!r}; known: {known}")
    row = []
    for column in kind.columns:
        value = given.get(column.name.casefold())
        if value is None and not column.nullable:
            raise ValueFault(f"item {number} must have the member {column.name}")
        try:
            row.append(from_json(column.type, value))
        except ValueFault as fault:
            raise ValueFault(f"item {number}, member {column.name}, {fault}") from None
    return tuple(row)


_FROM_TEXT: dict[Kind, Callable[[ParameterType, str], Any]] = {
    Kind.INTEGER: _integer_from_text,
    Kind.DECIMAL: _decimal_from_text,
    Kind.FLOAT: _float_from_text,
    Kind.BOOLEAN: _boolean_from_text,
    Kind.UUID: _uuid,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.TIMESTAMP: _timestamp,
    Kind.TIMESTAMPTZ: _timestamp_with_offset,
    Kind.BINARY: _binary_from_text,
    Kind.JSON: _json_from_text,
}
_FROM_JSON: dict[Kind, Callable[[ParameterType, Any], Any]] = {
    Kind.INTEGER: _integer_from_json,
    Kind.DECIMAL: _decimal_from_json,
    Kind.FLOAT: _float_from_json,
    Kind.BOOLEAN: _boolean_from_json,
    Kind.UUID: _temporal(_uuid),
    Kind.DATE: _temporal(_date),
    Kind.TIME: _temporal(_time),
    Kind.TIMESTAMP: _temporal(_timestamp),
    Kind.TIMESTAMPTZ: _temporal(_timestamp_with_offset),
    Kind.BINARY: _temporal(_binary),
    Kind.JSON: _json_from_json,
    Kind.ARRAY: _array_from_json,
    Kind.TABLE: _table_from_json,
}
