"""The Model Context Protocol at /mcp: the operations as tools, for any client, from any worker.

One JSON-RPC message in, one JSON response out, and no session: revision 2026-07-28. Clients of the
revisions with a handshake get initialize, notifications/initialized and ping as well.
"""

from typing import Any

import mcp_types
import orjson
from flask import current_app, request
from flask_restful import Resource
from mcp_types.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND

from operations.openapi import TITLE, VERSION
from operations.tools import LiveTools
from protocol.authorization import opens
from protocol.formats import JSON
from protocol.response import Response
from protocol.rpc_messages import (
    HANDSHAKE_VERSIONS,
    VERSIONS,
    Message,
    RpcError,
    message_of_request,
)
from resources.tool_calls import call_tool

NAME = "sql-procedures-api"
INSTRUCTIONS = """\
Each tool calls one stored procedure. A write is done once for each idempotency_key: to repeat a \
call after an error, send the same key again. A long result is cut; its `cut` says how to get the \
rest, its `next` has the arguments of the next rows."""
SERVER = mcp_types.Implementation(name=NAME, title=TITLE, version=VERSION)
CAPABILITIES = mcp_types.ServerCapabilities(tools=mcp_types.ToolsCapability())
# What every result of the stateless revision has.
STAMP = {
    "resultType": "complete",
    "_meta": {mcp_types.SERVER_INFO_META_KEY: SERVER.model_dump(by_alias=True, exclude_none=True)},
}
Result = dict[str, Any]


class Mcp(Resource):
    """The one endpoint of the protocol; GET and DELETE, for streams and sessions, answer 405."""

    def post(self) -> Response:
        try:
            message = message_of_request(request)
            if message.is_notification:
                return _without_body()
            result = _result(message)
        except RpcError as error:
            return _response(error.body, error.status)
        if message.is_stateless:
            result |= STAMP
        return _response({"jsonrpc": "2.0", "id": message.id, "result": result}, 200)


def _without_body() -> Response:
    response = Response(status=202)
    del response.headers["Content-Type"]
    return response


def _response(body: dict[str, Any], status: int) -> Response:
    response = Response(orjson.dumps(body), status, mimetype=JSON)
    response.headers["Cache-Control"] = "no-store"
    return response


def _result(message: Message) -> Result:
    """Raises RpcError."""
    if message.method == "tools/call":
        return _call(message)
    if message.method == "tools/list":
        return _list(message)
    if message.is_stateless and message.method == "server/discover":
        return _discover()
    if not message.is_stateless and message.method == "initialize":
        return _initialize(message)
    if not message.is_stateless and message.method == "ping":
        return {}
    raise message.error(METHOD_NOT_FOUND, f"The method {message.shown_method} does not exist.")


def _call(message: Message) -> Result:
    name, arguments = message.params.get("name"), message.params.get("arguments", {})
    if not isinstance(name, str):
        raise message.error(INVALID_PARAMS, "params.name must be the name of a tool.")
    if not isinstance(arguments, dict):
        raise message.error(INVALID_PARAMS, "params.arguments must be an object.")
    tool = _tools().current().get(name) or _tools().after_read().get(name)
    if tool is None:
        unread = current_app.extensions["catalog"].live.unread
        also = f" The procedures of {unread[0]} could not be read yet." if unread else ""
        raise message.error(
            INVALID_PARAMS, f"There is no tool {message.shown(name)}; see tools/list.{also}"
        )
    return call_tool(tool, arguments)


def _list(message: Message) -> Result:
    if message.params.get("cursor") is not None:
        raise message.error(INVALID_PARAMS, "There is no such cursor: the list has one page.")
    allowed = {group for group in ("read", "write") if opens(group)}
    tools = _tools().after_read().values()
    listing = b",".join(tool.listing for tool in tools if tool.group in allowed)
    result: Result = {"tools": orjson.Fragment(b"[" + listing + b"]")}
    return {**result, **_caching()} if message.is_stateless else result


def _discover() -> Result:
    found = mcp_types.DiscoverResult(
        supported_versions=[*VERSIONS], capabilities=CAPABILITIES, instructions=INSTRUCTIONS
    )
    return found.model_dump(by_alias=True, exclude_none=True) | _caching()


def _initialize(message: Message) -> Result:
    wanted = message.params.get("protocolVersion")
    if not isinstance(wanted, str):
        raise message.error(INVALID_PARAMS, "params.protocolVersion must be a text.")
    version = wanted if wanted in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[0]
    return mcp_types.InitializeResult(
        protocol_version=version,
        capabilities=CAPABILITIES,
        server_info=SERVER,
        instructions=INSTRUCTIONS,
    ).model_dump(by_alias=True, exclude_none=True)


def _caching() -> Result:
    """How long a client may keep the list of tools: as long as this server keeps the catalog."""
    shared = not current_app.extensions["authentication"].names
    return {
        "ttlMs": current_app.config["MCP_TTL_MS"],
        "cacheScope": "public" if shared else "private",
    }


def _tools() -> LiveTools:
    found: LiveTools = current_app.extensions["tools"]
    return found
