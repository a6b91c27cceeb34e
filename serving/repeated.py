"""A request whose head differs from the previous one of its connection in the request line alone.

gunicorn has checked the other fields, and has built the environment that they share. A plain
request line is read here. gunicorn's parser gets every other one, and a body that has not arrived.
"""

import re
from io import BytesIO
from typing import Any

from gunicorn.util import unquote_to_wsgi_str

from serving.connections import Connection

# A path without an empty first segment, a query without fragment (RFC 3986).
PLAIN_LINE = re.compile(
    r"(DELETE|GET|HEAD|OPTIONS|PATCH|POST|PUT)"
    r" ((/(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)(?:\?([!\"$-~]*))?)"
    r" HTTP/1\.1"
)


class RepeatedRequest:
    """A request that has arrived in full. For a response, it is like ClientRequest."""

    __slots__ = ("environ", "method", "path")
    version = (1, 1)

    def __init__(self, method: str, path: str, environ: dict[str, Any]) -> None:
        self.method = method
        self.path = path
        self.environ = environ

    def should_close(self) -> bool:
        return False  # else the connection would have been closed after the previous one

    def skip_body(self) -> bool:
        return True


def repeated_request(connection: Connection, longest_line: int) -> RepeatedRequest | None:
    """Take the next request from the connection; None, and take nothing, if gunicorn must parse
    it."""
    kept, line = connection.kept, connection.line
    if not 0 < line <= longest_line or kept is None:
        return None
    received, head = connection.received, connection.head
    end = head + kept.body
    parts = PLAIN_LINE.fullmatch(received[:line].decode("latin-1"))
    if parts is None or len(received) < end:
        return None
    method, target, path, query = parts.groups("")
    environ = {
        **kept.environ,
        "wsgi.input": BytesIO(received[head:end]),
        "REQUEST_METHOD": method,
        "QUERY_STRING": query,
        "RAW_URI": target,
        "PATH_INFO": unquote_to_wsgi_str(path) if "%" in path else path,
    }
    connection.leave(received[end:])
    return RepeatedRequest(method, path, environ)
