"""Validation of bodies and query strings: a value of the schema, or a Problem with every fault."""

import functools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NoReturn, TypeVar, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from catalog.binding import NO_BODY
from protocol import request_body
from protocol.context import request_context
from protocol.fault_sentences import UNKNOWN, sentence
from protocol.problems import MOST_FAULTS, Problem

M = TypeVar("M", bound=BaseModel)
Location = tuple[int | str, ...]
# A JSON Schema without any of these allows anything.
_SCHEMA_WORDS = {"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"}
# Python's parser has limits that pydantic's does not; no body this short reaches them.
SHORT_BODY = 4096


def body(model: type[M]) -> M:
    """The request's body as `model`: application/json, or the form field `customer`.

    `model` is a pydantic model or a type such as list[…].

    Raises Problem: unsupported-media-type, invalid-json (with position) or invalid-body (with a
    JSON pointer for each fault).
    """
    text = request_body.json_text()
    plain = _plainly_valid(model, text)
    if plain is not None:
        return plain
    allowed = _allowed_keys(model)
    scanned = _scan_keys(text, allowed)
    if scanned is not None and allowed is not None and scanned.unknown > MOST_FAULTS:
        # Pydantic would create an error object for each, without a limit.
        raise _too_many_unknown(text, allowed, scanned.unknown)
    try:
        value: M = _adapter(model).validate_json(text)
    except ValidationError as error:
        raise _body_problem(error) from None
    if scanned is None:
        raise Problem("invalid-json", "The body is not valid JSON.")
    if scanned.repeated:
        raise _repeated_keys(scanned.repeated)
    return value


def any_json() -> Any:
    """The request's body as json.loads returns it, with decimals as Decimal; NO_BODY without one.

    Raises Problem unsupported-media-type, invalid-json, or invalid-body for a repeated key.
    """
    return _parsed(request_body.json_text()) if request_body.given() else NO_BODY


def _parsed(text: bytes | str) -> Any:
    try:
        return json.loads(
            text,
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique_keys,
        )
    except UnicodeDecodeError:
        raise Problem("invalid-json", "The body is not UTF-8.") from None
    except RecursionError:
        raise Problem("invalid-json", "The body is nested too deeply.") from None
    except ValueError as error:
        raise Problem("invalid-json", f"The body is not JSON: {error}.") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    repeated = _repeated(pairs)
    if repeated:
        raise _repeated_keys(repeated)
    return dict(pairs)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _plainly_valid(model: type[M], text: bytes | str) -> M | None:
    """The value of a short body in which no key can be repeated or unknown; else None.

    Each key is followed by a colon, so a body has at most as many keys as colons. If the value has
    as many, none was given twice. This saves a valid body the second pass of _scan_keys().
    """
    colons = text.count(b":") if isinstance(text, bytes) else text.count(":")
    if colons > MOST_FAULTS or len(text) > SHORT_BODY:
        return None
    try:
        value: M = _validate_json(model)(text)
    except ValidationError as error:
        raise _body_problem(error) from None
    return value if _number_of_keys(value) == colons else None


def _number_of_keys(value: Any) -> int:
    """The keys in the JSON of `value`: of its object, and of the objects in it."""
    if value.__class__ is list:
        return sum(map(_number_of_keys, value))
    # Not isinstance(value, BaseModel), which runs Python code of pydantic's.
    number = len(getattr(value, "__pydantic_fields_set__", ()))
    if number:
        for part in value.__dict__.values():
            if part is not None and part.__class__ is not str:
                number += _number_of_keys(part)
    return number


@dataclass
class _Scan:
    """repeated: keys that occur twice in an object; unknown: the number of unknown keys."""

    repeated: list[str] = field(default_factory=list)
    unknown: int = 0


def _scan_keys(text: bytes | str, allowed: frozenset[str] | None) -> _Scan | None:
    """One pass over the keys that builds no objects; None if Python can't parse the JSON."""
    scan = _Scan()

    def look(pairs: list[tuple[str, Any]]) -> None:
        scan.repeated += _repeated(pairs)
        if allowed is not None:
            scan.unknown += sum(name not in allowed for name, _ in pairs)

    try:
        json.loads(text, object_pairs_hook=look)
    except (ValueError, RecursionError):
        return None
    return scan


def _repeated(pairs: list[tuple[str, Any]]) -> list[str]:
    names = [name for name, _ in pairs]
    if len(set(names)) == len(names):
        return []
    return [name for name, times in Counter(names).items() if times > 1]


def _repeated_keys(names: list[str]) -> Problem:
    """Parsers disagree on which of two equal keys counts (RFC 8259, section 4)."""
    return Problem(
        "invalid-body",
        "The body repeats keys.",
        errors=[{"pointer": _pointer((name,)), "detail": "is given twice"} for name in names],
    )


def _too_many_unknown(text: bytes | str, allowed: frozenset[str], number: int) -> Problem:
    """The problem that lists the first of the keys that no schema of the body has."""
    found: list[dict[str, str]] = []
    to_visit: list[tuple[Location, Any]] = [((), json.loads(text))]
    while to_visit and len(found) < MOST_FAULTS:
        place, value = to_visit.pop()
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        following = []
        for name, part in inner:
            if isinstance(value, dict) and name not in allowed:
                found.append({"pointer": _pointer((*place, name)), "detail": UNKNOWN})
            elif isinstance(part, (dict, list)):
                following.append(((*place, name), part))
        to_visit += reversed(following)
    found = found[:MOST_FAULTS]
    return Problem(
        "invalid-body",
        "The body has invalid values.",
        errors=found,
        more=number - len(found),
    )


def query(model: type[M]) -> M:
    """The query string as `model`; a list is given as `a,b` or as a repeated parameter.

    Raises Problem invalid-query with every fault.
    """
    given: dict[str, str] = {}
    current = request_context().request
    if current.environ.get("QUERY_STRING"):
        lists = _list_names(model)
        parameters = list(current.args.lists())
        repeated = [name for name, texts in parameters if len(texts) > 1 and name not in lists]
        if repeated:
            raise Problem(
                "invalid-query",
                "The query repeats parameters.",
                errors=[{"parameter": name, "detail": "is given twice"} for name in repeated],
            )
        given = {name: ",".join(texts) for name, texts in parameters}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        faults = [{"parameter": str(e["loc"][0]), "detail": sentence(e)} for e in _faults(error)]
        raise Problem("invalid-query", "The query has invalid parameters.", errors=faults) from None


@functools.cache
def _list_names(model: type[BaseModel]) -> frozenset[str]:
    fields = model.model_fields.items()
    return frozenset(name for name, field in fields if get_origin(field.annotation) is list)


@functools.cache
def _adapter(model: type[M]) -> TypeAdapter[M]:
    return TypeAdapter(model)


@functools.cache
def _validate_json(model: type[M]) -> Callable[[bytes | str], M]:
    """The method of pydantic's core, behind the layers of TypeAdapter.validate_json()."""
    return _adapter(model).validator.validate_json


@functools.cache
def _allowed_keys(model: type[M]) -> frozenset[str] | None:
    """The keys of all objects in a body of `model`; None if any object may have any key."""
    names: set[str] = set()
    to_visit: list[Any] = [_adapter(model).json_schema()]
    while to_visit:
        schema = to_visit.pop()
        if not isinstance(schema, dict):
            continue
        is_object = schema.get("type") == "object"
        if not schema.keys() & _SCHEMA_WORDS or (
            is_object and schema.get("additionalProperties") is not False
        ):
            return None
        names.update(schema.get("properties", ()))
        for word in ("properties", "$defs"):
            to_visit += schema.get(word, {}).values()
        for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
            to_visit += schema.get(word, ())
        to_visit.append(schema.get("items"))
    return frozenset(names)


def _faults(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)


def _body_problem(error: ValidationError) -> Problem:
    faults = _faults(error)
    if faults[0]["type"] == "json_invalid":
        return Problem("invalid-json", faults[0]["msg"] + ".")
    return Problem(
        "invalid-body",
        "The body has invalid values.",
        errors=[{"pointer": _pointer(f["loc"]), "detail": sentence(f)} for f in faults],
    )


def _pointer(location: Location) -> str:
    """The JSON pointer (RFC 6901) of a place in the body."""
    return "".join("/" + str(p).replace("~", "~0").replace("/", "~1") for p in location)
