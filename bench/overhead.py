"""ConnectionManager.call against a bare pyodbc execute and fetch, over the Unix socket.

Run as `python -m bench.overhead`. The bare side keeps one cursor, uses the same driver options and
the same statement, and does nothing else; the second one has the session reset as well, in the
same round trip. Exits with 1 above the target.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
from pathlib import Path

import pyodbc

from bench.interleaved import interleaved, show
from connection_manager import ConnectionManager
from database.deadline import Deadline
from database.dialects import FORGET, dialect_of
from testkit.cluster import ROOT, fresh_cluster
from testkit.pressure import READ

TARGET = 1.15
PROFILED_CALLS = 20_000


def where_it_goes(manager: ConnectionManager) -> None:
    """Own time per call of each function under the profiler, which makes Python's part larger."""
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(PROFILED_CALLS):
        manager.call(*READ)
    profile.disable()
    stats = pstats.Stats(profile).stats
    rows = sorted(((own, calls, key) for key, (_, calls, own, _, _) in stats.items()), reverse=True)
    whole = sum(own for own, _, _ in rows)
    print(f"\nOwn time by function, {PROFILED_CALLS} profiled calls")
    for own, calls, (file, line, name) in rows[:24]:
        place = f"{Path(file).relative_to(ROOT)}:{line} " if file.startswith(str(ROOT)) else ""
        print(
            f"{100 * own / whole:5.1f} %  {1e6 * own / PROFILED_CALLS:6.2f} µs"
            f"  {calls / PROFILED_CALLS:4.1f} x  {place}{name}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1_000)
    options = parser.parse_args()
    procedure, document = READ
    with fresh_cluster("bench-overhead") as cluster:
        # All on one connection: another would have another server process, and that one, asked
        # less often, would find its caches cold.
        manager = ConnectionManager(cluster.connection_string(), family="postgresql", max_size=1)
        with manager._pool.checkout() as lease:
            session = lease.connection
        connection = session.connection
        cursor, resetting = connection.cursor(), connection.cursor()
        whole_text = dialect_of(connection).call_text(procedure)[0]
        text = whole_text.removeprefix(FORGET + ";")

        def bare() -> list[pyodbc.Row]:
            return cursor.execute(text, document).fetchall()

        assert bare()[0][0] == manager.call(*READ).json
        forever = Deadline(3600.0)

        def reset_too() -> list[pyodbc.Row]:
            resetting.execute(whole_text, document).nextset()
            rows = resetting.fetchall()
            resetting.nextset()
            return rows

        taken = interleaved(
            {
                "pyodbc": bare,
                "pyodbc, session reset": reset_too,
                "Session.call": lambda: session.call(procedure, document, forever),
                "ConnectionManager.call": lambda: manager.call(*READ),
            },
            rounds=options.rounds,
        )
        ratios = show(taken, base="pyodbc")
        where_it_goes(manager)
        cursor.close()
        resetting.close()
        manager.close()
    overhead = ratios["ConnectionManager.call"]
    print(f"\noverhead {100 * (overhead - 1):.1f} %, target {100 * (TARGET - 1):.0f} %")
    return 0 if overhead <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
