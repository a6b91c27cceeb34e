"""While a database is known to be down, one probe at a time goes out and the rest fail at once."""

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
        breaker.failed()
    return breaker


def refused(breaker):
    with pytest.raises(Unavailable) as raised:
        breaker.admit()
    return raised.value


def test_it_opens_after_three_failures_in_a_row_and_not_before(breaker):
    for _ in range(THRESHOLD - 1):
        breaker.failed()
    breaker.admit()
    assert not breaker.open
    breaker.failed()
    assert breaker.open


def test_a_success_in_between_begins_the_count_anew(breaker):
    for _ in range(10):
        breaker.failed()
        breaker.succeeded()
    assert not breaker.open


def test_while_open_a_caller_is_refused_at_once_and_told_when_to_come_back(opened):
    assert refused(opened).retry_after >= 1


def test_after_the_pause_one_probe_goes_out_and_the_rest_are_refused(opened, clock):
    clock.now += FIRST_PAUSE
    opened.admit()
    for _ in range(3):
        refused(opened)


def test_a_probe_that_succeeds_closes_it(opened, clock):
    clock.now += FIRST_PAUSE
    opened.admit()
    opened.succeeded()
    assert not opened.open
    opened.admit()
    opened.admit()


def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest(opened, clock):
    pause = FIRST_PAUSE
    for _ in range(8):
        clock.now += pause * 0.99
        refused(opened)
        clock.now += pause * 0.02
        opened.admit()
        opened.failed()
        pause = min(pause * 2, LONGEST_PAUSE)
    assert pause == LONGEST_PAUSE


def test_once_closed_the_pause_is_short_again(opened, clock):
    for _ in range(6):
        clock.now += LONGEST_PAUSE
        opened.admit()
        opened.failed()
    clock.now += LONGEST_PAUSE
    opened.admit()
    opened.succeeded()
    for _ in range(THRESHOLD):
        opened.failed()
    clock.now += FIRST_PAUSE
    opened.admit()


def test_of_many_that_ask_at_once_one_is_the_probe(opened, clock):
    clock.now += FIRST_PAUSE
    gate = threading.Barrier(16)
    admitted = []

    def ask():
        gate.wait()
        try:
            opened.admit()
        except Unavailable:
            return
        admitted.append(True)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert admitted == [True]
