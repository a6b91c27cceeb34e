"""Types of parameters and columns: what SQL declares, as limits, JSON schema and Python values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

INT_MAX, BIGINT_MAX = 2**31 - 1, 2**63 - 1
DATETIME_FIRST, SMALLDATETIME_FIRST, SMALLDATETIME_LAST = "1753-01-01", "1900-01-01", "2079-06-06"
_BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,7})?)?$"


class Kind(Enum):
    """What a value is to a client; the value of each member is its word in sentences."""

    INTEGER = "an integer"
    DECIMAL = "a number"
    FLOAT = "a floating-point number"
    BOOLEAN = "true or false"
    TEXT = "a string"
    UUID = "a UUID"
    DATE = "a date"
    TIME = "a time"
    TIMESTAMP = "a date and time without an offset"
    TIMESTAMPTZ = "a date and time with an offset"
    BINARY = "base64"
    JSON = "JSON"
    XML = "XML"
    ARRAY = "an array"
    TABLE = "an array of objects"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class ParameterType:
    """A SQL type of a parameter or column.

    sql: as a CAST in the database's own dialect spells it; kind: what clients send and get.
    least, most: integers, decimals, and ISO dates, both inclusive; None: no limit but the kind's.
    length: characters (UTF-16 code units where `units`) or bytes; None: no limit.
    scale: digits after the point, of numbers or of seconds; None: any.
    element: of an ARRAY; columns: of a TABLE.
    """

    sql: str
    kind: Kind
    least: Any = None
    most: Any = None
    length: int | None = None
    units: bool = False
    scale: int | None = None
    element: ParameterType | None = None
    columns: tuple[Column, ...] = ()

    @property
    def supported(self) -> bool:
        if self.kind is Kind.ARRAY:
            return self.element is not None and self.element.supported
        if self.kind is Kind.TABLE:
            return bool(self.columns) and all(c.type.supported for c in self.columns)
        return self.kind is not Kind.UNSUPPORTED

    @property
    def repeats(self) -> bool:
        """Whether one parameter of a query is given several times for one value."""
        return self.kind is Kind.ARRAY

    def json_schema(self, *, nullable: bool = False) -> dict[str, Any]:
        """The JSON Schema (2020-12) of a value, with null where `nullable`."""
        schema = self._json_schema()
        if nullable:
            types = schema["type"]
            schema["type"] = [*(types if isinstance(types, list) else [types]), "null"]
        return schema

    def _json_schema(self) -> dict[str, Any]:
        schema: dict[str, Any]
        if self.kind is Kind.INTEGER:
            schema = {"type": "integer", "minimum": self.least, "maximum": self.most}
            schema["format"] = "int32" if self.most <= INT_MAX else "int64"
        elif self.kind is Kind.DECIMAL:
            schema = {"type": "number"}
            if self.most is not None:
                schema |= {"minimum": _double_within(self.least)}
                schema |= {"maximum": _double_within(self.most)}
            if self.scale is not None:
                schema["multipleOf"] = 10**-self.scale if self.scale else 1
        elif self.kind is Kind.FLOAT:
            schema = {"type": "number", "format": "double"}
            if self.most is not None:
                schema |= {"minimum": self.least, "maximum": self.most}
        elif self.kind is Kind.BOOLEAN:
            schema = {"type": "boolean"}
        elif self.kind is Kind.JSON:
            # A string is taken as JSON text too, which no schema can tell from any other.
            schema = {"type": ["object", "array", "number", "boolean"]}
        elif self.kind is Kind.ARRAY and self.element is not None:
            schema = {"type": "array", "items": self.element.json_schema(nullable=True)}
        elif self.kind is Kind.TABLE:
            schema = {"type": "array", "items": row_schema(self.columns)}
        else:
            schema = {"type": "string", **self._text_schema()}
        return schema

    def _text_schema(self) -> dict[str, Any]:
        length = {"maxLength": self.length} if self.length is not None else {}
        if self.kind is Kind.BINARY:
            if self.length is not None:
                length = {"maxLength": (self.length + 2) // 3 * 4}
            return {"contentEncoding": "base64", "pattern": _BASE64, **length}
        formats = {
            Kind.UUID: {"format": "uuid"},
            Kind.DATE: {"format": "date"},
            Kind.TIME: {"pattern": _TIME},
            Kind.TIMESTAMP: {"format": "date-time-local"},
            Kind.TIMESTAMPTZ: {"format": "date-time"},
        }
        found = formats.get(self.kind)
        return {**found} if found else {"pattern": "^[^\\u0000]*$", **length}


def _double_within(limit: Any) -> float:
    """The double next to a limit, on the side of zero: a schema's numbers are doubles."""
    double = float(limit)
    return double if abs(Decimal(double)) <= abs(limit) else math.nextafter(double, 0.0)


@dataclass(frozen=True)
class Column:
    """A column of a result or of a table type, by its name and place."""

    name: str
    type: ParameterType
    nullable: bool = True


def row_schema(columns: tuple[Column, ...]) -> dict[str, Any]:
    """The JSON Schema of one row as an object."""
    return {
        "type": "object",
        "properties": {c.name: c.type.json_schema(nullable=c.nullable) for c in columns},
        "additionalProperties": False,
        "required": [c.name for c in columns if not c.nullable],
    }


def array_of(element: ParameterType) -> ParameterType:
    return ParameterType(f"{element.sql}[]", Kind.ARRAY, element=element)


def table_of(sql: str, columns: tuple[Column, ...]) -> ParameterType:
    return ParameterType(sql, Kind.TABLE, columns=columns)


def unsupported(sql: str) -> ParameterType:
    return ParameterType(sql, Kind.UNSUPPORTED)


def named(found: ParameterType, sql: str) -> ParameterType:
    """`found` under the name of a type that is made from it (an alias, a domain)."""
    return replace(found, sql=sql)
