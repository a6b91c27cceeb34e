"""One message of the Model Context Protocol: JSON-RPC in the body, mirrored in headers.

Source: Model Context Protocol, revisions 2026-07-28 (no handshake; each request names its revision
in params._meta and in MCP-Protocol-Version) and 2025-11-25 (handshake).
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple, NoReturn

from flask import Request
from mcp_types import CLIENT_CAPABILITIES_META_KEY, PROTOCOL_VERSION_META_KEY
from mcp_types.jsonrpc import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
)

from protocol import request_body
from protocol.formats import JSON
from protocol.problems import Problem

STATELESS_VERSION = "2026-07-28"
HANDSHAKE_VERSIONS = ("2025-11-25", "2025-06-18")
VERSIONS = (STATELESS_VERSION, *HANDSHAKE_VERSIONS)
# Sent by clients before a handshake; older revisions agree on one of HANDSHAKE_VERSIONS.
OLDER_VERSIONS = ("2025-03-26", "2024-11-05")
# MCP-Protocol-Version in a WSGI environment.
VERSION = "HTTP_MCP_PROTOCOL_VERSION"
LONGEST_SHOWN = 40
INT64 = 1 << 63
STATUSES = {
    **dict.fromkeys((PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS, HEADER_MISMATCH), 400),
    UNSUPPORTED_PROTOCOL_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}
# The parameter that Mcp-Name repeats, by method.
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_ENCODED = re.compile(r"=\?base64\?(.*)\?=")


class RpcError(Exception):
    """A request that gets a JSON-RPC error; `status` is that of HTTP."""

    def __init__(
        self, code: int, text: str, *, status: int, id: int | str | None = None, data: Any = None
    ) -> None:
        super().__init__(text)
        error = {"code": code, "message": text, **({"data": data} if data else {})}
        self.body = {"jsonrpc": "2.0", "id": id, "error": error}
        self.status = status


class Message(NamedTuple):
    """A request, or a notification, which has no id. is_stateless: by STATELESS_VERSION."""

    id: int | str | None
    method: str
    params: Mapping[str, Any]
    is_stateless: bool

    @property
    def is_notification(self) -> bool:
        return self.id is None

    @property
    def shown_method(self) -> str:
        return self.shown(self.method)

    @staticmethod
    def shown(text: str) -> str:
        """A client's text as a message repeats it."""
        printable = "".join(c if c.isprintable() else "?" for c in text[:LONGEST_SHOWN])
        return printable if len(text) <= LONGEST_SHOWN else f"{printable}…"

    def error(self, code: int, text: str, data: Any = None) -> RpcError:
        # Before the stateless revision a JSON-RPC error is a response like any other.
        status = STATUSES.get(code, 200) if self.is_stateless else 200
        return RpcError(code, text, status=status, id=self.id, data=data)


def message_of_request(request: Request) -> Message:
    """The message in `request`, with headers that agree with it.

    Raises RpcError, and Problem unsupported-media-type or not-acceptable.
    """
    environ = request.environ
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != JSON:
        raise Problem("unsupported-media-type", f"Send {JSON}.", headers={"Accept-Post": JSON})
    # Parsed only where its text alone does not tell.
    accepted = environ.get("HTTP_ACCEPT", JSON)
    if not accepted.startswith(JSON) and not request.accept_mimetypes[JSON]:
        raise Problem("not-acceptable", f"Accept {JSON}.")
    message = _message(_parsed(request_body.whole()), environ)
    version = environ.get(VERSION, "")
    if message.is_notification:
        if version not in ("", *VERSIONS, *OLDER_VERSIONS):
            raise _unsupported(message, version)
    elif message.is_stateless:
        _check_stateless(message, environ)
    return message


def _parsed(text: bytes) -> Any:
    try:
        return DECODER.decode(text.decode())
    except RecursionError:
        raise RpcError(PARSE_ERROR, "The body is nested too deeply.", status=400) from None
    except ValueError as error:
        raise RpcError(PARSE_ERROR, f"The body is not JSON: {error}.", status=400) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


# Made once, because json.loads() makes one for each call with such arguments.
DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant)


def _message(body: Any, environ: Mapping[str, Any]) -> Message:
    wrong = "The body must be one JSON-RPC 2.0 request or notification."
    if not isinstance(body, dict) or body.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, wrong, status=400)
    id, method, params = body.get("id"), body.get("method"), body.get("params", {})
    if "id" in body and not _is_id(id):
        raise RpcError(INVALID_REQUEST, "id must be a text or a whole number.", status=400)
    if not isinstance(method, str) or not method.isascii():
        raise RpcError(INVALID_REQUEST, wrong, status=400, id=id)
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "params must be an object.", status=400, id=id)
    meta = params.get("_meta")
    named = isinstance(meta, dict) and PROTOCOL_VERSION_META_KEY in meta
    version = environ.get(VERSION)
    handshake = version in (*HANDSHAKE_VERSIONS, *OLDER_VERSIONS) or (version is None and not named)
    return Message(id, method, params, not handshake)


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return value.isprintable() or value.isascii()  # no half of a surrogate pair
    return isinstance(value, int) and not isinstance(value, bool) and -INT64 <= value < INT64


def _check_stateless(message: Message, environ: Mapping[str, Any]) -> None:
    meta = message.params.get("_meta")
    meta = meta if isinstance(meta, dict) else {}
    for key in (PROTOCOL_VERSION_META_KEY, CLIENT_CAPABILITIES_META_KEY):
        if key not in meta:
            raise message.error(INVALID_PARAMS, f"params._meta must have {key}.")
    version = meta[PROTOCOL_VERSION_META_KEY]
    if not isinstance(meta[CLIENT_CAPABILITIES_META_KEY], dict):
        raise message.error(INVALID_PARAMS, f"{CLIENT_CAPABILITIES_META_KEY} must be an object.")
    expected = [("MCP-Protocol-Version", VERSION, version)]
    expected.append(("Mcp-Method", "HTTP_MCP_METHOD", message.method))
    name = message.params.get(NAMED.get(message.method, ""))
    if name is not None:
        expected.append(("Mcp-Name", "HTTP_MCP_NAME", name))
    for header, variable, value in expected:
        given = environ.get(variable)
        if given is None or _decoded(given.strip()) != value:
            raise message.error(HEADER_MISMATCH, f"The header {header} differs from the body.")
    if version != STATELESS_VERSION:
        raise _unsupported(message, version)


def _unsupported(message: Message, version: str) -> RpcError:
    return RpcError(
        UNSUPPORTED_PROTOCOL_VERSION,
        f"The revision {message.shown(version)} is not supported: use {', '.join(VERSIONS)}.",
        status=400,
        id=message.id,
        data={"supported": [*VERSIONS], "requested": message.shown(version)},
    )


def _decoded(value: str) -> str | None:
    """A header's value, which is in base64 where it has characters that no header may have."""
    found = _ENCODED.fullmatch(value)
    if found is None:
        return value
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
