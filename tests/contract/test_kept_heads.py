"""A connection's requests get what each would get on a connection of its own.

The server keeps the parsed fields of a connection's last head (serving/head.py), so the requests
here differ from their predecessor in the request line alone, in the fields alone, or in the body.
"""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

import pytest

HOST = "Host: localhost"
JSON = "Content-Type: application/json"
# (request line, fields, body)
REQUESTS = [
    ("GET /customer/1 HTTP/1.1", [HOST], b""),
    ("GET /customer/2 HTTP/1.1", [HOST], b""),
    ("GET /customers?limit=2 HTTP/1.1", [HOST], b""),
    ("GET /customers?limit=3 HTTP/1.1", [HOST], b""),
    ("GET /customers?limit=3 HTTP/1.1", [HOST, "Accept: text/csv"], b""),
    ("GET /customers?limit=2 HTTP/1.1", [HOST, "Accept: text/csv"], b""),
    ("GET /customers?limit=2 HTTP/1.1", [HOST], b""),
    ("HEAD /customer/1 HTTP/1.1", [HOST], b""),
    ("DELETE /customer/999999 HTTP/1.1", [HOST], b""),
    ("GET /customer/1 HTTP/1.1", [HOST, "X-Request-Id: one"], b""),
    ("GET /customer/1 HTTP/1.1", [HOST, "X-Request-Id: two"], b""),
    ("GET /customer/2 HTTP/1.1", [HOST, "X-Request-Id: two"], b""),
    ("GET /customer/1 HTTP/1.1", [HOST, "Origin: https://a.example"], b""),
    ("GET /customer/1 HTTP/1.1", [HOST, "Request-Timeout: no"], b""),
    ("GET /customer/1 HTTP/1.1", [HOST], b""),
    ("PATCH /customer/999999 HTTP/1.1", [HOST, JSON, "Content-Length: 2"], b"{}"),
    ("PATCH /customer/999999 HTTP/1.1", [HOST, JSON, "Content-Length: 2"], b"[]"),
    ("PATCH /customer/999998 HTTP/1.1", [HOST, JSON, "Content-Length: 2"], b"{}"),
    ("PUT /customer/999998 HTTP/1.1", [HOST, JSON, "Content-Length: 2"], b"{}"),
    ("GET /customer/1 HTTP/1.0", [HOST, "Connection: keep-alive"], b""),
    ("GET /customer/2 HTTP/1.1", [HOST, "Connection: keep-alive"], b""),
    ("GET /nowhere%20at%2Fall?a=%20 HTTP/1.1", [HOST, "Connection: keep-alive"], b""),
    ("GET /customer/1 HTTP/1.1", [HOST, "X-Long: " + "x" * 5000], b""),
    ("GET /customer/2 HTTP/1.1", [HOST, "X-Long: " + "x" * 5000], b""),
]


def request(line: str, fields: list[str], body: bytes) -> bytes:
    return "\r\n".join([line, *fields, "", ""]).encode() + body


def response(connection: socket.socket, line: str) -> tuple[object, ...]:
    answer = http.client.HTTPResponse(connection, method=line.split(maxsplit=1)[0])
    answer.begin()
    body = answer.read()
    names = {name.lower() for name, _ in answer.getheaders()}
    tag, sent_id = answer.getheader("ETag"), answer.getheader("X-Request-ID")
    if b"urn:uuid:" in body or b'"instance"' in body:
        body = body.partition(b'"instance"')[0]
    generated = len(sent_id or "") == 36
    return answer.version, answer.status, names, tag, None if generated else sent_id, body


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), 30)


@pytest.mark.parametrize("order", ["forwards", "backwards"])
def test_a_kept_head_changes_no_response(server, order):
    requests = REQUESTS if order == "forwards" else REQUESTS[::-1]
    alone = []
    for line, fields, body in requests:
        with connect(server.url) as connection:
            connection.sendall(request(line, fields, body))
            alone.append(response(connection, line))
    together = []
    with connect(server.url) as connection:
        for line, fields, body in requests:
            connection.sendall(request(line, fields, body))
            together.append(response(connection, line))
    assert together == alone


@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        ("GET /customer/1 HTTP/1.1", ["Accept: */*"], 400),  # no Host
        ("GET /customer/1 HTTP/1.1", [HOST, HOST], 400),
        ("GET /customer/1 HTTP/1.1", [HOST, "Content-Length: 1", "Content-Length: 2"], 400),
        ("GET /customer/1 HTTP/9.9", [HOST], 400),
        ("PATCH /customer/1 HTTP/1.1", [HOST, "Transfer-Encoding: gzip"], 400),
    ],
)
def test_an_invalid_head_is_refused_after_a_valid_one(server, line, fields, status):
    with connect(server.url) as connection:
        connection.sendall(request("GET /customer/1 HTTP/1.1", [HOST], b""))
        assert response(connection, "GET")[1] == 200
        connection.sendall(request(line, fields, b""))
        assert response(connection, "GET")[1] == status


def test_fields_without_host_stay_invalid_for_http_1_1_after_an_old_client_sent_them(server):
    fields = ["Connection: keep-alive"]
    with connect(server.url) as connection:
        connection.sendall(request("GET /health/live HTTP/1.0", fields, b""))
        assert response(connection, "GET")[1] == 200
        connection.sendall(request("GET /health/live HTTP/1.1", fields, b""))
        assert response(connection, "GET")[1] == 400


def test_a_short_response_is_sent_at_once(server):
    with connect(server.url) as connection:
        connection.sendall(request("GET /customer/1 HTTP/1.1", [HOST], b""))
        assert connection.recv(65536).endswith(b"}]")
