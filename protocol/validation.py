"""A request's body and query, read as their schemas say, or refused with every fault at once."""

import functools
import json
from collections import Counter
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from flask import current_app, request
from pydantic import BaseModel, TypeAdapter, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from protocol.problems import Problem

M = TypeVar("M", bound=BaseModel)
FORM_FIELD = "customer"
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
    try:
        made = _adapter(model).validate_json(text)
    except ValidationError as error:
        raise _body_problem(error) from None
    # What was validated is small and flat, so that reading it again costs little.
    json.loads(text, object_pairs_hook=_refuse_twins)
    return made


def _body_text() -> bytes | str:
    if request.mimetype == "application/json" or request.mimetype.endswith("+json"):
        return request.get_data(cache=False)
    if request.mimetype in FORMS:
        return _form_text()
    raise Problem(
        "unsupported-media-type",
        f"Send application/json, or a form with the field {FORM_FIELD}.",
        headers={"Accept-Post": ", ".join(("application/json", *FORMS))},
    )


def _form_text() -> str:
    """The JSON in the form's one field: what else there is would be left out without a word."""
    raw = request.get_data()
    try:
        # Werkzeug would put other characters in the place of what is no UTF-8.
        (unquote_to_bytes(raw) if request.mimetype == URL_ENCODED else raw).decode()
    except UnicodeDecodeError:
        raise Problem("invalid-json", "The form is not UTF-8.") from None
    fields = list(request.form.items(multi=True))
    if request.files or [name for name, _ in fields] != [FORM_FIELD]:
        raise Problem("invalid-body", f"The form must have the field {FORM_FIELD} only, once.")
    return fields[0][1]


def _refuse_twins(pairs: list[tuple[str, Any]]) -> None:
    """A key given twice means one thing here and another elsewhere (RFC 8259, section 4)."""
    twins = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
    if twins:
        raise Problem(
            "invalid-body",
            "Keys are given once.",
            errors=[{"pointer": _pointer((name,)), "detail": "is given twice"} for name in twins],
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
        faults = [{"parameter": str(e["loc"][0]), "detail": e["msg"]} for e in _faults(error)]
        raise Problem("invalid-query", "Query parameters are refused.", errors=faults) from None


@functools.cache
def _adapter(model: type[M]) -> TypeAdapter[M]:
    return TypeAdapter(model)


def _faults(error: ValidationError) -> list[dict]:
    return error.errors(include_url=False, include_context=False, include_input=False)


def _body_problem(error: ValidationError) -> Problem:
    faults = _faults(error)
    if faults[0]["type"] == "json_invalid":
        return Problem("invalid-json", faults[0]["msg"] + ".")
    return Problem(
        "invalid-body",
        "Values of the body are refused.",
        errors=[{"pointer": _pointer(f["loc"]), "detail": f["msg"]} for f in faults],
    )


def _pointer(location: tuple) -> str:
    """RFC 6901."""
    return "".join("/" + str(p).replace("~", "~0").replace("/", "~1") for p in location)
