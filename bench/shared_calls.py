"""Compares identical concurrent reads that share a database call with reads that do not.

Run as `python -m bench.shared_calls`. Each caller is a thread that repeats one read without a
pause. `plain` shares nothing; `shared` waits for a running read and shares the next; `above 2` does
so only while two reads of that key are running.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial

from connection_manager import ConnectionManager
from database.deadline import Deadline
from database.session import Answer
from database.single_flight import SingleFlight
from testkit.cluster import fresh_cluster

CONNECTIONS = 8
CALLERS = (2, 3, 16)
READS = {
    "customer": ("web.get_customer", [json.dumps({"CustomerID": n}) for n in range(1, 17)]),
    "trips": ("dbo.get_taxidata", [json.dumps({"limit": 500 + n}) for n in range(16)]),
}
Read = Callable[[str, str], Answer]


def latencies(read: Read, procedure: str, documents: list[str], seconds: float) -> list[float]:
    """Seconds of each read, from one thread per document."""
    taken: list[float] = []
    end = time.perf_counter() + seconds

    def repeat(document: str) -> None:
        while (began := time.perf_counter()) < end:
            read(procedure, document)
            taken.append(time.perf_counter() - began)

    threads = [threading.Thread(target=repeat, args=(document,)) for document in documents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with fresh_cluster("bench-shared") as cluster:
        manager = ConnectionManager(
            cluster.connection_string(), family="postgresql", max_size=CONNECTIONS
        )
        flights = {
            "shared": SingleFlight[Answer](),
            "above 2": SingleFlight[Answer](at_once=2),
        }
        calls = itertools.count()

        def plain(procedure: str, document: str) -> Answer:
            next(calls)
            return manager.call(procedure, document)

        def shared(way: str, procedure: str, document: str) -> Answer:
            read = partial(plain, procedure, document)
            return flights[way].get((procedure, document), read, Deadline(30.0))[0]

        print("read      callers  keys       way       reads/s   median     99 %   calls per read")
        for name, (procedure, documents) in READS.items():
            for callers, keys in itertools.product(CALLERS, ("same", "different")):
                used = documents[:1] * callers if keys == "same" else documents[:callers]
                ways: dict[str, Read] = {"plain": plain} | {
                    way: partial(shared, way) for way in flights
                }
                taken: dict[str, list[float]] = {way: [] for way in ways}
                spent = dict.fromkeys(ways, 0)
                for _, (way, read) in itertools.product(range(options.rounds), ways.items()):
                    before = next(calls)
                    taken[way] += latencies(read, procedure, used, options.seconds)
                    spent[way] += next(calls) - before - 1
                for way, times in taken.items():
                    cuts = statistics.quantiles(times, n=100)
                    rate = len(times) / options.seconds / options.rounds
                    print(
                        f"{name:9} {callers:7}  {keys:10} {way:8} {rate:8,.0f}"
                        f" {1e3 * cuts[49]:6.2f} ms {1e3 * cuts[98]:5.2f} ms"
                        f"   {spent[way] / len(times):.2f}"
                    )
        manager.close()


if __name__ == "__main__":
    main()
