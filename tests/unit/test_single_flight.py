"""Identical concurrent reads share one call, and no answer is older than its request."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from database.deadline import Deadline
from database.errors import DatabaseError, DeadlineExceeded, Kind
from database.single_flight import LONGEST_WAIT_SECONDS, SingleFlight

LONG = 20.0


class Database:
    """Numbers its calls; each returns once `open` is set."""

    def __init__(self):
        self.calls = 0
        self.open = threading.Event()
        self.started = threading.Semaphore(0)
        self.failure = None

    def call(self):
        self.calls += 1
        number = self.calls
        self.started.release()
        assert self.open.wait(LONG)
        if self.failure:
            raise self.failure
        return number


@pytest.fixture
def database():
    made = Database()
    yield made
    made.open.set()


@pytest.fixture
def threads():
    with ThreadPoolExecutor(32) as pool:
        yield pool


def until_queued(reads, joined):
    """Wait until the next read of "q" has an owner and `joined` readers."""
    give_up_at = time.monotonic() + LONG
    while time.monotonic() < give_up_at:
        following = reads._next.get("q")
        if following is not None and following.joined == joined:
            return
        time.sleep(0.001)
    raise AssertionError(f"the next read never had {joined} readers")


def test_a_single_reader_makes_its_own_call(database):
    database.open.set()
    reads = SingleFlight()
    assert reads.get("q", database.call, Deadline(LONG)) == (1, False)
    assert reads.get("q", database.call, Deadline(LONG)) == (2, False)


def test_reads_that_arrive_during_a_call_share_the_next_call(database, threads, monkeypatch):
    monkeypatch.setattr("database.single_flight.LONGEST_WAIT_SECONDS", LONG)
    reads = SingleFlight()
    read = lambda: reads.get("q", database.call, Deadline(LONG))  # noqa: E731
    first = threads.submit(read)
    assert database.started.acquire(timeout=LONG)
    later = [threads.submit(read) for _ in range(20)]
    until_queued(reads, 19)
    database.open.set()
    assert first.result(LONG) == (1, False)
    answers = [f.result(LONG) for f in later]
    assert [answer for answer, _ in answers] == [2] * 20
    assert sorted(joined for _, joined in answers) == [False] + [True] * 19


def test_every_answer_is_read_after_its_request(threads):
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


def test_reads_of_other_keys_do_not_wait(database, threads):
    reads = SingleFlight()
    blocked = threads.submit(reads.get, ("q", "caller 1"), database.call, Deadline(LONG))
    assert database.started.acquire(timeout=LONG)
    assert reads.get(("q", "caller 2"), lambda: "other", Deadline(LONG)) == ("other", False)
    database.open.set()
    blocked.result(LONG)


def test_a_call_that_hangs_does_not_block_the_next(database, threads):
    reads = SingleFlight()
    hung = threads.submit(reads.get, "q", database.call, Deadline(LONG))
    assert database.started.acquire(timeout=LONG)
    began = time.monotonic()
    assert reads.get("q", lambda: "here", Deadline(LONG)) == ("here", False)
    assert time.monotonic() - began < LONGEST_WAIT_SECONDS + 1
    database.open.set()
    assert hung.result(LONG) == (1, False)


def test_a_failure_reaches_every_reader_that_shares_the_call(database, threads, monkeypatch):
    monkeypatch.setattr("database.single_flight.LONGEST_WAIT_SECONDS", LONG)
    reads = SingleFlight()
    database.failure = DatabaseError(Kind.LOST)
    read = lambda: reads.get("q", database.call, Deadline(LONG))  # noqa: E731
    several = [threads.submit(read)]
    assert database.started.acquire(timeout=LONG)
    several += [threads.submit(read) for _ in range(10)]
    until_queued(reads, 9)
    database.open.set()
    wait(several, LONG)
    assert {type(f.exception()) for f in several} == {DatabaseError}
    assert database.calls == 2
    database.failure = None
    assert read() == (3, False)


def test_a_reader_s_deadline_does_not_fail_the_other_readers(database, threads, monkeypatch):
    monkeypatch.setattr("database.single_flight.LONGEST_WAIT_SECONDS", LONG)
    reads = SingleFlight()
    first = threads.submit(reads.get, "q", database.call, Deadline(LONG))
    assert database.started.acquire(timeout=LONG)

    def passes():
        raise DeadlineExceeded("its own deadline")

    hurried = threads.submit(reads.get, "q", passes, Deadline(LONG))
    until_queued(reads, 0)
    patient = threads.submit(reads.get, "q", lambda: "patient", Deadline(LONG))
    until_queued(reads, 1)
    with pytest.raises(DeadlineExceeded):
        reads.get("q", database.call, Deadline(0.01))
    database.open.set()
    assert first.result(LONG) == (1, False)
    assert type(hurried.exception(LONG)) is DeadlineExceeded
    assert patient.result(LONG) == ("patient", False)


def test_no_answer_is_kept(database):
    database.open.set()
    reads = SingleFlight()
    for key in range(100):
        reads.get(key, database.call, Deadline(LONG))
    assert not reads._running and not reads._next


def test_below_at_once_reads_do_not_wait_for_each_other_and_above_it_they_share(database, threads):
    reads = SingleFlight(at_once=2)
    running = [threads.submit(reads.get, "q", database.call, Deadline(LONG)) for _ in range(2)]
    for _ in running:
        assert database.started.acquire(timeout=LONG)
    queued = [threads.submit(reads.get, "q", lambda: 3, Deadline(LONG)) for _ in range(5)]
    answers = [f.result(LONG) for f in queued]
    assert {number for number, _ in answers} == {3}
    database.open.set()
    assert {f.result(LONG) for f in running} == {(1, False), (2, False)}
    assert not reads._running
