"""No memory, descriptor or thread is leaked. bench/steady_state.py is the longer form."""

from __future__ import annotations

from embedded.cluster import EmbeddedCluster
from testkit.steady_state import Holding, call_over_and_over, open_and_close
from tests.chaos.conftest import Manage

NOISE_BYTES = 1 << 20


def assert_same(before: Holding, after: Holding) -> None:
    assert after.descriptors == before.descriptors
    assert after.threads == before.threads
    assert after.resident <= before.resident + NOISE_BYTES


def test_opening_and_closing_managers_leaks_nothing(cluster: EmbeddedCluster):
    text = cluster.connection_string()
    open_and_close(text, 5)
    before = Holding.now()
    open_and_close(text, 20)
    assert_same(before, Holding.now())


def test_calls_leak_nothing(manage: Manage):
    manager = manage()
    call_over_and_over(manager, 1_000)
    before = Holding.now()
    call_over_and_over(manager, 4_000)
    assert_same(before, Holding.now())
