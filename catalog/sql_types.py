"""SQL type names to ParameterTypes, for T-SQL and PostgreSQL."""

import re
from decimal import Decimal

from catalog.types import (
    BIGINT_MAX,
    DATETIME_FIRST,
    INT_MAX,
    SMALLDATETIME_FIRST,
    SMALLDATETIME_LAST,
    Kind,
    ParameterType,
    array_of,
    named,
    unsupported,
)

_WRITTEN = re.compile(r"\s*([^\W\d][\w ]*?)\s*(?:\(\s*(max|\d+)\s*(?:,\s*(\d+)\s*)?\))?\s*", re.I)
REAL_MAX = 3.4028234663852886e38

INTEGERS = {
    "tinyint": (0, 255),
    "smallint": (-(2**15), 2**15 - 1),
    "int": (-INT_MAX - 1, INT_MAX),
    "bigint": (-BIGINT_MAX - 1, BIGINT_MAX),
}
MONEY = {
    "money": Decimal("922337203685477.5807"),
    "smallmoney": Decimal("214748.3647"),
}
# Spellings of ISO SQL, and what T-SQL calls them.
T_SQL_SYNONYMS = {
    "integer": "int",
    "dec": "decimal",
    "numeric": "decimal",
    "character": "char",
    "character varying": "varchar",
    "char varying": "varchar",
    "national character": "nchar",
    "national char": "nchar",
    "national character varying": "nvarchar",
    "national char varying": "nvarchar",
    "national text": "ntext",
    "double precision": "float",
    "binary varying": "varbinary",
}
T_SQL_TEXTS = {"char": 8000, "varchar": 8000, "nchar": 4000, "nvarchar": 4000}
T_SQL_BINARIES = {"binary": 8000, "varbinary": 8000}
UNLIMITED = {"text": Kind.TEXT, "ntext": Kind.TEXT, "image": Kind.BINARY, "xml": Kind.XML}
T_SQL_DATES = {
    "date": (Kind.DATE, None, None, None),
    "datetime": (Kind.TIMESTAMP, DATETIME_FIRST, None, 3),
    "smalldatetime": (Kind.TIMESTAMP, SMALLDATETIME_FIRST, SMALLDATETIME_LAST, 0),
}
T_SQL_FRACTIONS = {
    "time": Kind.TIME,
    "datetime2": Kind.TIMESTAMP,
    "datetimeoffset": Kind.TIMESTAMPTZ,
}
POSTGRESQL_SYNONYMS = {
    "integer": "int",
    "int2": "smallint",
    "int4": "int",
    "int8": "bigint",
    "float4": "real",
    "float8": "float",
    "double precision": "float",
    "bool": "boolean",
    "varchar": "character varying",
    "bpchar": "character",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "time without time zone": "time",
}
POSTGRESQL_KINDS = {
    "boolean": Kind.BOOLEAN,
    "uuid": Kind.UUID,
    "date": Kind.DATE,
    "time": Kind.TIME,
    "timestamp": Kind.TIMESTAMP,
    "timestamptz": Kind.TIMESTAMPTZ,
    "bytea": Kind.BINARY,
    "json": Kind.JSON,
    "jsonb": Kind.JSON,
    "xml": Kind.XML,
    "text": Kind.TEXT,
    "citext": Kind.TEXT,
    "name": Kind.TEXT,
}


def t_sql_type(written: str) -> ParameterType:
    """A built-in type as T-SQL declares it, such as `decimal(10, 2)`; else an unsupported one."""
    found = _WRITTEN.fullmatch(written)
    if found is None:
        return unsupported(written.strip())
    name = re.sub(r"\s+", " ", found[1]).lower()
    name = T_SQL_SYNONYMS.get(name, name)
    if name == "sysname":
        return ParameterType("sysname", Kind.TEXT, length=128, units=True)
    is_max = (found[2] or "").lower() == "max"
    first = int(found[2]) if found[2] and not is_max else None
    second = int(found[3]) if found[3] else None
    return _t_sql(name, first, second, is_max) or unsupported(written.strip())


def _t_sql(name: str, first: int | None, second: int | None, is_max: bool) -> ParameterType | None:
    if name in T_SQL_TEXTS or name in T_SQL_BINARIES:
        kind = Kind.TEXT if name in T_SQL_TEXTS else Kind.BINARY
        units = name.startswith("n")
        if is_max:
            return ParameterType(f"{name}(max)", kind, units=units)
        # A declaration without a length has one of 1.
        length = first or 1
        return ParameterType(f"{name}({length})", kind, length=length, units=units)
    if name in T_SQL_FRACTIONS:
        digits = 7 if first is None else first
        return ParameterType(f"{name}({digits})", T_SQL_FRACTIONS[name], scale=digits)
    if name in T_SQL_DATES:
        kind, least, most, scale = T_SQL_DATES[name]
        return ParameterType(name, kind, least=least, most=most, scale=scale)
    if name in MONEY:
        limit = MONEY[name]
        return ParameterType(name, Kind.DECIMAL, -limit - Decimal("0.0001"), limit, scale=4)
    if name in UNLIMITED:
        return ParameterType(name, UNLIMITED[name])
    if name == "uniqueidentifier":
        return ParameterType(name, Kind.UUID)
    if name == "json":
        return ParameterType(name, Kind.JSON)
    if name == "bit":
        return ParameterType(name, Kind.BOOLEAN)
    if name == "float":
        # float(1…24) is real.
        name = "real" if first is not None and first <= 24 else "float"
    return _number(name, first, second, default_precision=18)


def postgresql_type(written: str) -> ParameterType:
    """A built-in type as format_type() prints it, arrays included; else an unsupported one."""
    if written.endswith("[]"):
        element = postgresql_type(written[:-2])
        return array_of(element) if element.supported else unsupported(written)
    # The precision of timestamps stands in the middle: timestamp(3) without time zone.
    inner = re.fullmatch(r"(time|timestamp)(?:\((\d)\))?( with(?:out)? time zone)?", written)
    if inner is not None:
        name = POSTGRESQL_SYNONYMS.get(inner[1] + (inner[3] or ""), inner[1] + (inner[3] or ""))
        kind = POSTGRESQL_KINDS.get(name)
        scale = int(inner[2]) if inner[2] else 6
        return ParameterType(written, kind, scale=scale) if kind else unsupported(written)
    found = _WRITTEN.fullmatch(written)
    if found is None:
        return unsupported(written)
    name = POSTGRESQL_SYNONYMS.get(found[1].lower(), found[1].lower())
    first = int(found[2]) if found[2] and found[2].isdigit() else None
    if name in ("character varying", "character"):
        return ParameterType(written, Kind.TEXT, length=first)
    if name in POSTGRESQL_KINDS:
        digits = 6 if name in ("time", "timestamp", "timestamptz") else None
        return ParameterType(written, POSTGRESQL_KINDS[name], scale=digits)
    if name == "tinyint":
        return unsupported(written)
    number = _number(name, first, int(found[3]) if found[3] else None, default_precision=None)
    return named(number, written) if number else unsupported(written)


def _number(
    name: str, first: int | None, second: int | None, *, default_precision: int | None
) -> ParameterType | None:
    if name in INTEGERS:
        least, most = INTEGERS[name]
        return ParameterType(name, Kind.INTEGER, least, most)
    if name == "float":
        return ParameterType(name, Kind.FLOAT)
    if name == "real":
        return ParameterType(name, Kind.FLOAT, -REAL_MAX, REAL_MAX)
    if name in ("decimal", "numeric"):
        precision = first if first is not None else default_precision
        if precision is None:
            return ParameterType("numeric", Kind.DECIMAL)
        scale = second or 0
        limit = (Decimal(10) ** precision - 1).scaleb(-scale)
        return ParameterType(
            f"decimal({precision},{scale})", Kind.DECIMAL, -limit, limit, scale=scale
        )
    return None
