"""Shows what replicas give and cost: consistency, failures, throughput, the price of a token.

Run as `python -m bench.replicas`. Two instances of the API serve a primary and two standbys made by
pg_basebackup; each client writes at one instance and reads at the other. `--part` limits it to one
of the parts below.

pairs       writes followed by reads with their tokens, standbys two seconds behind
off         where reads without a token are served
killed      a standby is killed with -9 during reads
promoted    the primary is stopped, a synchronous standby promoted, during pairs
token       reads with a token and without one, in turn
throughput  reads per second with 0, 1 and 2 replicas
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Iterator
from urllib.request import Request, urlopen

from testkit.cluster import socket_of
from testkit.places import TESTS
from testkit.proxy import Proxy
from testkit.replica_load import Client, once_at, pairs, reads, routed, wait_until_ready
from testkit.replicated import Replicated, replicated
from testkit.server import Server
from testkit.standby import await_standbys

PARTS = ("pairs", "off", "killed", "promoted", "token", "throughput")
DELAY = "2s"
READ = "/customer/123"
# Occupies its connection for 20 ms and no processor, as a read that waits for disks does.
WAITING_READ = """
CREATE FUNCTION api.get_wait() RETURNS TABLE (done boolean) LANGUAGE sql STABLE
    AS 'SELECT true FROM (SELECT pg_sleep(0.02)) AS slept';
"""
CONNECTIONS = "2"


@contextlib.contextmanager
def instances(databases: Replicated, replicas: int = 2, **settings: str) -> Iterator[list[str]]:
    """The URLs of two running servers, ready, that use so many of the standbys."""
    used = databases.standbys[:replicas]
    strings = " | ".join(standby.connection_string() for standby in used)
    environment = databases.settings(POSTGRESQLCONNSTR_WWIF_REPLICA=strings, **settings)
    with contextlib.ExitStack() as stack:
        urls = [
            stack.enter_context(Server(TESTS / f"bench-replicas-{n}", workers=1, **environment)).url
            for n in (1, 2)
        ]
        wait_until_ready(urls, ["ready"] * replicas)
        yield urls


def show(part: str, **figures: object) -> None:
    print(json.dumps({"part": part, **figures}), flush=True)


def show_pairs(databases: Replicated, count: int) -> None:
    for wait in ("0.5", "5"):
        with instances(databases, REPLICA_WAIT_SECONDS=wait) as urls:
            began = time.monotonic()
            # Those that wait for two seconds and more are fewer.
            number = count if wait == "0.5" else count // 20
            tally = pairs(urls, number)
            show(
                "pairs",
                wait_seconds=float(wait),
                pairs=tally.reads,
                stale=tally.stale,
                failed=tally.failed,
                served=routed(urls),
                seconds=round(time.monotonic() - began, 1),
            )
    with instances(databases) as urls:
        tally = pairs(urls, count // 20, with_token=False)
        show("pairs without tokens", pairs=tally.reads, stale=tally.stale)


def show_off(databases: Replicated, count: int) -> None:
    with instances(databases) as urls:
        tally = reads(urls, count, READ)
        found = routed(urls)
        share = found["replica current"] / found.total()
        show(
            "off", reads=tally.reads, failed=tally.failed, served=found, off_primary=round(share, 4)
        )


def show_killed(databases: Replicated, count: int) -> None:
    with (
        instances(databases) as urls,
        once_at(count // 2, databases.standbys[1].kill) as at,
    ):
        tally = reads(urls, count, READ, at=at)
        show(
            "killed",
            reads=tally.reads,
            failed=tally.failed,
            served=routed(urls),
            slowest_ms=round(1000 * max(tally.seconds), 1),
        )


def show_promoted(databases: Replicated, count: int) -> None:
    await_standbys(databases.primary, "standby_1")
    promoted = databases.standbys[0]
    with Proxy(socket_of(databases.primary)) as proxy:
        address = f"SERVER=127.0.0.1;PORT={proxy.port};DATABASE=app;UID=webapp"

        def fail_over() -> None:
            databases.primary.stop()
            promoted.promote()
            proxy.redirect(socket_of(promoted))

        with (
            instances(databases, 1, POSTGRESQLCONNSTR_WWIF=address) as urls,
            once_at(count // 2, fail_over) as at,
        ):
            tally = pairs(urls, count, at=at)
            kept = promoted.run_sql("SELECT order_id FROM api.orders").split()
            lost = {str(number) for number in tally.written} - {*kept}
            show(
                "promoted",
                acknowledged=len(tally.written),
                lost=len(lost),
                stale=tally.stale,
                failed=tally.failed,
                served=routed(urls),
            )


def show_token(databases: Replicated, count: int) -> None:
    with instances(databases, 1) as urls:
        order = Request(
            f"{urls[0]}/order",
            json.dumps({"customer": "Token", "amount": 1}).encode(),
            {"Content-Type": "application/json"},
        )
        with urlopen(order) as made:
            token = {"Consistency_Token": made.headers["Consistency-Token"]}
        seconds: dict[str, list[float]] = {"without": [], "with": []}
        with contextlib.closing(Client(urls)) as client:
            for number in range(2 * count):
                which, headers = ("without", {}) if number % 2 else ("with", token)
                began = time.perf_counter()
                status, _, _ = client.ask(0, "GET", "/order/1", **headers)
                seconds[which].append(time.perf_counter() - began)
                assert status == 200
        medians = {which: statistics.median(found) for which, found in seconds.items()}
        means = {
            which: statistics.fmean(sorted(found)[: int(0.9 * count)])
            for which, found in seconds.items()
        }
        show(
            "token",
            reads=count,
            served=routed(urls),
            **{f"median_ms_{which}": round(1000 * found, 3) for which, found in medians.items()},
            median_cost=round(medians["with"] / medians["without"] - 1, 4),
            trimmed_mean_cost=round(means["with"] / means["without"] - 1, 4),
        )


def show_throughput(databases: Replicated, count: int) -> None:
    databases.primary.run_sql(WAITING_READ)
    for path in (READ, "/wait"):
        for replicas in (0, 1, 2):
            with instances(databases, replicas, POOL_MAX_SIZE=CONNECTIONS) as urls:
                reads(urls, 50, path)
                began = time.monotonic()
                # Different queries, so that no read shares another's call.
                tally = reads(urls, count if path == READ else count // 5, path, clients=16)
                rate = tally.reads / (time.monotonic() - began)
                show(
                    "throughput",
                    path=path,
                    replicas=replicas,
                    failed=tally.failed,
                    reads_per_second=round(rate),
                    served=routed(urls),
                )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000, help="pairs or reads of a part")
    parser.add_argument("--part", choices=PARTS, action="append")
    options = parser.parse_args()
    wanted = options.part or PARTS
    behind = [p for p in wanted if p in ("pairs", "off", "killed")]
    current = [p for p in wanted if p in ("token", "throughput", "promoted")]
    show_part = {
        "pairs": show_pairs,
        "off": show_off,
        "killed": show_killed,
        "promoted": show_promoted,
        "token": show_token,
        "throughput": show_throughput,
    }
    # Parts that end a server come last.
    for parts, delays in ((behind, (DELAY, DELAY)), (current, ("0", "0"))):
        if parts:
            with replicated("bench-replicas", *delays) as databases:
                for part in sorted(parts, key=("token throughput pairs off killed promoted").find):
                    show_part[part](databases, options.count)


if __name__ == "__main__":
    main()
