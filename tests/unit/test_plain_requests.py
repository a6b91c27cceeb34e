"""A plain request that gunicorn does not parse gives what it would give if gunicorn parsed it."""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from gunicorn.config import Config

from serving.arrival import ARRIVED
from serving.connections import Connection, KeptHead, Stage
from serving.exchange import Exchange
from serving.head import ClientRequest
from serving.plain import PlainRequest
from serving.settled_config import SettledConfig

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
ODD_METHODS = ["get", "G", "CONNECT", "TRACE", "PURGE", "G(T", "", "GET\t", "GET\x00"]
PATHS = [
    *("/", "/customer/1", "/a/../b", "/a//b", "/a/", "/.", "/a:b@c", "/a;b=1,2", "/~a-b_c.d"),
    *("/$&'()*+,;=:@!", "/customer/1:", "/http://a", "/a=b", "/0" * 60),
    *("/a%20b", "/a%2Fb", "/%", "/%zz", "/%2", "/%00", "/%c3%A9", "/%ff", "/%25%32%35", "/%0d%0a"),
]
ODD_PATHS = [
    *("//", "//a/b", "//a:b@c/d?e", "/a%20#b", "/a#b", "/#", "*", "", "a"),
    *("http://a/b", "http://a", "http://[/", "a:80", "/a b", "/a\tb", "/\x00", "/\x7f", "/é"),
    *("/a\\b", "/a[b]", "/{a}", "/a|b", '/a"b', "/<a>", "/^", "/`", "\\", "?", "?a", "#"),
    "/a\rb",
    "/a\nb",
    "/" + "x" * 4081,
    "/" + "x" * 9000,
]
QUERIES = ["", "?", "?a=1", "?a=%20&b=%", "?a?b", "?//", "?a=[1]|{2}^`", "?a=\\", "?" + "q" * 2000]
ODD_QUERIES = ["?a#b", "?#", "?a b", "?\x7f", "?é", "?a\x00", "?\t"]
VERSIONS = ["HTTP/1.1"]
ODD_VERSIONS = [
    *("HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1.1 ", " HTTP/1.1", ""),
    *("HTTP/11", "HTTP/1.1\r", "HTTP/1.1\r\nX-New: 1", "HTTP/1.1\nX-New: 1", "HTTP/1.1\r\n X"),
    *("HTTP/1.1\r\nTransfer-Encoding: chunked", "HTTP/1.1\r\nContent-Length: 1", "HTTP/1.²"),
    *("HTTP/1.1\r\nHost: b", "HTTP/1.1\r\nExpect: 100-continue"),
]
HOST = "Host: a.example:8000"
FIELDS = [
    [HOST],
    [HOST, "Content-Length: 0"],
    [HOST, "Content-Type: application/json", "Content-Length: 2"],
    [HOST, "content-length:2\t"],
    [HOST, "Content-Length: 02"],
    [HOST, "Accept: text/csv", "X-Request-Id: a b", "X-Empty:", "X-A: 1", "X-A: 2", "x-a: \xe9"],
    [HOST, "Connection: keep-alive"],
    [HOST, "Connection: x, close", "X-Forwarded-Proto: https", "Cookie: a=b"],
    [HOST, "X-Forwarded-Proto: http", "Authorization: Bearer abc"],
]
# gunicorn refuses them, or keeps nothing of them for the next request.
ODD_FIELDS = [
    [],
    ["Accept: */*"],
    [HOST, HOST],
    [HOST, "Connection: close"],
    [HOST, "Connection:  CLOSE "],
    [HOST, "Expect: 100-continue"],
    [HOST, "Expect: more"],
    [HOST, "Transfer-Encoding: chunked"],
    [HOST, "Transfer-Encoding: chunked", "Content-Length: 2"],
    [HOST, "Transfer-Encoding: gzip"],
    [HOST, "Content-Length: 2", "Content-Length: 2"],
    [HOST, "Content-Length: +2"],
    [HOST, "Content-Length: 2, 2"],
    [HOST, "Content-Length: -2"],
    [HOST, "Content-Length: 1048577"],
    [HOST, "Content-Length: ²"],
    [HOST, "Content-Length: 99999999999999999999"],
    [HOST, "Script_Name: /a"],
    [HOST, "X_A: 1"],
    [HOST, " folded: 1"],
    [HOST, "X-A: 1", " folded"],
    [HOST, "X-A : 1"],
    [HOST, "X-A: \x00"],
    [HOST, "X-A\x00: 1"],
    [HOST, "no colon"],
    [HOST, "colon"],
    [HOST, ": colon"],
    [HOST, "X-Long: " + "x" * 5000],
    [HOST, "X-Too-Long: " + "x" * 9000],
    [HOST, *(f"X-{number}: 1" for number in range(70))],
    [HOST, "X-Forwarded-Proto: https", "X-Forwarded-Ssl: off"],
]
BODIES = ["", "{}", "{}GET / HTTP/1.1\r\n\r\n", "2\r\n{}\r\n0\r\n\r\n", "{"]


class Silent:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Application:
    """A worker whose application keeps each environment, with the body it has read."""

    log = Silent()

    def __init__(self, *, watched: bool, limits: dict[str, int]) -> None:
        config = Config()
        config.set("forwarder_headers", "")
        for name, limit in limits.items():
            config.set(name, limit)
        self.cfg = SettledConfig(config)
        self.cfg.watched = watched
        self.seen: list[dict[str, Any]] = []

    def stops_after(self, request: Any) -> bool:
        return False

    def wsgi(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kept = {name: value for name, value in environ.items() if name != ARRIVED}
        kept["wsgi.errors"] = type(kept["wsgi.errors"])
        kept["wsgi.input"] = environ["wsgi.input"].read()
        del kept["gunicorn.socket"]
        self.seen.append(kept)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]


@dataclass
class Outcome:
    """What the application and the client got, and what is left of the connection."""

    seen: list[dict[str, Any]]
    sent: bytes
    kept: bool
    rest: bytes
    unread: bool


@pytest.fixture
def parsed(monkeypatch) -> list[bytes]:
    """The received bytes of each request that gunicorn parses."""
    heads: list[bytes] = []

    class Counted(ClientRequest):
        def __init__(self, cfg: Any, reader: Any, connection: Connection) -> None:
            heads.append(bytes(connection.received))
            super().__init__(cfg, reader, connection)

    monkeypatch.setattr("serving.exchange.ClientRequest", Counted)
    return heads


@pytest.fixture
def plain(monkeypatch) -> list[str]:
    """The path of each request that is read without gunicorn."""
    paths: list[str] = []

    class Counted(PlainRequest):
        def __init__(self, method: str, path: str, environ: dict[str, Any]) -> None:
            paths.append(path)
            super().__init__(method, path, environ)

    monkeypatch.setattr("serving.plain.PlainRequest", Counted)
    return paths


def outcome_of(
    requests: list[bytes], *, watched: bool, peer: str = "127.0.0.1", **limits: int
) -> Outcome:
    """watched: whether all are parsed by gunicorn. It trusts a proxy at 127.0.0.1."""
    worker = Application(watched=watched, limits={"limit_request_fields": 64} | limits)
    ours, theirs = socket.socketpair()
    kept, sent = True, b""
    with ours, theirs:
        client = Connection(ours, (peer, 5), ("127.0.0.1", 80), longest_head=550_000)
        for request in requests:
            # Behind what the request before left.
            client.received += request
            if kept and client.stage() is not Stage.HEAD:
                kept = Exchange(
                    worker, client, stall_seconds=1, body_seconds=0, may_keep=lambda _: True
                ).run()
        ours.shutdown(socket.SHUT_WR)
        while part := theirs.recv(65536):
            sent += part
    sent = re.sub(rb"Date: [^\r]+", b"Date:", sent)
    return Outcome(worker.seen, sent, kept, bytes(client.received), client.unread)


def request(line: str, fields: list[str], body: str) -> bytes:
    return "\r\n".join([line, *fields, "", body]).encode("utf-8")


def requests(count: int) -> Iterator[tuple[str, list[str], str]]:
    chosen = random.Random(7)
    for number in range(count):
        odd = number % 3
        line = " ".join(
            (
                chosen.choice(METHODS if chosen.random() < 0.9 or not odd else ODD_METHODS),
                chosen.choice(PATHS if chosen.random() < 0.6 or not odd else ODD_PATHS)
                + chosen.choice(QUERIES if chosen.random() < 0.8 or not odd else ODD_QUERIES),
                chosen.choice(VERSIONS if chosen.random() < 0.7 or not odd else ODD_VERSIONS),
            )
        )
        yield line, chosen.choice(FIELDS if odd < 2 else ODD_FIELDS), chosen.choice(BODIES)


# Most of them are valid; some are only if another one is missing.
LINES = [
    *(
        "Accept: text/csv",
        "accept: */*",
        "X-A: 1",
        "X-A: 2",
        "x-a:3",
        "X-B:",
        "X-B: \t b \t",
        "B:a:b",
    ),
    *("Cookie: a=b", "User-Agent: c/1 (d; e)", "Authorization: Bearer abc", "X-Request-Id: a b"),
    *("Content-Type: application/json", "Content-type: text/plain", "X-\u00e9: 1", "X-C: \u00e9"),
    *("Connection: keep-alive", "Connection: Keep-Alive", "Connection: close", "connection: x"),
    *("Connection:", "Connection: Upgrade", "Upgrade: h2c", "Keep-Alive: 5", "X!#$%&'*+.^`|~: 1"),
    *("Content-Length: 2", "content-length:\t02 ", "Content-Length: 0", "Content-Length: 1"),
    *("Content-Length: ", "Content-Length: 2\u00b2", "Content-Length: 1e0", "Content-Length: +2"),
    *("Content-Length: 1048577", "Content-Length: 99999999999999999999", "X-D: b\u00a0"),
    *("Transfer-Encoding: chunked", "TE: trailers", "Trailer: X", "Expect: 100-continue"),
    *("Expect:", "Host: b", "host:", "X_A: 1", "Content_Length: 2", "HTTP_HOST: a", "X-A : 1"),
    *(" X-A: 1", "\tfolded", "", "colon", ":", ": 1", "X-A\t: 1", "X-Ctl: \x01", "X-Ctl: \x7f"),
    *("X-Ctl: \x80\x9f", "X-CR: a\rb", "X-LF: a\nb", "X-LF: a\n", "X-CR: a\r", "\r", "\n"),
    *(
        "X-Forwarded-Proto: https",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Ssl: on",
        "X-Forwarded-For: 10.0.0.1",
        "Http-A: 1",
    ),
    *("X-Long: " + "x" * length for length in (4000, 4090, 8180, 8181, 8182, 9000)),
]


def sequences(count: int) -> Iterator[list[bytes]]:
    """Requests of one connection whose fields differ."""
    chosen = random.Random(11)
    for _ in range(count):
        lines = chosen.sample(LINES[:24] if chosen.random() < 0.6 else LINES, chosen.randrange(8))
        together = []
        for number in range(4):
            if number:
                lines.insert(chosen.randrange(len(lines) + 1), chosen.choice(LINES))
            if len(lines) > 4 or chosen.random() < 0.4:
                del lines[: chosen.randrange(len(lines) + 1)]
            fields = [HOST, *lines] if chosen.random() < 0.95 else list(lines)
            chosen.shuffle(fields)
            text = request(f"POST /{number} HTTP/1.1", fields, "")
            length = b"{}" if re.search(rb"(?i)content-length: *\t?0?2", text) else b""
            together.append(text + (length if chosen.random() < 0.95 else b"{}{}"))
        yield together


def body_for(fields: list[str]) -> str:
    two = re.compile(r"(?i)content-length: ?0?2\s*")
    return "{}" if any(two.fullmatch(field) for field in fields) else ""


def test_a_repeated_head_gives_what_gunicorn_gives(plain):
    for line, fields, body in requests(600):
        sent = [
            request("GET /first HTTP/1.1", fields, body_for(fields)),
            request(line, fields, body),
            request("GET /again?a=1 HTTP/1.1", fields, body_for(fields)),
        ]
        by_gunicorn = outcome_of(sent, watched=True)
        assert outcome_of(sent, watched=False) == by_gunicorn, (line, fields, body)
    assert len(plain) > 280


def test_changing_fields_give_what_gunicorn_gives(plain):
    for number, rest in enumerate(sequences(500)):
        first = [HOST] if number % 8 else [HOST, "X-Forwarded-Proto: https"]
        sent = [request("GET /first HTTP/1.1", first, ""), *rest]
        peer = "10.0.0.1" if number % 5 == 0 else "127.0.0.1"
        by_gunicorn = outcome_of(sent, watched=True, peer=peer)
        assert outcome_of(sent, watched=False, peer=peer) == by_gunicorn, sent
    assert len(plain) > 370


def test_a_request_behind_a_proxy_is_not_parsed_by_gunicorn_while_its_scheme_stays(parsed):
    sent = [
        request(f"GET /{number} HTTP/1.1", [HOST, f"X-Forwarded-Proto: {scheme}", *more], "")
        for number, (scheme, *more) in enumerate(
            [("https",), ("https", "A: 1"), ("http",), ("http", "A: 1"), ("http", "A: 2")]
        )
    ]
    by_gunicorn = outcome_of(sent, watched=True)
    schemes = [environ["wsgi.url_scheme"] for environ in by_gunicorn.seen]
    assert schemes == ["https", "https", "http", "http", "http"]
    parsed.clear()
    assert outcome_of(sent, watched=False) == by_gunicorn
    assert parsed == [sent[0], sent[2]]


def test_a_scheme_named_twice_is_not_one_with_a_comma():
    twice = ["X-Forwarded-Proto: https"] * 2
    once = ["X-Forwarded-Proto: https,https"]
    sent = [request("GET / HTTP/1.1", [HOST, *fields], "") for fields in (twice, once, twice)]
    by_gunicorn = outcome_of(sent, watched=True)
    schemes = [environ["wsgi.url_scheme"] for environ in by_gunicorn.seen]
    assert schemes == ["https", "http", "https"]
    assert outcome_of(sent, watched=False) == by_gunicorn


@pytest.mark.parametrize("length", [4000, 4050, 4062, 4063, 4064, 4065, 4100])
@pytest.mark.parametrize("limits", [{"limit_request_fields": 3}, {"limit_request_field_size": 99}])
def test_the_limits_of_fields_are_the_same(length, limits):
    long = f"X-Long: {'x' * length}"
    for count in range(5):
        fields = [HOST, *(f"X-{number}: 1" for number in range(count))]
        for more in ([], [long], ["X-90: " + "x" * 90], ["X-93: " + "x" * 91], ["X: " + "x" * 94]):
            sent = [request("GET / HTTP/1.1", [HOST], "")]
            sent += 2 * [request("GET / HTTP/1.1", fields + more, "")]
            by_gunicorn = outcome_of(sent, watched=True, **limits)
            assert outcome_of(sent, watched=False, **limits) == by_gunicorn


@pytest.mark.parametrize("fields", FIELDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_plain_line_after_the_same_fields_is_not_parsed_by_gunicorn(parsed, method, fields):
    lines = [f"{method} {path}{query} HTTP/1.1" for path in PATHS for query in QUERIES]
    sent = [request(line, fields, body_for(fields)) for line in lines]
    by_gunicorn = outcome_of(sent, watched=True)
    assert len(by_gunicorn.seen) == len(lines)
    parsed.clear()
    assert outcome_of(sent, watched=False) == by_gunicorn
    assert parsed == sent[:1]


@pytest.mark.parametrize("path", ODD_PATHS)
def test_an_odd_path_is_parsed_by_gunicorn(parsed, path):
    outcome_of(
        [request(f"GET {target} HTTP/1.1", [HOST], "") for target in ("/", path)], watched=False
    )
    assert len(parsed) == 2


@pytest.mark.parametrize("limit", [0, 30, 8190, 20_000])
@pytest.mark.parametrize("length", [15, 16, 17, 8175, 8176, 8177, 9000])
def test_the_limit_of_the_request_line_is_the_same(length, limit):
    sent = [
        request(f"GET /{'x' * count} HTTP/1.1", [HOST], "") for count in (1, length, 1, length, 1)
    ]
    assert outcome_of(sent, watched=False, limit_request_line=limit) == outcome_of(
        sent, watched=True, limit_request_line=limit
    )


def test_pipelined_requests_are_taken_one_by_one(parsed):
    one = request("POST /a HTTP/1.1", [HOST, "Content-Length: 2"], "{}")
    two = request("POST /b HTTP/1.1", [HOST, "Content-Length: 2"], "[]")
    sent = [one, two + one + two, b"", b"", one]
    assert outcome_of(sent, watched=False) == outcome_of(sent, watched=True)
    assert len(parsed) == 1 + 5


def test_a_field_before_the_repeated_ones_counts():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client = Connection(ours, "", "", longest_head=1000)
        client.kept = KeptHead(f"\r\n{HOST}\r\n\r\n".encode(), 0, {})
        client.received += request("GET / HTTP/1.1", ["Content-Length: 2", HOST], "{")
        assert client.stage() is Stage.BODY
        client.received += b"}"
        assert client.stage() is Stage.WHOLE
