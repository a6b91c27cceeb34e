"""A client that sends what no client library would, byte for byte."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class RawAnswer:
    """status: 0 where the connection was closed without an answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def request_bytes(
    method: str = "GET",
    target: str = "/customer/123",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    length: int | None = None,
) -> bytes:
    """A request of HTTP/1.1. length: what it says that the body's is, if not its own."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
    if body or length is not None:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
        lines.append("Content-Type: application/json")
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def send(url: str, *pieces: bytes, pause: float = 0.0) -> RawAnswer:
    """The first answer to `pieces`, sent with `pause` seconds between them until it comes."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), TIMEOUT_SECONDS) as connection:
        try:
            for number, piece in enumerate(pieces):
                if number and select.select([connection], [], [], pause)[0]:
                    break
                connection.sendall(piece)
        except OSError:
            pass  # refused before the end; there may be an answer all the same
        return _answer(connection)


def _answer(connection: socket.socket) -> RawAnswer:
    received = b""
    answer = None
    try:
        while chunk := connection.recv(65536):
            received += chunk
            answer = _parsed(received)
            # The connection may be kept open behind it.
            if answer is not None and len(answer.body) >= int(
                answer.headers.get("content-length", 1 << 62)
            ):
                break
    except ConnectionError:
        pass
    return answer or RawAnswer(0, {}, received)


def _parsed(received: bytes) -> RawAnswer | None:
    head, blank, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not blank or not lines[0].startswith("HTTP/1."):
        return None
    pairs = (line.partition(":") for line in lines[1:])
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return RawAnswer(int(lines[0].split()[1]), headers, body)
