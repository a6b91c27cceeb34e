"""Cuts writes at every byte of their network traffic and counts their outcomes.

Run as `python -m bench.cuts`. Exits with 1 when a write was lost or done twice.
"""

from __future__ import annotations

import argparse
import itertools
import queue
import sys
import threading
import time
from collections import defaultdict

from testkit.cluster import fresh_cluster
from testkit.cuts import Job, Lane, Outcome, Place, Write, jobs_at, judge, open_lane

COLUMNS = (
    f"{'write':8} {'cut in':7} {'key of':7} {'after it':9} {'writes':>6} {'cuts':>6}"
    f" {'acked':>6} {'replayed':>8} {'unacked but done':>16} {'wrong':>6}"
)


def plan(lane: Lane, step: int) -> list[Job]:
    jobs: list[Job] = []
    for write, place in itertools.product(Write, Place):
        keyed = lane.lengths(place, write)
        unkeyed = lane.lengths(place, write, keyed=False)
        jobs += jobs_at(keyed, write, place, step=step)
        jobs += jobs_at(unkeyed, write, place, step=3 * step, keyed=False)
        if place is Place.CALL:
            # Each of these waits for the client's patience to end.
            jobs += jobs_at(keyed, write, place, step=5 * step, refused=True)
            jobs += jobs_at(unkeyed, write, place, step=5 * step, keyed=False, refused=True)
    return jobs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, default=1, help="every n-th offset (default: each)")
    parser.add_argument("--lanes", type=int, default=4, help="conversations at a time")
    options = parser.parse_args()
    began = time.monotonic()
    with fresh_cluster("bench-cuts") as cluster:
        with open_lane(cluster) as lane:
            jobs = plan(lane, options.step)
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        outcomes: list[Outcome] = []
        failures: list[BaseException] = []

        def work() -> None:
            try:
                with open_lane(cluster) as lane:
                    while not failures:
                        outcomes.append(lane.run(waiting.get_nowait()))
            except queue.Empty:
                pass
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(options.lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return report(cluster, outcomes, time.monotonic() - began)


def report(cluster, outcomes: list[Outcome], seconds: float) -> int:
    groups: dict[tuple, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        job = outcome.job
        groups[job.write.name, job.place.name, job.keyed, job.refused].append(outcome)
    print(COLUMNS)
    for (write, place, keyed, refused), group in sorted(groups.items()):
        v = judge(cluster, group)
        print(
            f"{write:8} {place:7} {'client' if keyed else 'API':7}"
            f" {'refused' if refused else 'open':9} {v.writes:6} {v.cut:6} {v.acknowledged:6}"
            f" {v.replayed:8} {v.done_unacknowledged:16} {len(v.wrong):6}"
        )
    whole = judge(cluster, outcomes)
    print(f"{whole.cut} cuts in {seconds:.0f} s, {len(whole.wrong)} broken promises")
    for sentence in whole.wrong[:20]:
        print(f"  {sentence}")
    return 1 if whole.wrong or not whole.cut else 0


if __name__ == "__main__":
    sys.exit(main())
