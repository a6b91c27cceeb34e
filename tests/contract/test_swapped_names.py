"""Clients that swap two unique names between two customers: conflicts and deadlocks, and answers.

Each write locks its own customer and waits for the name of the other, whose write waits for it.
"""

import itertools
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from testkit.api_client import Api, one, unique_name

CLIENTS = 8
SECONDS = 4.0
LONGEST_SECONDS = 20.0  # of one request on a busy machine; its deadline is 30


def swap(url: str, customers: tuple[int, int], names: tuple[str, str], first: int) -> Counter:
    """Statuses of one client that renames first one, then the other customer, until time is up."""
    statuses: Counter = Counter()
    ends = time.monotonic() + SECONDS
    with Api(url) as api:
        for turn in itertools.count(first):
            if time.monotonic() > ends:
                break
            customer, name = customers[turn % 2], names[turn // 2 % 2]
            began = time.monotonic()
            reply = api.patch(f"/customer/{customer}", json={"CustomerName": name})
            assert time.monotonic() - began < LONGEST_SECONDS
            assert reply.status_code != 503 or "Retry-After" in reply.headers
            statuses[reply.status_code] += 1
    return statuses


def test_every_swap_of_two_names_gets_an_answer_soon(api):
    names = unique_name(), unique_name()
    customers = tuple(api.new_customer(name)["CustomerID"] for name in names)
    with ThreadPoolExecutor(CLIENTS) as crowd:
        clients = [crowd.submit(swap, api.url, customers, names, n) for n in range(CLIENTS)]
        statuses = sum((client.result() for client in clients), Counter())
    assert set(statuses) <= {200, 409, 503}, statuses
    # A rename to a name that is taken is a conflict, and reported as one.
    assert statuses[200] + statuses[409] > statuses[503], statuses
    found = {one(api.get(f"/customer/{customer}"))["CustomerName"] for customer in customers}
    assert found <= set(names)
    assert len(found) == 2
