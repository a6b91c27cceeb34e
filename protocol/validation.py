"""A request's body and query, read as their schemas say, or refused with every fault at once."""

import functools
import json
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote_to_bytes

from flask import current_app, request
from pydantic import BaseModel, TypeAdapter, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from catalog.binding import NO_BODY
from protocol.fault_sentences import sentence
from protocol.problems import MOST_FAULTS, Problem

M = TypeVar("M", bound=BaseModel)
FORM_FIELD = "customer"
UNKNOWN_KEY = "Extra inputs are not permitted"  # pydantic's words for it
# A JSON Schema with none of these allows anything.
_SCHEMA_WORDS = {"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"}
# More fields than a form may have, which is one, and fewer than cost memory.
MOST_FIELDS = 20
URL_ENCODED = "application/x-www-form-urlencoded"
FORMS = (URL_ENCODED, "multipart/form-data")


def body(model: type[M]) -> M:
    """The request's body as `model`: application/json, or the form field `customer`.

    `model` is a pydantic model or a type such as list[…].

    Raises Problem: unsupported-media-type, invalid-json (with position) or invalid-body (with a
    JSON pointer for each fault).
    """
    with current_app.extensions["body_time"].arriving():
        text = _body_text()
        # Werkzeug cuts a body without a length at the limit, and says nothing.
        if request.content_length is None and request.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
    known = _known_keys(model)
    looked = _look_over(text, known)
    if looked is not None and known is not None and looked.unknown > MOST_FAULTS:
        # Pydantic would make an object of each, without a limit.
        raise _too_many_unknown(text, known, looked.unknown)
    try:
        made = _adapter(model).validate_json(text)
    except ValidationError as error:
        raise _body_problem(error) from None
    if looked is None:
        raise Problem("invalid-json", "The body can not be read.")
    if looked.twins:
        _refuse_twins(looked.twins)
    return made


def any_json() -> Any:
    """The request's body as json.loads makes it, its decimals as Decimal; NO_BODY without one.

    Raises Problem unsupported-media-type, invalid-json, or invalid-body for a key given twice.
    """
    if not request.content_length and "Transfer-Encoding" not in request.headers:
        return NO_BODY
    with current_app.extensions["body_time"].arriving():
        text = _body_text()
        if request.content_length is None and request.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
    try:
        return json.loads(
            text, parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_once
        )
    except UnicodeDecodeError:
        raise Problem("invalid-json", "The body is not UTF-8.") from None
    except RecursionError:
        raise Problem("invalid-json", "The body is nested too deeply.") from None
    except ValueError as error:
        raise Problem("invalid-json", f"The body is not JSON: {error}.") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        times = Counter(name for name, _ in pairs)
        _refuse_twins([name for name in found if times[name] > 1])
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _body_text() -> bytes | str:
    if request.mimetype == "application/json" or request.mimetype.endswith("+json"):
        return request.get_data(cache=False)
    if request.mimetype in FORMS:
        return _form_text()
    raise _wrong_type(
        f"Content-Type is {request.mimetype or 'missing'}: send application/json,"
        f" or a form with the field {FORM_FIELD}."
    )


def _wrong_type(detail: str) -> Problem:
    accepted = ", ".join(("application/json", *FORMS))
    return Problem("unsupported-media-type", detail, headers={"Accept-Post": accepted})


def _form_text() -> str:
    """The JSON in the form's one field: what else there is would be left out without a word."""
    raw = request.get_data()
    if request.mimetype == URL_ENCODED and raw.lstrip()[:1] in (b"{", b"["):
        # As curl -d sends JSON, unless a header says what it is.
        raise _wrong_type("The body is JSON: send the header Content-Type: application/json.")
    try:
        # Werkzeug would put other characters in the place of what is no UTF-8.
        (unquote_to_bytes(raw) if request.mimetype == URL_ENCODED else raw).decode()
    except UnicodeDecodeError:
        raise Problem("invalid-json", "The form is not UTF-8.") from None
    refused = Problem("invalid-body", f"The form must have the field {FORM_FIELD} only, once.")
    if request.mimetype == URL_ENCODED and raw.count(b"&") > MOST_FIELDS:
        raise refused
    fields = list(request.form.items(multi=True))
    if request.files or [name for name, _ in fields] != [FORM_FIELD]:
        raise refused
    return fields[0][1]


@dataclass
class _Looked:
    """twins: keys that an object has twice; unknown: how many keys no schema of the body has."""

    twins: list[str] = field(default_factory=list)
    unknown: int = 0


def _look_over(text: bytes | str, known: frozenset[str] | None) -> _Looked | None:
    """One pass over the keys, which keeps no object; None where Python can't read the JSON."""
    looked = _Looked()

    def look(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            looked.twins += [name for name, times in Counter(names).items() if times > 1]
        if known is not None:
            looked.unknown += len(names) - sum(map(known.__contains__, names))

    try:
        json.loads(text, object_pairs_hook=look)
    except (ValueError, RecursionError):
        return None
    return looked


def _refuse_twins(names: list[str]) -> NoReturn:
    """A key given twice means one thing here and another elsewhere (RFC 8259, section 4)."""
    raise Problem(
        "invalid-body",
        "Keys are given once.",
        errors=[{"pointer": _pointer((name,)), "detail": "is given twice"} for name in names],
    )


def _too_many_unknown(text: bytes | str, known: frozenset[str], number: int) -> Problem:
    """The problem that lists the first of the keys that no schema of the body has."""
    found: list[dict[str, str]] = []
    to_visit: list[tuple[tuple, Any]] = [((), json.loads(text))]
    while to_visit and len(found) < MOST_FAULTS:
        place, value = to_visit.pop()
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        following = []
        for name, part in inner:
            if isinstance(value, dict) and name not in known:
                found.append({"pointer": _pointer((*place, name)), "detail": UNKNOWN_KEY})
            elif isinstance(part, (dict, list)):
                following.append(((*place, name), part))
        to_visit += reversed(following)
    found = found[:MOST_FAULTS]
    return Problem(
        "invalid-body",
        "Values of the body are refused.",
        errors=found,
        more=number - len(found),
    )


def query(model: type[M]) -> M:
    """The query string as `model`. Raises Problem invalid-query with each fault."""
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise Problem(
            "invalid-query",
            "Parameters are given once.",
            errors=[{"parameter": name, "detail": "is given twice"} for name in repeated],
        )
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        faults = [{"parameter": str(e["loc"][0]), "detail": sentence(e)} for e in _faults(error)]
        raise Problem("invalid-query", "Query parameters are refused.", errors=faults) from None


@functools.cache
def _adapter(model: type[M]) -> TypeAdapter[M]:
    return TypeAdapter(model)


@functools.cache
def _known_keys(model: type[M]) -> frozenset[str] | None:
    """The keys of all objects in a body of `model`; None where one may have keys of any name."""
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


def _faults(error: ValidationError) -> list[dict]:
    return error.errors(include_url=False, include_input=False)


def _body_problem(error: ValidationError) -> Problem:
    faults = _faults(error)
    if faults[0]["type"] == "json_invalid":
        return Problem("invalid-json", faults[0]["msg"] + ".")
    return Problem(
        "invalid-body",
        "Values of the body are refused.",
        errors=[{"pointer": _pointer(f["loc"]), "detail": sentence(f)} for f in faults],
    )


def _pointer(location: tuple) -> str:
    """RFC 6901."""
    return "".join("/" + str(p).replace("~", "~0").replace("/", "~1") for p in location)
