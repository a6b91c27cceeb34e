"""What a tool takes and returns: the same as its operation's own route."""

from __future__ import annotations

import uuid
from itertools import pairwise

import jsonschema
import pytest
import requests

from testkit.agent import HANDSHAKE, Agent, headers_of, message, tool_call
from testkit.api_client import unique_name
from testkit.server import Server

MOST = 50_000


def error_of(response: requests.Response, status: int, code: int) -> str:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code
    return error["message"]


def test_every_tool_has_a_valid_schema_and_a_name_that_every_client_accepts(agent):
    for name, tool in agent.tools().items():
        assert name.replace("_", "").isalnum()
        assert len(name) <= 64
        for schema in (tool["inputSchema"], tool["outputSchema"]):
            jsonschema.Draft202012Validator.check_schema(schema)
            assert schema["type"] == "object"
        assert tool["inputSchema"]["additionalProperties"] in (False, True)
        assert tool["description"]


def test_each_procedure_is_one_tool_and_service_routes_are_none(agent):
    names = list(agent.tools())
    assert len(set(names)) == len(names)
    assert {"get_customer", "create_customer", "list_passengers", "list_orders"} <= set(names)
    # PUT /order serves the procedure of POST /order, PUT /customer the method of POST /customer.
    assert not {"put_order", "put_customer", "health_live", "get_metrics"} & set(names)


def test_the_list_is_in_the_same_order_each_time_and_may_be_cached(agent):
    first, second = agent.ask("tools/list"), agent.ask("tools/list")
    assert first == second
    assert first["ttlMs"] > 0
    assert first["cacheScope"] == "public"  # AUTH is not set: all callers have the same list
    assert first["resultType"] == "complete"


def test_a_private_procedure_has_a_route_but_no_tool(agent):
    assert agent.get("/secrets").json() == [{"secret": "secret"}]
    assert "list_secrets" not in agent.tools()
    assert "There is no tool" in error_of(
        agent.post_message(tool_call("list_secrets")), 400, -32602
    )


def test_annotations_say_what_a_call_does(agent):
    tools = agent.tools()

    def hints(name: str) -> dict[str, bool]:
        return tools[name]["annotations"]

    assert hints("list_orders") == {"readOnlyHint": True, "openWorldHint": False}
    assert hints("create_order") == {
        **{"readOnlyHint": False, "destructiveHint": False},
        **{"idempotentHint": False, "openWorldHint": False},
    }
    assert hints("delete_order")["destructiveHint"] is True
    assert hints("delete_order")["idempotentHint"] is True
    assert "idempotency_key" in tools["create_order"]["inputSchema"]["properties"]
    assert "idempotency_key" not in tools["vacuum_orders"]["inputSchema"]["properties"]
    assert "Not safe to repeat." in tools["vacuum_orders"]["description"]


@pytest.mark.parametrize(
    ("name", "arguments", "path"),
    [
        ("get_customer", {"customer_id": 123}, "/customer/123"),
        ("list_customers", {"limit": 3, "fields": ["CustomerID", "Delivery"]},
         "/customers?limit=3&fields=CustomerID,Delivery"),
        ("list_taxidata", {"limit": 2, "total_amount": 20}, "/taxidata?limit=2&total_amount=20"),
        ("list_taxidata_by_amount", {"amount": "20", "limit": 1}, "/taxidata/20?limit=1"),
        ("list_passengers", {"survived": True, "limit": 2}, "/passengers?survived=true&limit=2"),
        ("list_orders", {"customer": "Customer 5"}, "/orders?customer=Customer 5"),
        ("list_orders", {"customer": None}, "/orders"),
        ("get_document", {"size": 5}, "/document?size=5"),
    ],
)  # fmt: skip
def test_a_read_returns_what_its_route_returns(agent, name, arguments, path):
    result = agent.call(name, **arguments)
    expected = agent.get(path)
    assert result["structuredContent"]["result"] == expected.json()
    assert result["content"][0] == {"type": "text", "text": expected.text}
    schema = agent.tools()[name]["outputSchema"]
    jsonschema.Draft202012Validator(schema).validate(result["structuredContent"])


def test_a_customer_is_created_changed_and_deleted(agent):
    (made,) = agent.rows("create_customer", CustomerName=unique_name())
    number = made["CustomerID"]
    result = agent.call("get_customer", customer_id=number)
    etag = result["structuredContent"]["etag"]
    (changed,) = agent.rows(
        "update_customer", customer_id=number, if_match=etag, PhoneNumber="(555) 555-0102"
    )
    assert changed["PhoneNumber"] == "(555) 555-0102"
    stale = agent.refusal("update_customer", customer_id=number, if_match=etag, PhoneNumber=None)
    assert "changed since" in stale
    (cleared,) = agent.rows("update_customer", customer_id=number, PhoneNumber=None)
    assert "PhoneNumber" not in cleared
    assert agent.rows("delete_customer", customer_id=number) == [{"CustomerID": number}]
    assert agent.refusal("get_customer", customer_id=number) == "There is no such customer."


def test_a_key_is_the_same_for_the_tool_and_the_route(agent):
    order = {"customer": uuid.uuid4().hex, "amount": 3}
    key = uuid.uuid4().hex
    rows = agent.rows("create_order", **order, idempotency_key=key)
    response = agent.post("/order", json=order, headers={"Idempotency-Key": key})
    assert response.headers["Idempotency-Replayed"] == "true"
    assert response.json() == rows
    other = agent.refusal("create_order", **{**order, "amount": 4}, idempotency_key=key)
    assert other == "Idempotency-Key was used with another request."


def test_a_decimal_keeps_every_digit(agent):
    sent = tool_call("create_order", customer="digits", amount=0)
    text = requests.models.complexjson.dumps(sent).replace(
        '"amount": 0', '"amount": 123456.123456789012'
    )
    headers = {**headers_of(sent), "Content-Type": "application/json"}
    response = agent.post("/mcp", data=text, headers=headers)
    assert '"amount":123456.123456789012}' in response.text


def test_faults_name_the_argument_and_what_it_must_be(agent):
    assert agent.refusal("create_order", custmer="x", amount=1) == (
        "custmer is unknown; customer is known.\ncustomer is required."
    )
    assert agent.refusal("create_customer", CustomerName=7, PhoneNumber="1" * 21).splitlines() == [
        "The body has invalid values.",
        "- CustomerName must be a string",
        "- PhoneNumber must have at most 20 UTF-16 code units",
    ]
    assert "limit must be" in agent.refusal("list_customers", limit="many")
    assert "customer_id" in agent.refusal("get_customer", customer_id="1/2")
    assert "format is unknown" in agent.refusal("list_orders", format="csv")
    assert "Orders over 1,000,000 need an approval" in agent.refusal(
        "create_order", customer="x", amount=1_000_001
    )


def test_an_error_of_the_server_has_no_text_of_the_driver(agent, server):
    text = agent.refusal("get_broken")
    assert "division" not in text
    assert "urn:uuid:" in text
    assert "division by zero" in server.log.read_text()


def test_a_write_that_fails_says_how_to_repeat_it(agent):
    # A request without time left; nothing has run.
    sent = tool_call("create_order", customer="x", amount=1, idempotency_key=uuid.uuid4().hex)
    result = agent.post_message(sent, **{"Request-Timeout": "0.000001"}).json()["result"]
    assert result["isError"] is True
    assert "Repeat the call with the same idempotency_key" in result["content"][0]["text"]


def test_a_long_list_is_cut_between_rows_and_says_how_to_get_the_rest(agent):
    result = agent.call("list_letters", copies=100_000)
    rows = result["structuredContent"]["result"]
    text, note = (content["text"] for content in result["content"])
    assert MOST - 200 < len(text) <= MOST
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    assert f"only its first {len(rows):,} rows are here" in note
    assert "/letters?copies=100000" in note
    assert result["structuredContent"]["cut"] == note


def test_a_cut_list_continues_by_its_own_arguments(agent):
    found: list[dict] = []
    arguments = {"limit": 300}
    while True:
        content = agent.call("list_taxidata", **arguments)["structuredContent"]
        found += content["result"]
        if "next" not in content or len(found) >= 300:
            break
        arguments = {**arguments, **content["next"]}
    assert found[:300] == agent.get("/taxidata?limit=300").json()


def test_pages_continue_with_next(agent):
    first = agent.call("list_customers", limit=2)["structuredContent"]
    second = agent.call("list_customers", limit=2, **first["next"])["structuredContent"]
    numbers = [row["CustomerID"] for row in first["result"] + second["result"]]
    assert all(a < b for a, b in pairwise(numbers))
    page = agent.call("list_passengers", limit=2)["structuredContent"]
    assert isinstance(page["next"]["after"], int)


def test_a_long_document_is_left_out_and_says_so(agent):
    result = agent.call("get_document", size=MOST)
    assert result["isError"] is False
    assert "result" not in result["structuredContent"]
    assert "it was left out" in result["structuredContent"]["cut"]


def test_one_connection_is_free_again_after_a_cut_list(agent):
    for _ in range(20):
        agent.call("list_letters", copies=1_000_000)
    assert agent.rows("get_order", order_id=1)


def test_the_handshake_agrees_on_a_revision_that_the_server_has(agent):
    for wanted, agreed in ((HANDSHAKE, HANDSHAKE), ("2025-06-18", "2025-06-18"), ("1", HANDSHAKE)):
        body = {"jsonrpc": "2.0", "id": 1, "method": "initialize",
                "params": {"protocolVersion": wanted, "capabilities": {},
                           "clientInfo": {"name": "t", "version": "1"}}}  # fmt: skip
        result = agent.post("/mcp", json=body).json()["result"]
        assert result["protocolVersion"] == agreed
        assert result["capabilities"] == {"tools": {}}
    done = agent.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert (done.status_code, done.text) == (202, "")


def test_methods_and_headers_of_the_other_revision_are_refused(agent):
    for method in ("initialize", "ping", "prompts/list", "logging/setLevel"):
        error_of(agent.post_message(message(method)), 404, -32601)
    sent = tool_call("get_order", order_id=1)
    for changed in ({"Mcp-Name": "delete_order"}, {"Mcp-Method": "tools/list"}):
        error_of(agent.post_message(sent, **changed), 400, -32020)
    assert agent.post_message(sent, **{"Mcp-Name": "=?base64?Z2V0X29yZGVy?="}).ok
    error_of(agent.post_message(sent, **{"MCP-Protocol-Version": "2027-01-01"}), 400, -32020)


def test_a_body_in_chunks_is_read_and_a_large_one_refused(agent):
    sent = tool_call("get_order", order_id=1)
    headers = {**headers_of(sent), "Content-Type": "application/json"}
    text = requests.models.complexjson.dumps(sent).encode()
    chunked = agent.post("/mcp", data=iter([text[:20], text[20:]]), headers=headers)
    assert chunked.json()["result"]["isError"] is False
    assert agent.post("/mcp", data=b" " * (1 << 22) + text, headers=headers).status_code == 413


def test_other_methods_of_http_answer_405(agent):
    for method in ("GET", "DELETE", "PUT"):
        response = agent.request(method, "/mcp")
        assert response.status_code == 405
        assert "POST" in response.headers["Allow"]


def test_calls_are_counted_by_tool_and_by_the_status_of_their_operation(agent):
    agent.call("get_order", order_id=-1)
    metrics = agent.get("/metrics").text
    assert 'mcp_tool_calls_total{status="404",tool="get_order"}' in metrics
    assert 'route="/mcp get_order"' in metrics


def test_mcp_off_removes_the_endpoint(server, folder):
    with Server(server.folder, MCP="off", workers=1) as other, Agent(other.url) as agent:
        assert agent.post_message(message("tools/list")).status_code == 404
