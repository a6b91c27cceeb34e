"""50 clients count up in one customer's name, 20 rounds each, by GET and PATCH with If-Match.

Run as `python -m bench.lost_updates`. An update is lost if the name ends below 1,000. Exits with 1
if one is, or at any status except 200 and 412.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from settings import ROOT
from testkit.api_client import Api, one, unique_name
from testkit.server import Server


def count_up(url: str, path: str, name: str, rounds: int) -> Counter[int]:
    """The number of PATCH responses by status, until `rounds` of them were 200."""
    answered: Counter[int] = Counter()
    with Api(url) as api:
        while answered[200] < rounds:
            read = api.get(path)
            count = int(one(read)["CustomerName"].removeprefix(name))
            patched = api.patch(
                path,
                json={"CustomerName": f"{name}{count + 1}"},
                headers={"If-Match": read.headers["ETag"]},
            )
            answered[patched.status_code] += 1
            if patched.status_code not in (200, 412):
                break
    return answered


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    folder = Path(ROOT) / ".local" / "tests" / "lost-updates"
    name = unique_name("Count ") + " "
    with Server(folder) as server, Api(server.url) as api:
        path = f"/customer/{api.new_customer(f'{name}0')['CustomerID']}"
        began = time.monotonic()
        with ThreadPoolExecutor(options.clients) as threads:
            work = [
                threads.submit(count_up, server.url, path, name, options.rounds)
                for _ in range(options.clients)
            ]
        answered = sum((done.result() for done in work), Counter())
        seconds = time.monotonic() - began
        final = int(one(api.get(path))["CustomerName"].removeprefix(name))
    wanted = options.clients * options.rounds
    print(f"{final} of {wanted} increments in the name, {dict(answered)}, {seconds:.1f} s")
    return 0 if final == wanted and set(answered) <= {200, 412} else 1


if __name__ == "__main__":
    sys.exit(main())
