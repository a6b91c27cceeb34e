"""A tool that reads sees what a tool has written: on the primary, or by that result's token."""

from testkit.routed import routed, wait_for_states

VERSION = "2025-11-25"


def result_of(client, name, arguments, **headers):
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": name, "arguments": arguments},
    }
    sent = {"Accept": "application/json", "MCP-Protocol-Version": VERSION, **headers}
    response = client.post("/mcp", json=message, headers=sent)
    assert response.status_code == 200, response.text
    return response, response.json["result"]


def test_a_read_goes_to_the_primary_or_takes_the_token_of_a_result(pair, make_app):
    behind = pair.standbys[1].connection_string()
    app = make_app(
        pair.settings(POSTGRESQLCONNSTR_WWIF_REPLICA=behind, REPLICA_WAIT_SECONDS="0.05")
    )
    wait_for_states(app, "ready")
    client = app.test_client()
    response, made = result_of(client, "create_order", {"customer": "Agent", "amount": 1})
    token = made["structuredContent"]["consistency_token"]
    assert response.headers["Consistency-Token"] == token
    order = {"order_id": made["structuredContent"]["result"][0]["order_id"]}
    _, found = result_of(client, "get_order", order)
    assert found["structuredContent"]["result"][0]["order_id"] == order["order_id"]
    assert routed(app) == {"primary required": 1}
    _, found = result_of(client, "get_order", {**order, "consistency_token": token})
    assert found["structuredContent"]["result"][0]["order_id"] == order["order_id"]
    _, found = result_of(client, "get_order", order, **{"Consistency-Token": token})
    assert not found["isError"]
    assert routed(app) == {"primary required": 1, "primary behind": 2}
