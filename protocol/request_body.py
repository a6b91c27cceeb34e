"""The body of a request: its bytes, or the JSON text in it or in its form."""

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from flask import current_app, request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from protocol.context import request_context
from protocol.limits import UNREADABLE
from protocol.problems import Problem

T = TypeVar("T", bytes, bytes | str)
JSON = "application/json"
FORM_FIELD = "customer"
# A form must have one field. Forms of up to this many are parsed, for a precise message.
MOST_FIELDS = 20
URL_ENCODED = "application/x-www-form-urlencoded"
FORMS = (URL_ENCODED, "multipart/form-data")


def given() -> bool:
    """Whether the request has a body."""
    environ = request_context().request.environ
    return environ.get("CONTENT_LENGTH", "").strip("0") != "" or "HTTP_TRANSFER_ENCODING" in environ


def json_text() -> bytes | str:
    """The request's JSON: the body of application/json, or the form field `customer`.

    Raises Problem request-timeout, unsupported-media-type, invalid-json or invalid-body, and
    RequestEntityTooLarge.
    """
    context = request_context()
    environ = context.request.environ
    content_type = environ.get("CONTENT_TYPE", "")
    if content_type == JSON or content_type.startswith(JSON + ";"):
        data = _measured(environ, context.app.config["MAX_CONTENT_LENGTH"])
        if data is not None:
            return data
    return _read(_text)


def whole() -> bytes:
    """The request's body as it is.

    Raises Problem request-timeout or invalid-json, and RequestEntityTooLarge.
    """
    context = request_context()
    data = _measured(context.request.environ, context.app.config["MAX_CONTENT_LENGTH"])
    return _read(_all_data) if data is None else data


def _measured(environ: dict[str, Any], most: int) -> bytes | None:
    """The body, if it has a length of at most `most`, and the server limits the time of its reading
    (gunicorn); else None. As _read(_all_data), without Werkzeug's layers."""
    length = environ.get("CONTENT_LENGTH", "")
    if (
        not length.isdecimal()
        or "HTTP_TRANSFER_ENCODING" in environ
        or "werkzeug.socket" in environ
        or int(length) > most
    ):
        return None
    try:
        data: bytes = environ["wsgi.input"].read(int(length))
        if len(data) < int(length):
            raise ClientDisconnected
    except UNREADABLE:
        with current_app.extensions["body_time"].arriving():
            raise
    return data


def _read(read: Callable[[], T]) -> T:
    with current_app.extensions["body_time"].arriving():
        text = read()
        # Werkzeug silently truncates a body without Content-Length at the limit.
        if request.content_length is None and request.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
    return text


def _text() -> bytes | str:
    if request.mimetype == JSON or request.mimetype.endswith("+json"):
        return _all_data()
    if request.mimetype in FORMS:
        return _form_text()
    raise _wrong_type(
        f"Content-Type is {request.mimetype or 'missing'}: send application/json,"
        f" or a form with the field {FORM_FIELD}."
    )


def _all_data() -> bytes:
    length, most = request.content_length, current_app.config["MAX_CONTENT_LENGTH"]
    if length is None or length > most:
        return request.get_data(cache=False)
    data: bytes = request.environ["wsgi.input"].read(length)
    if len(data) < length:
        raise ClientDisconnected
    return data


def _wrong_type(detail: str) -> Problem:
    accepted = ", ".join((JSON, *FORMS))
    return Problem("unsupported-media-type", detail, headers={"Accept-Post": accepted})


def _form_text() -> str:
    """The JSON in the form's only field. Other fields are refused rather than ignored."""
    raw = request.get_data()
    if request.mimetype == URL_ENCODED and raw.lstrip()[:1] in (b"{", b"["):
        # `curl -d` sends JSON with this content type unless a header is given.
        raise _wrong_type("The body is JSON: send the header Content-Type: application/json.")
    try:
        # Werkzeug would replace invalid UTF-8 silently.
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
