"""The requests of a connection after its first one, without gunicorn's parser if they are plain.

gunicorn parses the first request and makes its environment. What the next ones share with it is
kept in the connection (serving/head.py). gunicorn also parses every request that is not plain.
"""

import re
from io import BytesIO
from typing import Any

from gunicorn.http.message import RFC9110_5_5_INVALID_AND_DANGEROUS as CONTROLS
from gunicorn.util import unquote_to_wsgi_str

from serving.connections import Connection, KeptHead
from serving.field_names import FIELD_KEYS
from serving.settled_config import SettledConfig

# A path without an empty first segment, a query without fragment (RFC 3986).
PLAIN_LINE = re.compile(
    r"(DELETE|GET|HEAD|OPTIONS|PATCH|POST|PUT)"
    r" ((/(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)(?:\?([!\"$-~]*))?)"
    r" HTTP/1\.1"
)


class PlainRequest:
    """A request that has arrived in full. For a response, it is like ClientRequest."""

    __slots__ = ("environ", "method", "path")
    version = (1, 1)

    def __init__(self, method: str, path: str, environ: dict[str, Any]) -> None:
        self.method = method
        self.path = path
        self.environ = environ

    def ends_connection(self) -> bool:
        return False  # else gunicorn parses it


def plain_request(connection: Connection, cfg: SettledConfig) -> PlainRequest | None:
    """Take the next request from the connection. None, and take nothing, if it is not plain."""
    received, head = connection.received, connection.head
    if connection.line:
        kept, line = connection.kept, connection.line
    else:
        line = received.find(b"\r\n")
        kept = _plain_fields(connection, received[line:head].decode("latin-1"), cfg)
    if kept is None or line > cfg.longest_line or len(received) < head + kept.body:
        return None
    parts = PLAIN_LINE.fullmatch(received[:line].decode("latin-1"))
    if parts is None:
        return None
    method, target, path, query = parts.groups("")
    end = head + kept.body
    environ = {
        **kept.environ,
        "wsgi.input": BytesIO(received[head:end]),
        "REQUEST_METHOD": method,
        "QUERY_STRING": query,
        "RAW_URI": target,
        "PATH_INFO": unquote_to_wsgi_str(path) if "%" in path else path,
    }
    connection.kept = kept
    connection.leave(received[end:])
    return PlainRequest(method, path, environ)


def _plain_fields(connection: Connection, data: str, cfg: SettledConfig) -> KeptHead | None:
    """What the fields in `data`, which begins after the request line, make of the environment; None
    if gunicorn would refuse one of them, or do more with it than to copy it."""
    base = connection.base
    if base is None or len(data) > cfg.longest_fields or not data.endswith("\r\n\r\n"):
        return None
    fields = data[2:-4].split("\r\n")
    # A CR or LF that is left is a control character too.
    if len(fields) > cfg.limit_request_fields or CONTROLS.search("".join(fields)):
        return None
    environ = base.environ.copy()
    try:
        for field in fields:
            name, colon, value = field.partition(":")
            key = FIELD_KEYS[name]
            if not colon or key in environ:
                return None
            environ[key] = value.strip(" \t")
    except KeyError:
        return None
    if "HTTP_HOST" not in environ:
        return None
    if [environ.get(key) for key in cfg.scheme_keys] != base.schemes:
        return None
    if environ.get("HTTP_CONNECTION", "keep-alive").lower() != "keep-alive":
        return None
    length = environ.get("CONTENT_LENGTH", "0")
    if not length.isdecimal() or int(length) != connection.body:
        return None
    return KeptHead(data.encode("latin-1"), connection.body, environ)
