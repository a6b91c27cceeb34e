"""Many threads on few connections. bench/pool_pressure.py is the longer form."""

from __future__ import annotations

import statistics

from testkit.pressure import rush, steady
from tests.chaos.conftest import Manage

# The bench asserts the promises: 3 x the median for the longest wait, and 50 ms. A thread with a
# connection may still wait for the interpreter's lock, which is not fair, so here one wait in 100
# may be longer; in a queue with random order, one in 100 exceeds six times the median.
LONGEST_OVER_MEDIAN = 3.0
SLOWEST_REFUSAL = 1.0


def test_64_threads_on_8_connections_are_served_in_order(manage: Manage):
    load = steady(manage(max_size=8), threads=64, seconds=2.0)
    assert load.errors == {}
    assert load.readings > 100
    assert load.broken == []
    all_but_a_hundredth = statistics.quantiles(load.turns, n=100)[-1]
    assert all_but_a_hundredth <= LONGEST_OVER_MEDIAN * statistics.median(load.turns)


def test_1000_threads_on_8_connections_all_end_and_most_are_refused_at_once(manage: Manage):
    crowd = rush(manage(max_size=8, max_waiting=50), threads=1_000, hold=0.2)
    assert crowd.errors == {}
    assert crowd.broken == []
    assert len(crowd.answered) + len(crowd.refused) == 1_000
    assert len(crowd.answered) >= 58
    assert crowd.refused
    assert max(crowd.refused) < SLOWEST_REFUSAL
