"""One call of a tool: an internal request to the operation's own route, and its result.

The request goes through the operation's own validation, deadline, limits and caller context; only
what the request for the tool has passed already (the caller's identity, the rate) is not repeated.
"""

import contextlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson
from flask import Request, Response, current_app, g, request
from werkzeug.exceptions import NotFound

from catalog.operation import IN_BRACES, Operation
from database.events import ToolCall
from observability.observer import Observer
from observability.request import request_record
from operations.catalog_routes import Match
from operations.openapi import Declared
from operations.route_map import RouteMap
from operations.tools import HEADERS, Tool
from protocol.authorization import MCP, require
from protocol.context import RequestContext, request_context
from protocol.formats import JSON
from protocol.problems import Problem, instance, problem_of
from protocol.request_deadline import deadline_of
from serving.arrival import ARRIVED

log = logging.getLogger(__name__)
Result = dict[str, Any]
# The texts of a route's parameters by name, in the environment of the internal request.
PATH = "tool.path"
# Headers of the request for the tool that say nothing about the internal request.
DROPPED = {
    *("HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_ENCODING", "HTTP_ACCEPT_ENCODING", "HTTP_RANGE"),
    *("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IDEMPOTENCY_KEY", "werkzeug.socket"),
}
# The variable of each argument that becomes a header.
VARIABLES = {name: f"HTTP_{header.upper().replace('-', '_')}" for header, name in HEADERS.items()}
UNENCODABLE = "The arguments have a number beyond 64 bits or a character that is no Unicode."
_DECODER = json.JSONDecoder()
_BETWEEN = re.compile(r"[\s,]*")


class Refused(Exception):
    """Arguments that make no request; the message is for the model."""


def call_tool(tool: Tool, arguments: Mapping[str, Any]) -> Result:
    """The members of a CallToolResult.

    Raises Problem unauthenticated or forbidden where the caller may not use the operation.
    """
    require((tool.group,))
    request_record(request.environ).route = f"{MCP} {tool.name}"
    status, result = _call(tool, arguments)
    observer: Observer = current_app.extensions["observer"]
    observer.observe(ToolCall(tool.name, status))
    return result


def _call(tool: Tool, arguments: Mapping[str, Any]) -> tuple[int, Result]:
    """(the status of the operation's response, the result)."""
    try:
        environ = _environ(tool, arguments)
    except Refused as refused:
        return 400, _failed(str(refused))
    # The internal request becomes the current one, in the context of the request for the tool. A
    # context of its own would repeat what that request has passed, and would cost more.
    context = request_context()
    own: Any = context.g
    outer, deadline = context.request, own.deadline
    try:
        context.request = _request(tool, environ, context)
        own.deadline = deadline_of(
            context.app.config, tool.route, environ, arrived=environ.get(ARRIVED)
        )
        if isinstance(tool.source, Operation):
            own.match = Match(tool.source, environ[PATH])
        response = current_app.dispatch_request()
        assert isinstance(response, Response)
        try:
            return response.status_code, _result(tool, arguments, response)
        finally:
            response.close()
    except Exception as error:
        problem = _problem(error)
        return problem.status, _failed(_sentences(tool, arguments, problem))
    finally:
        context.request = outer
        own.deadline = deadline
        own.pop("match", None)


def _problem(error: Exception) -> Problem:
    if isinstance(error, ConnectionAbortedError):
        return Problem("unavailable", "The result ended before its last row.", retry_after=1)
    return problem_of(error)


def _request(tool: Tool, environ: dict[str, Any], context: RequestContext) -> Request:
    """The internal request, matched. Raises what a request with such a path gets."""
    made: Request = current_app.request_class(environ)
    if isinstance(tool.source, Declared):
        path = environ["PATH_INFO"].encode("latin-1").decode()
        routes: RouteMap = context.app.url_map  # type: ignore[assignment]
        found = routes.find(path, tool.method)
        if found is None:
            assert context.url_adapter is not None
            rule, texts = context.url_adapter.match(path, tool.method, return_rule=True)
            found = rule, dict(texts)
        made.url_rule, made.view_args = found
        if made.url_rule.rule != tool.source.rule:
            raise NotFound
    return made


def _environ(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The WSGI environment of the internal request. Raises Refused with every fault of names."""
    # A model writes null for what it leaves out; only a body's member can be null.
    given = {
        name: value
        for name, value in arguments.items()
        if value is not None or tool.places.get(name, tool.open_to) == "body"
    }
    faults = tool.misnamed(given)
    parts: dict[str, dict[str, Any]] = {"path": {}, "query": {}, "body": {}, "header": {}}
    whole: Any = None
    for name, value in given.items():
        place = tool.places.get(name, tool.open_to)
        if place == "whole body":
            whole = value
        elif place == "path":
            parts[place][name] = text = _text(value)
            if not text or "/" in text:
                faults.append(f"{name} must be a text without a slash, of 1 or more characters.")
        elif place == "header" and not (isinstance(value, str) and value.isprintable()):
            faults.append(f"{name} must be a string of printable characters.")
        elif place:
            parts[place][name] = value
    if faults:
        raise Refused("\n".join(faults))
    path = tool.path
    if parts["path"]:
        path = IN_BRACES.sub(lambda found: parts["path"][found[1]], path)
    body = b""
    if tool.method not in ("GET", "DELETE"):
        body = _json(parts["body"] if whole is None else whole)
    environ: dict[str, Any] = request.environ.copy()
    for name in DROPPED:
        environ.pop(name, None)
    for name, text in parts["header"].items():
        environ[VARIABLES[name]] = text
    if "HTTP_CONSISTENCY_TOKEN" not in environ:
        # An agent's host keeps no tokens, and the agent expects to read what it wrote.
        environ.setdefault("HTTP_CONSISTENCY", "primary")
    query = urlencode([*_query(tool, parts["query"])], errors="replace") if parts["query"] else ""
    environ |= {
        PATH: parts["path"],
        "REQUEST_METHOD": tool.method,
        "PATH_INFO": path.encode(errors="replace").decode("latin-1"),
        "QUERY_STRING": query,
        "HTTP_ACCEPT": JSON,
        "CONTENT_TYPE": JSON,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body),
    }
    return environ


def _query(tool: Tool, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if not isinstance(value, list):
            yield name, _text(value)
        elif name in tool.joined:
            yield name, ",".join(map(_text, value))
        else:
            yield from ((name, _text(item)) for item in value)


def _text(value: Any) -> str:
    """A JSON value as a path, query or header has it."""
    return value if isinstance(value, str) else _json(value).decode()


def _json(value: Any) -> bytes:
    """JSON as the client sent it, decimals with every digit. Raises Refused."""
    try:
        return orjson.dumps(value, default=_decimal)
    except orjson.JSONEncodeError:
        raise Refused(UNENCODABLE) from None


def _decimal(value: Any) -> orjson.Fragment:
    assert isinstance(value, Decimal)
    # Not format(value, "f"), which would write all the zeros of 1e999999999.
    return orjson.Fragment(str(value))


def _result(tool: Tool, arguments: Mapping[str, Any], response: Response) -> Result:
    most = current_app.config["MCP_RESULT_BYTES"]
    if response.status_code >= 400:
        return _failed(_read(response, most)[0].decode(errors="ignore"))
    # Werkzeug's Headers compare every name at each look-up.
    given = dict(response.headers)
    members: dict[str, Any] = {}
    if "ETag" in given:
        members["etag"] = given["ETag"]
    if "Idempotency-Replayed" in given:
        members["replayed"] = True
    if "consistency_token" in g:
        members["consistency_token"] = g.consistency_token
    body, complete = _read(response, most)
    notes = []
    if complete:
        following = _following(tool, given.get("Link", ""))
        if following:
            members["next"] = following
            notes.append(f"More rows: call again with {_json(following).decode()} in addition.")
    else:
        body, rows = _first_rows(body)
        members["cut"] = _how_to_get_the_rest(tool, arguments, rows, most)
        if rows and "offset" in tool.arguments:
            members["next"] = {"offset": int(arguments.get("offset") or 0) + rows}
        notes.append(members["cut"])
    if body:
        _check(tool, body)
        members["result"] = orjson.Fragment(body)
    texts = [body.decode() or "Done; there are no rows.", *notes]
    return {
        "content": [{"type": "text", "text": text} for text in texts],
        "structuredContent": members,
        "isError": False,
    }


def _check(tool: Tool, body: bytes) -> None:
    """Raises Problem: a result that is no JSON would spoil the whole response."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        log.error("the result of the tool %s is not JSON: %s", tool.name, error)
        raise Problem("internal", "The procedure's result is not JSON; see the log.") from None


def _read(response: Response, most: int) -> tuple[bytes, bool]:
    """(the body, whether it is complete): the first `most` bytes of a longer one."""
    if response.is_sequence:
        whole = response.get_data()
        return whole[:most], len(whole) <= most
    pieces, size = [], 0
    for piece in response.iter_encoded():
        pieces.append(piece)
        size += len(piece)
        if size > most:
            return b"".join(pieces)[:most], False
    return b"".join(pieces), True


def _first_rows(text: bytes) -> tuple[bytes, int]:
    """(a JSON array of the whole rows in a text that was cut, their number); no text for none."""
    cut = text.decode(errors="ignore")
    place = len(cut) - len(cut.lstrip())
    if cut[place : place + 1] != "[":
        return b"", 0
    begin = end = place + 1
    rows = 0
    with contextlib.suppress(ValueError, RecursionError):
        while True:
            _, place = _DECODER.raw_decode(cut, _BETWEEN.match(cut, end).end())  # type: ignore[union-attr]
            # The last number of a cut text may lack digits.
            if not cut[place:].lstrip().startswith((",", "]")):
                break
            end, rows = place, rows + 1
    return f"[{cut[begin:end]}]".encode() if rows else b"", rows


def _how_to_get_the_rest(tool: Tool, arguments: Mapping[str, Any], rows: int, most: int) -> str:
    here = f"only its first {rows:,} rows are here" if rows else "it was left out"
    sentences = [f"The result is longer than {most:,} bytes: {here}."]
    if tool.method != "GET":
        sentences.append("The call itself is done.")
        return " ".join(sentences)
    if rows and "offset" in tool.arguments:
        sentences.append("Call again with `next` in addition.")
    elif rows and {"after", "limit"} <= tool.arguments.keys():
        sentences.append(f"Call again with limit={rows} for pages that fit, each with its `next`.")
    else:
        sentences.append("Call again with arguments that select less.")
    sentences.append(f"An HTTP client gets everything from {request.url}")
    return " ".join(sentences)


def _following(tool: Tool, link: str) -> dict[str, Any] | None:
    """The arguments of the next page, from the response's Link."""
    if 'rel="next"' not in link:
        return None
    address = link.partition("<")[2].partition(">")[0]
    after = dict(parse_qsl(urlsplit(address).query)).get("after")
    if after is None or "after" not in tool.arguments:
        return None
    number = tool.arguments["after"].get("type") == "integer"
    return {"after": int(after) if number else after}


def _failed(text: str) -> Result:
    return {"content": [{"type": "text", "text": text}], "isError": True}


def _sentences(tool: Tool, arguments: Mapping[str, Any], problem: Problem) -> str:
    """The fault and its remedy, for the model."""
    lines = [problem.detail or f"{problem.type.title}."]
    for fault in problem.errors:
        name = fault.get("parameter") or fault.get("pointer", "").removeprefix("/")
        detail = fault["detail"]
        lines.append(f"- {detail}" if not name or detail.startswith(name) else f"- {name} {detail}")
    if "Retry-After" in problem.headers:
        lines.append(f"Try again after {problem.headers['Retry-After']} seconds.")
    if problem.status >= 500:
        if "idempotency_key" in tool.places:
            lines.append(
                "Repeat the call with the same idempotency_key: it writes once."
                if arguments.get("idempotency_key")
                else "Look whether it is done before you repeat it; send idempotency_key next time."
            )
        lines.append(f"In a report, name {instance(g.request_id)}.")
    return "\n".join(lines)
