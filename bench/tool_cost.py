"""What a call of a tool costs against the HTTP route of the same operation.

Run as `python -m bench.tool_cost [--rounds N]`. Everything runs in one process on one database, the
alternatives in turn (bench/interleaved.py), through WSGI without a network: one row of a Python
resource, one row and ten rows of catalog procedures, and a write with a key.

Exits with 1 where a ratio is above the target.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask

from app import close_app, create_app
from bench.interleaved import interleaved, show
from embedded.cluster import API_ROLE
from settings import read_settings
from testkit.agent import headers_of, tool_call
from testkit.cluster import fresh_cluster
from testkit.places import TESTS
from testkit.server import bare_environment

TARGET = 1.3
Call = Callable[[], bytes]
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


def send(
    app: Flask, method: str, path: str, headers: dict[str, str], document: Any = None
) -> bytes:
    """The body of the response to one request. Raises RuntimeError unless it succeeds."""
    body = b"" if document is None else json.dumps(document).encode()
    path, _, query = path.partition("?")
    environ = {
        **{"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "SCRIPT_NAME": ""},
        **{"SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1"},
        **{"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost", "wsgi.url_scheme": "http"},
        **{"wsgi.input": io.BytesIO(body), "wsgi.errors": sys.stderr, "wsgi.version": (1, 0)},
        **{"wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False},
        **{"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))},
        **{f"HTTP_{name.upper().replace('-', '_')}": text for name, text in headers.items()},
    }
    status = ""

    def start_response(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        nonlocal status
        status = line

    response = app.wsgi_app(environ, start_response)
    try:
        found = b"".join(response)
    finally:
        getattr(response, "close", bool)()
    if not status.startswith("20") or b'"isError":true' in found:
        raise RuntimeError(f"{method} {path} answered {status}: {found.decode()}")
    return found


def ratio(app: Flask, what: str, rounds: int, route: Call, tool: Call) -> float:
    """Print the times of both; the ratio of the tool to the route."""
    route(), tool()
    print(f"\n{what}")
    return show(interleaved({"route": route, "tool": tool}, rounds=rounds), base="route")["tool"]


def ratios(app: Flask, rounds: int) -> Iterator[float]:
    numbers = itertools.count()

    def get(path: str) -> Call:
        return lambda: send(app, "GET", path, {})

    def call(name: str, **arguments: Any) -> Call:
        sent = tool_call(name, **arguments)
        return lambda: send(app, "POST", "/mcp", headers_of(sent), sent)

    def post() -> bytes:
        key = {"Idempotency-Key": f"route-{next(numbers)}"}
        return send(app, "POST", "/order", key, {"item": "apple"})

    def create() -> bytes:
        sent = tool_call("create_order", item="apple", idempotency_key=f"tool-{next(numbers)}")
        return send(app, "POST", "/mcp", headers_of(sent), sent)

    yield ratio(
        *(app, "One customer, Python resource", rounds),
        *(get("/customer/123"), call("get_customer", customer_id=123)),
    )
    yield ratio(
        *(app, "One row, catalog", rounds),
        *(get("/client/123"), call("get_client", ClientID=123)),
    )
    yield ratio(
        *(app, "Hundred rows, catalog", rounds),
        *(get("/clients?most=100"), call("list_clients", most=100)),
    )
    yield ratio(app, "A write with a key, catalog", rounds, post, create)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    with fresh_cluster("bench-tools") as cluster:
        cluster.run_sql(SCRIPT)
        environment = bare_environment(
            LOCAL_DIR=str(TESTS / "bench-tools-local"),
            POSTGRESQLCONNSTR_WWIF=cluster.connection_string(role=API_ROLE),
            CATALOG_SECONDS="86400",
            POOL_MAX_SIZE="1",
        )
        app = create_app(read_settings(environment))
        try:
            found = list(ratios(app, rounds))
        finally:
            close_app(app)
    print(f"\nhighest ratio: {max(found):.3f}, target {TARGET}")
    return 0 if max(found) <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
