"""Our response sends what Flask's sends, for ordinary and for odd arguments."""

import itertools
from http import HTTPStatus

import flask
import pytest
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from protocol.response import Response

BODIES = ("", "text", "é", b"bytes", b"", None, ["a", "b"], [b"a"], [], bytearray(b"x"), iter("ab"))
STATUSES = (None, 200, 201, 204, 304, 404, 599, 799, 100, HTTPStatus.CREATED, "200 Fine", "404", 0)
HEADERS = (
    *(None, {}, {"ETag": '"a"'}, {"content-type": "text/csv"}, {"Content-Length": "1"}),
    *({"Location": "/é"}, {"Location": "/a/5"}, {"location": "/a"}, {"Location": "/a/../b"}),
    *({"Location": "/a", "location": "/b"}, {"Location": "/a", "Content-Location": "/é"}),
    *({"Content-Location": "/ü"}, {"X": 5}, {"X": ["a", "b"]}, [("A", "b")]),
    *(Headers({"A": "b"}), {"A": "b\nC: d"}, {"A": "b\rc"}, {"Content-Type": "a/b", "E": "f"}),
)
TYPES = (
    *((None, None), ("application/json", None), (None, "application/problem+json")),
    *(("text/csv", None), ("application/json", "text/csv; header=present"), (None, "a\nb")),
)


def sent(kind: type[flask.Response], method: str, *arguments: object) -> object:
    """Status, headers and body as a server gets them; the class of an exception."""
    body, status, headers, (mimetype, content_type) = arguments
    body = iter(["a", "b"]) if body is BODIES[-1] else body
    headers = headers.copy() if isinstance(headers, Headers) else headers
    started = []
    environ = EnvironBuilder(method=method).get_environ()
    try:
        response = kind(body, status, headers, mimetype=mimetype, content_type=content_type)
        parts = response(environ, lambda *given: started.append(given))
        text = b"".join(parts)
    except Exception as error:
        return type(error)
    if hasattr(parts, "close"):
        parts.close()
    ((line, pairs),) = started
    return line, list(pairs), text, response.get_data(), response.status_code, response.mimetype


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_responses_are_sent_as_flask_sends_them(method):
    for arguments in itertools.product(BODIES, STATUSES, HEADERS, TYPES):
        ours, flasks = sent(Response, method, *arguments), sent(flask.Response, method, *arguments)
        assert ours == flasks, arguments


def test_a_changed_response_is_sent_as_it_is_now():
    response = Response("a", 200, {"A": "b"}, mimetype="application/json")
    response.data = "longer"
    response.headers["Location"] = "/é"
    response.set_cookie("c", "d")
    response.status_code = 201
    client = flask.Flask(__name__)
    client.add_url_rule("/", view_func=lambda: response)
    with client.test_client() as opened:
        given = opened.get("/")
    assert (given.status, given.data) == ("201 CREATED", b"longer")
    assert given.headers["Location"] == "/%C3%A9"
    assert given.headers["Set-Cookie"].startswith("c=d")


def test_what_runs_when_a_response_is_closed_is_run():
    closed = []
    response = Response("a", mimetype="application/json")
    response.call_on_close(lambda: closed.append(True))
    parts = response(EnvironBuilder().get_environ(), lambda *_: None)
    assert b"".join(parts) == b"a"
    parts.close()
    assert closed == [True]
