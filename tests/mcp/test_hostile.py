"""Two hundred requests that are malformed or not allowed: no 500, and no connection taken."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import requests

from testkit.agent import headers_of, message, tool_call
from testkit.checkout_counter import CHECKOUTS

JSON = {"Content-Type": "application/json"}
REQUESTS = 200
# Values for any member of a message.
WRONG: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**30, "", "x", "\0", "\ud800", "é" * 300, "x" * 100_000),
    *([], [1], {}, {"a": {"b": []}}, [[]] * 50),
)
# Bodies that are no message.
BODIES: tuple[bytes, ...] = (
    *(b"", b"{", b"nul", b"[]", b"[1]", b"1", b'"x"', b"null", b"\xff\xfe", b"\0"),
    *(b"[" * 100_000, b'{"a":' * 2_000, b"1" * 5_000, b"-", b"NaN", b"1e999999999"),
    b'{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}',
    b'{"jsonrpc":"2.0","result":{},"id":1}',
    b'[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]',
)
HEADERS: tuple[dict[str, str], ...] = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Host": "evil.example"},
    {"Host": "evil.example", "Origin": "http://evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"X-Forwarded-For": "203.0.113.9"},
    {"Mcp-Method": "tools/list"},
    {"Mcp-Name": "get_customer"},
    {"Mcp-Name": "=?base64?%%%?="},
    {"MCP-Protocol-Version": "1999-01-01"},
    {"MCP-Protocol-Version": "x" * 5_000},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {"Accept": "text/html"},
    {"Request-Timeout": "never"},
    {"Content-Encoding": "gzip"},
)
ARGUMENTS: tuple[dict[str, Any], ...] = (
    {"order_id": "1; DROP TABLE api.orders"},
    {"order_id": "../orders"},
    {"order_id": "1/approve"},
    {"order_id": {"$ne": 1}},
    {"order_id": 10**400},
    {"order_id": "1\r\nX-Injected: 1"},
    {"order_id": 1, "Idempotency-Key": "x"},
    {"order_id": 1, "if_match": "x"},
    {"order_id": 1, "__proto__": {}},
    {"OrderID": 1},
    {},
)
WRITES: tuple[dict[str, Any], ...] = (
    {"customer": "x", "amount": 1, "idempotency_key": "\r\nX: 1"},
    {"customer": "x", "amount": 1, "idempotency_key": "é"},
    {"customer": "x", "amount": 1, "idempotency_key": ["a"]},
    {"customer": "x", "amount": 1, "idempotency_key": "k" * 300},
    {"customer": "x", "amount": "1e5"},
    {"customer": ["x"], "amount": 1},
    {"customer": "\0", "amount": 1},
    {"customer": "\ud800", "amount": 1},
    {"customer": "x", "amount": 10**400},
)


def hostile() -> Iterator[tuple[bytes, dict[str, str]]]:
    """(body, headers) of one request after the other, without end."""
    for body in BODIES:
        yield body, {**headers_of(message("tools/list")), **JSON}
    for headers in HEADERS:
        sent = tool_call("get_order", order_id=1)
        # With this one the call would be valid.
        if headers.keys() == {"Content-Encoding"}:
            sent["params"]["arguments"] = {}
        yield json.dumps(sent).encode(), {**headers_of(sent), **JSON, **headers}
    for name, arguments in (
        *(("get_order", given) for given in ARGUMENTS),
        *(("create_order", given) for given in WRITES),
        *(
            (name, {})
            for name in ("", "drop_table", "list_secrets", "GET /customer/123", "x" * 999)
        ),
    ):
        sent = tool_call(name, **arguments)
        yield json.dumps(sent).encode(), {**headers_of(sent), **JSON}
    chosen = random.Random(1)
    for number in itertools.count():
        sent = tool_call("get_order", order_id=1)
        member = ("jsonrpc", "id", "method", "params", "name", "arguments", "_meta")[number % 7]
        value = chosen.choice(WRONG)
        if member in sent:
            sent[member] = value
        else:
            sent["params"][member] = value
        # A message with its own headers, and one with those of a client of the handshake.
        headers = headers_of(tool_call("get_order", order_id=1)) if number % 3 else {}
        if member == "id" and (value in (0, -1) or isinstance(value, str)):
            sent["params"]["arguments"] = {}
        if member == "_meta" and not number % 3:
            sent["params"]["arguments"] = {}
        yield json.dumps(sent).encode(), {**headers, **JSON}


def test_two_hundred_hostile_requests_get_no_500_and_no_connection(agent, server):
    def checkouts() -> int:
        return int(agent.get(CHECKOUTS).text)

    assert agent.rows("get_order", order_id=1)
    before = checkouts()
    wrong = []
    for number, (body, headers) in enumerate(itertools.islice(hostile(), REQUESTS)):
        response = requests.post(f"{server.url}/mcp", data=body, headers=headers, timeout=30)
        refused = 400 <= response.status_code < 500
        if response.status_code == 200:
            answer = response.json()
            refused = "error" in answer or answer["result"].get("isError") is True
        elif response.status_code == 202:
            refused = b'"id"' not in body  # a notification, which nothing is done with
        if not refused:
            wrong.append((number, body[:200], headers, response.status_code, response.text[:300]))
    assert checkouts() == before
    assert not wrong, wrong[:3]
    assert "Traceback" not in server.log.read_text()
