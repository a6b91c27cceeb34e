"""While a database is down, one caller at a time probes it, and the others fail at once."""

import threading

import pytest

from database.circuit_breaker import FIRST_PAUSE, LONGEST_PAUSE, THRESHOLD, CircuitBreaker
from database.errors import Unavailable


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return CircuitBreaker(clock=clock)


@pytest.fixture
def opened(breaker):
    for _ in range(THRESHOLD):
        breaker.admit()
        breaker.record_failure()
    return breaker


def refused(breaker):
    with pytest.raises(Unavailable) as raised:
        breaker.admit()
    return raised.value


def test_it_opens_after_three_failures_in_a_row_and_not_before(breaker):
    for _ in range(THRESHOLD - 1):
        breaker.record_failure()
    breaker.admit()
    assert breaker.state == "closed"
    breaker.record_failure()
    assert breaker.state == "open"


def test_a_success_resets_the_count_of_failures(breaker):
    for _ in range(10):
        breaker.record_failure()
        breaker.record_success()
    assert breaker.state == "closed"


def test_while_open_a_caller_is_refused_at_once_with_a_retry_after(opened):
    assert refused(opened).retry_after >= 1


def test_half_open_one_caller_probes_and_the_others_are_refused(opened, clock):
    assert opened.state == "open"
    clock.now += FIRST_PAUSE
    assert opened.state == "half-open"
    opened.admit()
    for _ in range(3):
        refused(opened)


def test_a_probe_that_succeeds_closes_it(opened, clock):
    clock.now += FIRST_PAUSE
    opened.admit()
    opened.record_success()
    assert opened.state == "closed"
    opened.admit()
    opened.admit()


def test_each_failed_probe_doubles_the_pause_up_to_the_longest(opened, clock):
    pause = FIRST_PAUSE
    for _ in range(8):
        clock.now += pause * 0.99
        refused(opened)
        clock.now += pause * 0.02
        opened.admit()
        opened.record_failure()
        pause = min(pause * 2, LONGEST_PAUSE)
    assert pause == LONGEST_PAUSE


def test_closing_resets_the_pause(opened, clock):
    for _ in range(6):
        clock.now += LONGEST_PAUSE
        opened.admit()
        opened.record_failure()
    clock.now += LONGEST_PAUSE
    opened.admit()
    opened.record_success()
    for _ in range(THRESHOLD):
        opened.record_failure()
    clock.now += FIRST_PAUSE
    opened.admit()


def test_of_many_concurrent_callers_one_is_the_probe(opened, clock):
    clock.now += FIRST_PAUSE
    gate = threading.Barrier(16)
    admitted = []

    def connect():
        gate.wait()
        try:
            opened.admit()
        except Unavailable:
            return
        admitted.append(True)

    threads = [threading.Thread(target=connect) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert admitted == [True]
