"""A client of /mcp on the wire: what an agent's host sends, and what a test changes in it."""

from __future__ import annotations

import itertools
from typing import Any

import requests

from testkit.api_client import Api

STATELESS, HANDSHAKE = "2026-07-28", "2025-11-25"
META = {
    "io.modelcontextprotocol/protocolVersion": STATELESS,
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
_IDS = itertools.count(1)


def message(method: str, **params: Any) -> dict[str, Any]:
    """A request of the stateless revision."""
    params = {**params, "_meta": META}
    return {"jsonrpc": "2.0", "id": next(_IDS), "method": method, "params": params}


def headers_of(sent: dict[str, Any]) -> dict[str, str]:
    """The headers that repeat a message's members."""
    named = {"Mcp-Name": sent["params"]["name"]} if "name" in sent["params"] else {}
    return {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": STATELESS,
        "Mcp-Method": sent["method"],
        **named,
    }


def tool_call(name: str, **arguments: Any) -> dict[str, Any]:
    return message("tools/call", name=name, arguments=arguments)


class Agent(Api):
    """A session that sends requests of the stateless revision.

    credential: headers of every request.
    """

    def __init__(self, url: str, credential: dict[str, str] | None = None) -> None:
        super().__init__(url)
        self.headers.update(credential or {})

    def post_message(self, sent: dict[str, Any], **headers: str) -> requests.Response:
        return self.post("/mcp", json=sent, headers={**headers_of(sent), **headers})

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a request that succeeds."""
        sent = message(method, **params)
        response = self.post_message(sent)
        assert response.status_code == 200, response.text
        body = response.json()
        assert body["id"] == sent["id"]
        assert body["jsonrpc"] == "2.0"
        assert "error" not in body, body
        return body["result"]

    def tools(self) -> dict[str, dict[str, Any]]:
        return {tool["name"]: tool for tool in self.ask("tools/list")["tools"]}

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """The result of a call, of an error too."""
        return self.ask("tools/call", name=name, arguments=arguments)

    def rows(self, name: str, **arguments: Any) -> list[dict[str, Any]]:
        """The rows of a call that succeeds."""
        result = self.call(name, **arguments)
        assert not result["isError"], result
        return result["structuredContent"]["result"]

    def refusal(self, name: str, **arguments: Any) -> str:
        """The text of a call that fails."""
        result = self.call(name, **arguments)
        assert result["isError"], result
        (content,) = result["content"]
        return content["text"]
