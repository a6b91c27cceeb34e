"""What a route from the catalog costs: against a Python resource, and by who makes the JSON.

Run as `python -m bench.catalog_cost [--rounds N] [--rows N]`. Everything runs in one process on one
database, the alternatives in turn (bench/interleaved.py), through WSGI without a network:

1. one row: a Python resource, the same procedure by the catalog, and a typed procedure;
2. growth of the resident set while --rows typed rows are sent in each media type;
3. typed rows as JSON: encoded by the database, encoded by the API, and one JSON text made by the
   database, for 1 and 100 rows and for --rows.

Exits with 1 where the first ratio is above the target.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask

from app import close_app, create_app
from bench.interleaved import interleaved, show
from bench.process_usage import resident_bytes
from catalog import statements
from catalog.procedure import Procedure
from connection_manager import ConnectionManager
from database.deadline import Deadline
from embedded.cluster import API_ROLE
from protocol.rows import json_array, json_objects
from settings import read_settings
from testkit.cluster import fresh_cluster
from testkit.places import TESTS
from testkit.server import bare_environment

TARGET = 1.15
MIB = 2**20
COLUMNS = "id int, amount numeric(10,2), item text, placed timestamp, paid boolean, weight float8"
ROW = (
    "n, (n % 10000) / 100.0, 'Item ' || n, timestamp '2026-01-01' + n * interval '1 s',"
    " n % 2 = 0, n / 8.0::float8"
)
# The procedure of the Python resource under a second name; the same row from typed columns; many
# rows, typed and as one JSON text.
SCRIPT = f"""
CREATE SCHEMA api;
GRANT USAGE ON SCHEMA api TO "{API_ROLE}";
DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('web.get_customer(text)'::regprocedure),
    'web.get_customer(', 'api.get_buyer('); END $do$;
COMMENT ON FUNCTION api.get_buyer(text) IS '@route GET /buyer/{{CustomerID:int}}';
CREATE FUNCTION api.get_client("ClientID" int) RETURNS TABLE (
    "ClientID" int, "CustomerName" text, "PhoneNumber" text, "FaxNumber" text, "WebsiteURL" text)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT "CustomerID", "CustomerName", "PhoneNumber", "FaxNumber", "WebsiteURL"
      FROM sales.customers WHERE "CustomerID" = "ClientID" $$;
CREATE FUNCTION api.list_items(copies int) RETURNS TABLE ({COLUMNS}) LANGUAGE sql STABLE AS $$
    SELECT {ROW} FROM generate_series(1, copies) n $$;
CREATE FUNCTION api.get_text(copies int) RETURNS TABLE ("Json" text) LANGUAGE sql STABLE AS $$
    SELECT json_agg(row_to_json(i))::text FROM api.list_items(copies) i $$;
"""


def get(app: Flask, path: str) -> Iterator[bytes]:
    """The body of a GET, in the pieces that a WSGI server would send."""
    path, _, query = path.partition("?")
    environ = {
        **{"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "SCRIPT_NAME": ""},
        **{"SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1"},
        **{"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost", "wsgi.url_scheme": "http"},
        **{"wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr, "wsgi.version": (1, 0)},
        **{"wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False},
    }
    status = ""

    def start_response(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        nonlocal status
        status = line

    body = app.wsgi_app(environ, start_response)
    try:
        yield from body
    finally:
        getattr(body, "close", bool)()
    if not status.startswith("200"):
        raise RuntimeError(f"GET {path} answered {status}")


def one_row(app: Flask, rounds: int) -> float:
    """The ratio of a catalog read to a Python resource of the same procedure."""
    paths = {
        "Python resource": "/customer/123",
        "catalog, same procedure": "/buyer/123",
        "catalog, typed row": "/client/123",
    }

    def read(path: str) -> Callable[[], bytes]:
        return lambda: b"".join(get(app, path))

    assert read(paths["Python resource"])() == read(paths["catalog, same procedure"])()
    taken = interleaved({name: read(path) for name, path in paths.items()}, rounds=rounds)
    print("\n1. One row through WSGI")
    return show(taken, base="Python resource")["catalog, same procedure"]


def rows_as_json(
    manager: ConnectionManager, found: dict[str, Procedure], rows: int, rounds: int
) -> None:
    """Bytes of a JSON array, by the party that encodes it."""
    typed, text = found["list_items"], found["get_text"]
    values = {"copies": rows}
    streamed = rows > 1000

    def by(procedure: Procedure, *, encoded: bool) -> int:
        statement = statements.call(procedure, values, rows_as_json=encoded, open_cursor=streamed)
        deadline = Deadline(300)
        if not streamed:
            (result,) = manager.execute("bench", statement, deadline=deadline, repeatable=True)
            if len(result.columns) == 1:
                return len(b"[" + ",".join([row[0] for row in result.rows]).encode() + b"]")
            return len(json_array(result.names, result.rows))
        stream = manager.stream_rows("bench", statement, deadline=deadline)
        names = [column.name for column in stream.columns]
        if len(names) == 1:
            return sum(len(",".join([row[0] for row in batch]).encode()) for batch in stream)
        return sum(len(b",".join(json_objects(names, batch))) for batch in stream)

    print(f"\n3. {rows:,} rows of six typed columns as JSON")
    alternatives = {
        "rows by the database": lambda: by(typed, encoded=True),
        "rows by the API": lambda: by(typed, encoded=False),
        "one text by the database": lambda: by(text, encoded=False),
    }
    if not streamed:
        show(interleaved(alternatives, rounds=rounds), base="rows by the database")
        return
    for name, call in alternatives.items():
        began = time.monotonic()
        size = call()
        print(f"{name:24} {time.monotonic() - began:6.1f} s once, {size / MIB:.1f} MiB")


def growth(app: Flask, media_type: str, rows: int) -> None:
    """Print how far the resident set grew above its size before, and how fast rows came."""
    gc.collect()
    pid = os.getpid()
    before = highest = resident_bytes(pid)
    began = time.monotonic()
    size = 0
    for place, piece in enumerate(get(app, f"/items?copies={rows}&format={media_type}")):
        size += len(piece)
        if place % 50 == 0:
            highest = max(highest, resident_bytes(pid))
    seconds = time.monotonic() - began
    print(
        f"{media_type:7} {rows / seconds:9,.0f} rows/s  {size / MIB:6.1f} MiB sent"
        f"  resident set +{(highest - before) / MIB:.1f} MiB"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with fresh_cluster("bench-catalog") as cluster:
        cluster.run_sql(SCRIPT)
        text = cluster.connection_string(role=API_ROLE)
        app = create_app(
            read_settings(
                bare_environment(
                    LOCAL_DIR=str(TESTS / "bench-catalog-local"),
                    POSTGRESQLCONNSTR_WWIF=text,
                    CATALOG_SECONDS="86400",
                    REQUEST_DEADLINE_SECONDS="300",
                    POOL_MAX_SIZE="1",
                )
            )
        )
        try:
            ratio = one_row(app, options.rounds)
            manager = app.extensions["databases"].manager("WWIF")
            operations = app.extensions["catalog"].live.current.operations
            found = {o.procedure.name: o.procedure for o in operations if o.procedure}
            # Before the alternatives, one of which holds all rows in memory.
            print(f"\n2. {options.rows:,} typed rows through WSGI")
            for media_type in ("json", "ndjson", "csv", "arrow"):
                b"".join(get(app, f"/items?copies=2000&format={media_type}"))
            for media_type in ("json", "ndjson", "csv", "arrow"):
                growth(app, media_type, options.rows)
            for rows, rounds in ((1, options.rounds), (100, options.rounds // 2)):
                rows_as_json(manager, found, rows, rounds)
            rows_as_json(manager, found, options.rows, 1)
        finally:
            close_app(app)
    print(f"\ncatalog against Python: {ratio:.3f}, target {TARGET}")
    return 0 if ratio <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
