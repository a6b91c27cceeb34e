"""The protocol's official client, in both revisions, as an agent's host uses it."""

from __future__ import annotations

import asyncio
import re
import uuid

import pytest
from mcp import Client, MCPError

from settings import ROOT
from testkit.agent import HANDSHAKE, STATELESS

# "auto" asks with server/discover first, "legacy" begins with initialize.
MODES = [("auto", STATELESS), (STATELESS, STATELESS), ("legacy", HANDSHAKE)]


@pytest.mark.parametrize(("mode", "revision"), MODES)
def test_it_finds_calls_and_writes_once(server, agent, mode, revision):
    async def use() -> None:
        async with Client(f"{server.url}/mcp", mode=mode) as client:
            assert client.protocol_version == revision
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert tools["list_orders"].description == (
                "Lists orders.\n\nThe oldest order comes first."
            )
            assert tools["list_orders"].annotations.read_only_hint is True
            assert tools["delete_order"].annotations.destructive_hint is True

            # The client validates structured content by the tool's output schema.
            read = await client.call_tool("get_order", {"order_id": 7})
            assert not read.is_error
            assert read.structured_content == {
                "result": [{"order_id": 7, "customer": "Customer 7", "amount": 7.0}]
            }
            sample = await client.call_tool("get_customer", {"customer_id": 123})
            assert sample.structured_content["result"][0]["CustomerID"] == 123

            name = uuid.uuid4().hex
            order = {"customer": name, "amount": 12.5, "idempotency_key": name}
            written = await client.call_tool("create_order", order)
            repeated = await client.call_tool("create_order", order)
            rows = written.structured_content["result"]
            assert repeated.structured_content == {"result": rows, "replayed": True}
            assert [row["customer"] for row in rows] == [name]

            refused = await client.call_tool("create_order", {"customer": "x", "amount": "many"})
            assert refused.is_error
            assert "amount must be a number" in refused.content[0].text

            with pytest.raises(MCPError, match="There is no tool drop_table"):
                await client.call_tool("drop_table", {})
        found = agent.rows("list_orders", customer=name)
        assert found == rows

    asyncio.run(use())


@pytest.mark.filterwarnings("ignore:ping is removed")
def test_a_client_of_the_handshake_can_ping(server):
    async def use() -> None:
        async with Client(f"{server.url}/mcp", mode="legacy") as client:
            await client.send_ping()

    asyncio.run(use())


def test_the_script_of_the_page_runs(server, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "mcp.md").read_text(), re.DOTALL)
    exec(compile(code.replace("http://localhost:5000", server.url), "docs/mcp.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "get_order - Get order" in printed
    assert "'replayed': True" in printed
