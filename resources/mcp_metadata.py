"""Where clients of /mcp get a token: the metadata of a protected resource (RFC 9728)."""

from typing import Any

from flask import Response, request
from flask_restful import Resource

from operations.openapi import TITLE
from protocol.authorization import MCP
from protocol.formats import JSON, compact


class McpMetadata(Resource):
    """The authorization server of /mcp.

    document: its members that do not depend on the request.
    """

    def __init__(self, *, document: dict[str, Any]) -> None:
        self._document = document

    def get(self) -> Response:
        # The resource is the URL that the client uses (RFC 9728, 3.3).
        resource = request.url_root.rstrip("/") + MCP
        text = compact({"resource": resource, "resource_name": TITLE, **self._document})
        response = Response(text, mimetype=JSON)
        response.headers["Cache-Control"] = "no-store"
        return response
