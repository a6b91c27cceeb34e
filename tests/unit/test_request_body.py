"""Reading a body at once gives what Werkzeug's layers give, for every form of request."""

import io

import pytest
from flask import Flask
from werkzeug.exceptions import HTTPException

from protocol import request_body
from protocol.limits import BodyTime
from protocol.problems import Problem

MOST = 64
BODIES = (b"", b"{}", b'{"CustomerName": "a"}', b"x" * MOST, b"x" * (MOST + 1), "é".encode())
TYPES = (
    *(
        "application/json",
        "application/json; charset=utf-8",
        "application/json;",
        "APPLICATION/JSON",
    ),
    *("application/merge-patch+json", "text/plain", "application/x-www-form-urlencoded", None),
)


class Broken(io.BytesIO):
    def read(self, *_):
        raise ConnectionResetError


class Late(io.BytesIO):
    def read(self, *_):
        raise TimeoutError


@pytest.fixture(scope="module")
def app():
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MOST
    app.extensions["body_time"] = BodyTime(1.0)
    return app


def environ_of(stream, length, content_type, **more):
    environ = {"REQUEST_METHOD": "PUT", "wsgi.input": stream, "wsgi.input_terminated": True, **more}
    if length is not None:
        environ["CONTENT_LENGTH"] = length
    if content_type is not None:
        environ["CONTENT_TYPE"] = content_type
    return environ


def outcome(app, read, environ):
    with app.request_context(
        {"SERVER_NAME": "a", "SERVER_PORT": "80", "wsgi.url_scheme": "http", **environ}
    ):
        try:
            return read()
        except Problem as problem:
            return problem.type.slug, problem.detail
        except HTTPException as refused:
            return type(refused)


def by_werkzeug():
    return request_body._read(request_body._text)


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("length", ["right", "longer", "", "0", "00", "+5", "²", None])
def test_a_body_read_at_once_is_the_one_that_werkzeug_reads(app, content_type, body, length):
    text = {"right": str(len(body)), "longer": str(len(body) + 1)}.get(length, length)
    read, expected = (
        outcome(app, how, environ_of(io.BytesIO(body), text, content_type))
        for how in (request_body.json_text, by_werkzeug)
    )
    assert read == expected


@pytest.mark.parametrize("stream", [Broken, Late])
@pytest.mark.parametrize("content_type", TYPES[:3])
def test_a_body_that_breaks_off_or_comes_late_is_the_same_problem(app, stream, content_type):
    read, expected = (
        outcome(app, how, environ_of(stream(), "5", content_type))
        for how in (request_body.json_text, by_werkzeug)
    )
    assert read == expected
    assert read[0] in ("invalid-json", "request-timeout")


def test_a_chunked_body_is_read_by_werkzeug(app):
    chunked = environ_of(
        io.BytesIO(b"{}"), "1", "application/json", HTTP_TRANSFER_ENCODING="chunked"
    )
    assert outcome(app, request_body.json_text, chunked) == b"{}"


@pytest.mark.parametrize(
    ("length", "more", "given"),
    [
        ("5", {}, True),
        ("0", {}, False),
        ("00", {}, False),
        ("", {}, False),
        (None, {}, False),
        (None, {"HTTP_TRANSFER_ENCODING": "chunked"}, True),
    ],
)
def test_a_request_has_a_body_if_its_head_says_so(app, length, more, given):
    environ = environ_of(io.BytesIO(b"12345"), length, None, **more)
    assert outcome(app, request_body.given, environ) is given
