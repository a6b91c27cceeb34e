"""Cost of psqlodbc's options and of a session reset per call, over the Unix socket.

Run as `python -m bench.driver_options`. Compares UseServerSidePrepare=0 and 1 with a kept and with
a new cursor, and a `RESET ALL` in the call's own round trip, in a round trip of its own, and none.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable

import pyodbc

from bench.interleaved import interleaved, show
from database.connect.drivers import Driver
from testkit.cluster import fresh_cluster

CALL = "SELECT * FROM web.get_customer(?)"
DOCUMENT = '{"CustomerID":123}'


def kept(connection: pyodbc.Connection) -> Callable[[], object]:
    cursor = connection.cursor()
    return lambda: cursor.execute(CALL, DOCUMENT).fetchall()


def new(connection: pyodbc.Connection, before: str = "") -> Callable[[], object]:
    def call() -> object:
        with contextlib.closing(connection.cursor()) as cursor:
            if before:
                cursor.execute(before)
            return cursor.execute(CALL, DOCUMENT).fetchall()

    return call


def prefixed(connection: pyodbc.Connection, prefix: str) -> Callable[[], object]:
    def call() -> object:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(prefix + CALL, DOCUMENT)
            while cursor.description is None:
                cursor.nextset()
            rows = cursor.fetchall()
            cursor.nextset()
            return rows

    return call


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    with fresh_cluster("bench-driver-options") as cluster, contextlib.ExitStack() as opened:

        def connect(prepare: int) -> pyodbc.Connection:
            text = f"{cluster.connection_string()};UseServerSidePrepare={prepare}"
            connection = Driver(text, family="postgresql").connect(5)
            opened.callback(connection.close)
            return connection

        plain = "UseServerSidePrepare=0, new cursor"
        alternatives = {
            plain: new(connect(0)),
            "UseServerSidePrepare=0, kept cursor": kept(connect(0)),
            "UseServerSidePrepare=1, new cursor": new(connect(1)),
            "UseServerSidePrepare=1, kept cursor": kept(connect(1)),
            "=0, new, RESET ALL; in the call": prefixed(connect(0), "RESET ALL;"),
            "=0, new, RESET ALL by itself": new(connect(0), "RESET ALL"),
            "=0, new, DISCARD ALL by itself": new(connect(0), "DISCARD ALL"),
        }
        answers = {name: call()[0][0] for name, call in alternatives.items()}
        assert len(set(answers.values())) == 1, answers
        show(interleaved(alternatives, rounds=options.rounds), base=plain)
    return 0


if __name__ == "__main__":
    sys.exit(main())
