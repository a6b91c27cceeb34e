"""A probe: one at a time, in the background; the answer is the last known state and its age."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from database.errors import DatabaseError, Kind, NotConfigured, Unavailable
from resources.health import KEPT_SECONDS, NOT_CONFIGURED, Probe

PATIENCE = 5.0


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Database:
    """Answers at once while `open` is set, and hangs while it is not; counts the probes."""

    def __init__(self):
        self.open = threading.Event()
        self.open.set()
        self.probed = 0
        self.failure = None

    def __call__(self):
        self.probed += 1
        self.open.wait()
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def database():
    made = Database()
    yield made
    made.open.set()


def test_a_database_that_answers_is_ready():
    state = Probe(lambda: None).state(PATIENCE)
    assert state["state"] == "ready"
    assert state["latency_ms"] >= 0
    assert state["age_seconds"] >= 0


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (DatabaseError(Kind.RESUMING), "resuming"),
        (DatabaseError(Kind.LOGIN_REFUSED), "login refused"),
        (DatabaseError(Kind.NOT_OPEN), "login refused"),
        (DatabaseError(Kind.UNREACHABLE), "unreachable"),
        (Unavailable("no token"), "unreachable"),
        (RuntimeError("unforeseen"), "unreachable"),
        (NotConfigured("set WWIF"), NOT_CONFIGURED),
    ],
)
def test_why_a_database_is_not_ready_is_told_in_a_word(database, error, state):
    database.failure = error
    found = Probe(database).state(PATIENCE)
    assert (found["state"], found["latency_ms"]) == (state, None)


def test_a_slow_login_is_waited_for_in_the_background(database):
    """Slower than any answer may be: it is "checking" at first, and ready in the end."""
    database.open.clear()
    probe = Probe(database)
    began = time.monotonic()
    assert probe.state(0.01) == {"state": "checking", "latency_ms": None, "age_seconds": None}
    assert time.monotonic() - began < 0.1
    database.open.set()
    assert probe.state(PATIENCE)["state"] == "ready"
    assert database.probed == 1


def test_the_last_known_state_is_served_with_its_age_while_a_probe_hangs(database):
    clock = Clock()
    probe = Probe(database, clock=clock)
    probe.state(PATIENCE)
    database.open.clear()
    clock.now += 20
    began = time.monotonic()
    for _ in range(3):
        state = probe.state(0.01)
        assert (state["state"], state["age_seconds"]) == ("ready", 20.0)
    assert time.monotonic() - began < 1.0
    assert database.probed == 2
    database.failure = DatabaseError(Kind.UNREACHABLE)
    database.open.set()
    assert probe.state(PATIENCE) == {"state": "unreachable", "latency_ms": None, "age_seconds": 0.0}


def test_many_who_ask_at_once_probe_the_database_once(database):
    database.open.clear()
    probe = Probe(database)
    with ThreadPoolExecutor(8) as crowd:
        states = [crowd.submit(probe.state, PATIENCE) for _ in range(8)]
        database.open.set()
        assert {state.result()["state"] for state in states} == {"ready"}
    assert database.probed == 1


def test_a_state_is_kept_for_a_moment_and_no_longer(database):
    clock = Clock()
    probe = Probe(database, clock=clock)
    probe.state(PATIENCE)
    clock.now += KEPT_SECONDS - 0.1
    probe.state(PATIENCE)
    assert database.probed == 1
    clock.now += 0.2
    probe.state(PATIENCE)
    assert database.probed == 2
