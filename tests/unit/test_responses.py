"""A response has the bytes of gunicorn's response class, and an invalid one its exception."""

from __future__ import annotations

import itertools
import re
import socket
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi

from serving.connections import Connection
from serving.response import ClientResponse

JSON = ("Content-Type", "application/json")
LENGTH = ("Content-Length", "2")


class Text(str):
    """As Markup, a string of another type."""

    __slots__ = ()


STATUSES: list[Any] = [
    *("200 OK", "200", "404 Not Found", "201 ", "304 Not Modified", "204 No Content", "101 Switch"),
    *("500 \xe9", "409 a\tb", "200 OK\r\nX: 1", "200OK", "20 OK", " 200 OK", "", "abc", "999 X"),
    *("200 \x00", "200 \u20ac", "²00 OK", "099 Low"),
    200,
    b"200 OK",
    None,
    ["200 OK"],
    Text("200 OK"),
]
HEADERS: list[Any] = [
    [],
    [JSON],
    [JSON, LENGTH],
    [LENGTH, ("X-Empty", "")],
    [("content-length", "2")],
    [("CONTENT-LENGTH", "1"), LENGTH],
    [LENGTH, ("Content-Length", "1")],
    [("Content-Length", "0")],
    [("Content-Length", "3")],
    [("Content-Length", " 2 ")],
    [("Content-Length", "+2")],
    [("Content-Length", "-2")],
    [("Content-Length", "1_0")],
    [("Content-Length", "²")],
    [("Content-Length", "two")],
    [("Content-Length", "")],
    [LENGTH, ("X-A", " a"), ("X-B", "b "), ("X-C", "\tc\t"), ("X-D", "a:  b"), ("X-E", "a \t b")],
    [LENGTH, ("X-A", "\xe9"), ("x-b", "\xa0")],
    [LENGTH, ("X-A", "a\r\nX-B: b")],
    [LENGTH, ("X-A", "a\r")],
    [LENGTH, ("X-A", "\na")],
    [LENGTH, ("X-A", "a\x00")],
    [LENGTH, ("X-A", "a\x7f")],
    [LENGTH, ("X-A", "a\x85")],
    [LENGTH, ("X-A", "\u20ac")],
    [LENGTH, ("X-A", "\u2028")],
    [LENGTH, ("X A", "a")],
    [LENGTH, ("X-A:", "a")],
    [LENGTH, ("X-A\r\n", "a")],
    [LENGTH, ("", "a")],
    [LENGTH, ("X-\xc9", "a")],
    [LENGTH, ("Connection", "close"), ("Server", "other"), ("Date", "now"), ("Keep-Alive", "1")],
    [LENGTH, ("Transfer-Encoding", "chunked"), ("TE", "a"), ("Trailers", "a")],
    [LENGTH, ("Upgrade", "websocket")],
    [LENGTH, ("Upgrade", "other")],
    [LENGTH, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("set-cookie", "c=3")],
    [LENGTH, (Text("X-A"), Text("a"))],
    [LENGTH, ("X-A", 5)],
    [LENGTH, ("X-A", b"a")],
    [LENGTH, ("X-A", None)],
    [LENGTH, (b"X-A", "a")],
    [LENGTH, (5, "a")],
    [LENGTH, (None, "a")],
    [LENGTH, ([], "a")],
    [LENGTH, ("X-A",)],
    [LENGTH, "ab"],
    [LENGTH, "abc"],
    (JSON, LENGTH),
    None,
]
BODIES: list[Any] = [[], [b""], [b"ok"], [b"o", b"", b"k"], [b"okay"], [b"ok", b"ay"], ["ok"], [1]]


def request(method: str, version: tuple[int, int], *, closes: bool) -> Any:
    return SimpleNamespace(
        method=method, version=version, should_close=lambda: closes, skip_body=lambda: True
    )


def sent_by(made: Any, theirs: socket.socket, ours: socket.socket, call: Any) -> tuple[Any, bytes]:
    failure: Any = None
    try:
        call(made)
    except Exception as error:
        failure = type(error)
    ours.shutdown(socket.SHUT_WR)
    sent = b""
    while part := theirs.recv(65536):
        sent += part
    return failure, re.sub(rb"Date: [A-Z][^\r]+", b"Date:", sent)


def both(req: Any, call: Any) -> list[Any]:
    """What gunicorn's class and ours send, each with the type of its exception."""
    results = []
    for kind in (wsgi.Response, ClientResponse):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            if kind is ClientResponse:
                owner: Any = SimpleNamespace(stall_seconds=1, may_keep=lambda _: False)
                made = kind(req, Connection(ours, "", "", longest_head=1), owner)
            else:
                made = kind(req, ours, Config())
            failure, sent = sent_by(made, theirs, ours, call)
            results.append((failure, sent, made.should_close() if sent else None))
    return results


REQUESTS = [
    request(method, version, closes=closes)
    for method, version, closes in (
        ("GET", (1, 1), False),
        ("GET", (1, 1), True),
        ("HEAD", (1, 1), False),
        ("GET", (1, 0), True),
        ("GET", (1, 0), False),
        ("HEAD", (1, 0), False),
    )
]


def compare(statuses: list[Any], headers: Any, bodies: list[Any]) -> None:
    for req, status, body in itertools.product(REQUESTS, statuses, bodies):

        def call(response: Any, status: Any = status, body: Any = body) -> None:
            response.start_response(status, headers)
            for part in body:
                response.write(part)
            response.close()

        by_gunicorn, ours = both(req, call)
        if by_gunicorn[0] is TypeError and by_gunicorn[1]:
            # gunicorn sends the head before it finds that the body is not bytes.
            assert ours == (TypeError, b"", None)
        else:
            assert ours == by_gunicorn, (req.method, req.version, status, body)


@pytest.mark.parametrize("headers", HEADERS, ids=repr)
def test_all_headers_are_checked_as_by_gunicorn(headers):
    compare(["200 OK", "204 No Content"], headers, [[b"ok"], [b"o", b"", b"kay"]])


@pytest.mark.parametrize("headers", [[JSON], [JSON, LENGTH]], ids=repr)
@pytest.mark.parametrize("status", STATUSES, ids=repr)
def test_all_statuses_are_framed_as_by_gunicorn(status, headers):
    compare([status], headers, BODIES)


def failure_and_bytes(call: Any) -> Any:
    return both(REQUESTS[0], call)[1][:2]


def raised() -> Any:
    try:
        raise LookupError
    except LookupError:
        return sys.exc_info()


def test_a_second_start_replaces_the_first_before_the_head_is_sent():
    def call(response: Any) -> None:
        response.start_response("200 OK", [LENGTH, ("X-A", "a")])
        response.start_response("500 Error", [("Content-Length", "1")], raised())
        response.write(b"ab")
        response.close()

    failure, sent = failure_and_bytes(call)
    assert failure is None
    assert sent == (
        b"HTTP/1.1 500 Error\r\nServer: gunicorn\r\nDate:\r\nConnection: keep-alive\r\n"
        b"Content-Length: 1\r\n\r\na"
    )


def test_a_second_start_after_the_head_raises_what_the_application_caught():
    def call(response: Any) -> None:
        response.start_response("200 OK", [LENGTH])
        response.write(b"o")
        response.start_response("500 Error", [], raised())

    failure, sent = failure_and_bytes(call)
    assert failure is LookupError
    assert sent.endswith(b"\r\n\r\no")


def test_a_second_start_without_an_exception_is_refused():
    def call(response: Any) -> None:
        response.start_response("200 OK", [LENGTH])
        response.start_response("200 OK", [LENGTH])

    assert failure_and_bytes(call) == (AssertionError, b"")


def test_a_response_that_was_not_started_sends_nothing():
    assert failure_and_bytes(lambda response: response.write(b"ok")) == (AssertionError, b"")
    assert failure_and_bytes(lambda response: response.close()) == (AssertionError, b"")


def test_a_changed_list_of_headers_changes_nothing_after_the_start():
    def call(response: Any) -> None:
        headers = [LENGTH]
        response.start_response("200 OK", headers)
        headers.append(("X-A", "a\r\nb"))
        response.write(b"ok")

    assert b"X-A" not in failure_and_bytes(call)[1]
