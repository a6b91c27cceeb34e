"""Identical reads that wait together are asked once, and none is answered with older data."""

import linecache
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from database.deadline import Deadline
from database.errors import DatabaseError, DeadlineExceeded, Kind
from database.single_flight import LONGEST_WAIT_SECONDS, SingleFlight

LONG = 20.0


class Database:
    """Answers when it is let; counts what it is asked."""

    def __init__(self):
        self.asked = 0
        self.let = threading.Event()
        self.begun = threading.Semaphore(0)
        self.failure = None

    def ask(self):
        self.asked += 1
        number = self.asked
        self.begun.release()
        assert self.let.wait(LONG)
        if self.failure:
            raise self.failure
        return number


@pytest.fixture
def database():
    made = Database()
    yield made
    made.let.set()


@pytest.fixture
def threads():
    with ThreadPoolExecutor(32) as pool:
        yield pool


def joined_by(number):
    """Wait until `number` threads wait for another's read."""
    give_up = time.monotonic() + LONG
    while time.monotonic() < give_up:
        # Nothing but their stacks tells.
        frames = sys._current_frames().values()
        lines = [linecache.getline(f.f_code.co_filename, f.f_lineno) for f in frames]
        if sum("_ended.acquire" in line for line in lines) >= number:
            return
        threading.Event().wait(0.001)
    raise AssertionError("they never came")


def test_who_asks_alone_asks_the_database(database):
    database.let.set()
    reads = SingleFlight()
    assert reads.get("q", database.ask, Deadline(LONG)) == (1, False)
    assert reads.get("q", database.ask, Deadline(LONG)) == (2, False)


def test_all_who_come_during_a_read_share_the_next(database, threads, monkeypatch):
    monkeypatch.setattr("database.single_flight.LONGEST_WAIT_SECONDS", LONG)
    reads = SingleFlight()
    ask = lambda: reads.get("q", database.ask, Deadline(LONG))  # noqa: E731
    first = threads.submit(ask)
    assert database.begun.acquire(timeout=LONG)
    later = [threads.submit(ask) for _ in range(20)]
    joined_by(20)
    database.let.set()
    assert first.result(LONG) == (1, False)
    answers = [f.result(LONG) for f in later]
    assert [answer for answer, _ in answers] == [2] * 20
    assert sorted(joined for _, joined in answers) == [False] + [True] * 19


def test_an_answer_is_of_a_read_begun_after_it_was_asked_for(threads):
    reads, value, lock = SingleFlight(), [0], threading.Lock()

    def look():
        seen = value[0]
        time.sleep(random.uniform(0, 0.002))
        return seen

    def write_then_read(_):
        with lock:
            value[0] += 1
            mine = value[0]
        return reads.get("q", look, Deadline(LONG))[0] >= mine

    assert all(threads.map(write_then_read, range(2000)))


def test_other_questions_are_not_waited_for(database, threads):
    reads = SingleFlight()
    blocked = threads.submit(reads.get, ("q", "caller 1"), database.ask, Deadline(LONG))
    assert database.begun.acquire(timeout=LONG)
    assert reads.get(("q", "caller 2"), lambda: "other", Deadline(LONG)) == ("other", False)
    database.let.set()
    blocked.result(LONG)


def test_a_read_that_hangs_does_not_keep_the_next_from_beginning(database, threads):
    reads = SingleFlight()
    hung = threads.submit(reads.get, "q", database.ask, Deadline(LONG))
    assert database.begun.acquire(timeout=LONG)
    began = time.monotonic()
    assert reads.get("q", lambda: "here", Deadline(LONG)) == ("here", False)
    assert time.monotonic() - began < LONGEST_WAIT_SECONDS + 1
    database.let.set()
    assert hung.result(LONG) == (1, False)


def test_a_failure_is_of_all_who_share_the_read(database, threads, monkeypatch):
    monkeypatch.setattr("database.single_flight.LONGEST_WAIT_SECONDS", LONG)
    reads = SingleFlight()
    database.failure = DatabaseError(Kind.LOST)
    ask = lambda: reads.get("q", database.ask, Deadline(LONG))  # noqa: E731
    several = [threads.submit(ask)]
    assert database.begun.acquire(timeout=LONG)
    several += [threads.submit(ask) for _ in range(10)]
    joined_by(10)
    database.let.set()
    wait(several, LONG)
    assert {type(f.exception()) for f in several} == {DatabaseError}
    assert database.asked == 2
    database.failure = None
    assert ask() == (3, False)


def test_the_deadline_of_one_is_not_that_of_the_others(database, threads, monkeypatch):
    monkeypatch.setattr("database.single_flight.LONGEST_WAIT_SECONDS", LONG)
    reads = SingleFlight()
    first = threads.submit(reads.get, "q", database.ask, Deadline(LONG))
    assert database.begun.acquire(timeout=LONG)

    def passes():
        raise DeadlineExceeded("as told")

    hurried = threads.submit(reads.get, "q", passes, Deadline(LONG))
    joined_by(1)
    patient = threads.submit(reads.get, "q", lambda: "patient", Deadline(LONG))
    joined_by(2)
    with pytest.raises(DeadlineExceeded):
        reads.get("q", database.ask, Deadline(0.01))
    database.let.set()
    assert first.result(LONG) == (1, False)
    assert type(hurried.exception(LONG)) is DeadlineExceeded
    assert patient.result(LONG) == ("patient", False)


def test_nothing_is_remembered(database):
    database.let.set()
    reads = SingleFlight()
    for question in range(100):
        reads.get(question, database.ask, Deadline(LONG))
    assert not reads._under_way and not reads._next
