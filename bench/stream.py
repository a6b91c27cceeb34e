"""All trips as NDJSON, CSV and JSON, compared to `psql -c "copy (select row_to_json …) to stdout"`.

Run as `python -m bench.stream [--rows N]`. Each form and psql in turn, three times; medians. Says
how soon the first byte came, how much the server's resident set grew, and how soon a connection
is free again when its client is killed half way.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

from bench.bench_database import bench_database
from bench.process_usage import resident_bytes
from settings import ROOT
from testkit.api_client import Api
from testkit.server import Server

CHUNK = 1 << 18
COPY = "copy (select row_to_json(t) from (select * from dbo.taxidata{order}) t) to stdout"
ORDER = (
    ' order by tpep_pickup_datetime, tpep_dropoff_datetime, "VendorID", "PULocationID",'
    ' "DOLocationID", total_amount, trip_distance, fare_amount, tip_amount, payment_type, id'
)


class Read(NamedTuple):
    """first_byte and seconds from the request on; growth in bytes of the resident set."""

    rows: int
    seconds: float
    first_byte: float
    growth: int


def read(server: Server, form: str) -> Read:
    pid = server._process.pid
    before = highest = resident_bytes(pid)
    rows, looked = 0, time.monotonic()
    with connect(server, form) as connected:
        began = time.monotonic()
        head = connected.recv(CHUNK)
        while b"\r\n\r\n" not in head or head.endswith(b"\r\n\r\n"):
            head += connected.recv(CHUNK)
        first_byte = time.monotonic() - began
        chunk = head.partition(b"\r\n\r\n")[2]
        while chunk:
            rows += chunk.count(b"{" if form == "json" else b"\n")
            if time.monotonic() - looked > 0.1:
                looked, highest = time.monotonic(), max(highest, resident_bytes(pid))
            chunk = connected.recv(CHUNK)
        seconds = time.monotonic() - began
    return Read(rows, seconds, first_byte, highest - before)


def connect(server: Server, form: str) -> socket.socket:
    """A socket with the request for the stream sent, in HTTP/1.0: no chunk sizes among the rows."""
    host, port = server.url.removeprefix("http://").split(":")
    connected = socket.create_connection((host, int(port)), timeout=300)
    path = f"/taxidata?limit=0&format={form}"
    connected.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    return connected


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with bench_database("stream") as database:
        database.grow_trips(options.rows)
        text = database.cluster.connection_string()
        folder = ROOT / ".local" / "compare" / "stream-server"
        settings = {"POSTGRESQLCONNSTR_WWIF": text, "POSTGRESQLCONNSTR_TAXI": text}
        with Server(folder, **settings, REQUEST_DEADLINE_SECONDS="300") as server:
            with Api(server.url) as api:
                for _ in range(20):
                    api.get("/taxidata?limit=1&format=ndjson")
            taken: dict[str, list[Read]] = {form: [] for form in ("ndjson", "csv", "json")}
            copied: dict[str, list[float]] = {"psql": [], "psql, same order": []}
            for _ in range(3):
                for form, reads in taken.items():
                    reads.append(read(server, form))
                for name, order in (("psql", ""), ("psql, same order", ORDER)):
                    began = time.monotonic()
                    subprocess.run(
                        [*database.cluster.psql(), "-c", COPY.format(order=order)],
                        check=True,
                        stdout=subprocess.DEVNULL,
                    )
                    copied[name].append(time.monotonic() - began)
            with connect(server, "ndjson") as connected:
                for _ in range(50):
                    connected.recv(CHUNK)
            gone, asked = time.monotonic(), "SELECT count(*) FROM pg_stat_activity WHERE state"
            while int(database.cluster.run_sql(f"{asked} = 'idle in transaction'")):
                time.sleep(0.02)
            freed = time.monotonic() - gone
    base = {name: options.rows / statistics.median(times) for name, times in copied.items()}
    for name, rate in base.items():
        print(f"{name:18} {rate:9,.0f} rows/s")
    complete = True
    # CSV also has a header line.
    expected = {"ndjson": options.rows, "csv": options.rows + 1, "json": options.rows}
    for form, reads in taken.items():
        rate = statistics.median(r.rows / r.seconds for r in reads)
        rows = {r.rows for r in reads}
        complete &= rows == {expected[form]}
        print(
            f"{form:18} {rate:9,.0f} rows/s = {rate / base['psql']:.2f} of psql;"
            f" {', '.join(map(str, sorted(rows)))} lines or trips;"
            f" first byte {1e3 * statistics.median(r.first_byte for r in reads):.0f} ms;"
            f" resident set at most +{max(r.growth for r in reads) / 2**20:.1f} MiB"
        )
    print(f"client killed half way: connection freed after {1e3 * freed:.0f} ms")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
