"""A probe: asked by one at a time, kept for a moment, never waited for longer than it may take."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from database.errors import DatabaseError, Kind, NotConfigured, Unavailable
from resources.health import KEPT_SECONDS, NOT_CONFIGURED, TIMEOUT_SECONDS, Probe


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_database_that_answers_is_ready():
    state = Probe(lambda: None).state()
    assert state["state"] == "ready"
    assert state["latency_ms"] >= 0


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (DatabaseError(Kind.RESUMING), "resuming"),
        (DatabaseError(Kind.LOGIN_REFUSED), "login refused"),
        (DatabaseError(Kind.UNREACHABLE), "unreachable"),
        (Unavailable("no token"), "unreachable"),
        (RuntimeError("unforeseen"), "unreachable"),
        (NotConfigured("set WWIF"), "not configured"),
    ],
)
def test_why_a_database_is_not_ready_is_told_in_a_word(error, state):
    def ask():
        raise error

    assert Probe(ask).state() == {"state": state, "latency_ms": None}
    assert NOT_CONFIGURED["state"] == "not configured"


def test_many_who_ask_at_once_ask_the_database_once():
    asked, gate = [], threading.Event()

    def ask():
        asked.append(1)
        gate.wait()

    probe = Probe(ask)
    with ThreadPoolExecutor(8) as crowd:
        states = [crowd.submit(probe.state) for _ in range(8)]
        gate.set()
        assert {state.result()["state"] for state in states} == {"ready"}
    assert len(asked) == 1


def test_an_answer_is_kept_for_a_moment_and_no_longer():
    asked, clock = [], Clock()
    probe = Probe(lambda: asked.append(1), clock=clock)
    probe.state()
    clock.now += KEPT_SECONDS - 0.1
    probe.state()
    assert len(asked) == 1
    clock.now += 0.2
    probe.state()
    assert len(asked) == 2


def test_a_database_that_hangs_is_unreachable_and_asked_no_second_time_until_it_answers():
    asked, gate, clock = [], threading.Event(), Clock()

    def ask():
        asked.append(1)
        gate.wait()

    probe = Probe(ask, clock=clock)
    probe.begin()
    clock.now += TIMEOUT_SECONDS
    assert probe.state()["state"] == "unreachable"
    clock.now += 10 * KEPT_SECONDS
    assert probe.state()["state"] == "unreachable"
    assert len(asked) == 1
    gate.set()
