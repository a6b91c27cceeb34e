"""What a call of a tool costs against the HTTP route of the same operation.

Run as `python -m bench.tool_cost [--rounds N]`. One gunicorn worker, one kept-alive connection, and
the alternatives in turn (bench/interleaved.py): one row of a Python resource, one row and a hundred
rows of catalog procedures, and a write with a key.

Exits with 1 where a ratio is above the target.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from bench.interleaved import interleaved, show
from embedded.cluster import API_ROLE
from testkit.agent import headers_of, tool_call
from testkit.cluster import fresh_cluster
from testkit.places import TESTS
from testkit.server import Server

TARGET = 1.3
Call = Callable[[], bytes]
JSON = {"Content-Type": "application/json"}
SCRIPT = f"""
CREATE SCHEMA api;
GRANT USAGE ON SCHEMA api TO "{API_ROLE}";
CREATE TABLE api.orders (order_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item text);
CREATE FUNCTION api.get_client("ClientID" int) RETURNS TABLE (
    "ClientID" int, "CustomerName" text, "PhoneNumber" text, "FaxNumber" text, "WebsiteURL" text)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT "CustomerID", "CustomerName", "PhoneNumber", "FaxNumber", "WebsiteURL"
      FROM sales.customers WHERE "CustomerID" = "ClientID" $$;
CREATE FUNCTION api.list_clients(most int) RETURNS TABLE ("ClientID" int, "CustomerName" text)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT "CustomerID", "CustomerName" FROM sales.customers ORDER BY 1 LIMIT most $$;
CREATE FUNCTION api.create_order(item text) RETURNS SETOF api.orders
LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO api.orders (item) VALUES ($1) RETURNING *';
"""


class Client:
    """One kept-alive connection, on which each request is one segment."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname, address.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._numbers = itertools.count()

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """The body of a response. Raises RuntimeError unless the request succeeds."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        response = http.client.HTTPResponse(self._socket, method=method)
        response.begin()
        found = response.read()
        if response.status not in (200, 201) or b'"isError":true' in found:
            raise RuntimeError(f"{method} {path} answered {response.status}: {found.decode()}")
        return found

    def get(self, path: str) -> Call:
        return lambda: self.send("GET", path)

    def call(self, name: str, **arguments: Any) -> Call:
        sent = tool_call(name, **arguments)
        body, headers = json.dumps(sent).encode(), {**headers_of(sent), **JSON}
        return lambda: self.send("POST", "/mcp", body, **headers)

    def post(self) -> bytes:
        key = f"route-{next(self._numbers)}"
        body = json.dumps({"item": "apple"}).encode()
        return self.send("POST", "/order", body, **{**JSON, "Idempotency-Key": key})

    def create(self) -> bytes:
        return self.call("create_order", item="apple", idempotency_key=f"{next(self._numbers)}")()


def ratios(client: Client, rounds: int) -> Iterator[float]:
    """The ratio of the tool to the route, of each operation; prints the times."""
    for what, route, tool in (
        (
            "One customer, Python resource",
            client.get("/customer/123"),
            client.call("get_customer", customer_id=123),
        ),
        ("One row, catalog", client.get("/client/123"), client.call("get_client", ClientID=123)),
        (
            "A hundred rows, catalog",
            client.get("/clients?most=100"),
            client.call("list_clients", most=100),
        ),
        ("A write with a key, catalog", client.post, client.create),
    ):
        print(f"\n{what}")
        taken = interleaved({"route": route, "tool": tool}, rounds=rounds)
        yield show(taken, base="route")["tool"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    folder = TESTS / "bench-tools-server"
    with fresh_cluster("bench-tools") as cluster:
        cluster.run_sql(SCRIPT)
        text = cluster.connection_string(role=API_ROLE)
        with Server(folder, workers=1, POSTGRESQLCONNSTR_WWIF=text) as server:
            found = list(ratios(Client(server.url), rounds))
        shutil.rmtree(folder)
    print(f"\nhighest ratio: {max(found):.3f}, target {TARGET}")
    return 0 if max(found) <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
