"""One deadline a request, and the watch that cancels what overruns it."""

import threading

import pytest

from database import deadline as module
from database.deadline import Deadline, DeadlineWatchdog
from database.errors import DeadlineExceeded

SOON_SECONDS = 0.01
PATIENCE_SECONDS = 10


class Statement:
    """Counts what the watch does to it; `cancelled` and `abandoned` are set when it happens."""

    def __init__(self):
        self.cancelled, self.abandoned = threading.Event(), threading.Event()

    def under(self, watch, seconds=SOON_SECONDS):
        return watch.guard(Deadline(seconds), self.cancelled.set, self.abandoned.set)


@pytest.fixture
def watch():
    own = DeadlineWatchdog()
    yield own
    own.close()


def overrun(watch):
    """Return when the watch has cancelled a statement that was begun now."""
    later = Statement()
    with later.under(watch):
        assert later.cancelled.wait(PATIENCE_SECONDS)


def test_what_remains_is_told_in_seconds_until_there_is_nothing_left():
    now = 100.0
    deadline = Deadline(2.5, clock=lambda: now)
    assert deadline.remaining() == 2.5
    now = 102.0
    assert deadline.remaining() == 0.5
    assert not deadline.passed()
    now = 102.5
    assert deadline.passed()
    with pytest.raises(DeadlineExceeded):
        deadline.remaining()


def test_a_statement_that_overruns_its_deadline_is_cancelled(watch):
    statement = Statement()
    with statement.under(watch) as watched:
        assert statement.cancelled.wait(PATIENCE_SECONDS)
    assert watched.fired


def test_a_statement_that_is_done_in_time_is_left_alone(watch):
    statement = Statement()
    with statement.under(watch) as watched:
        pass
    overrun(watch)
    assert not watched.fired
    assert not statement.cancelled.is_set()


def test_a_statement_that_failed_in_time_is_left_alone(watch):
    statement = Statement()
    with pytest.raises(ZeroDivisionError), statement.under(watch):
        raise ZeroDivisionError
    overrun(watch)
    assert not statement.cancelled.is_set()


def test_a_deadline_that_is_nearer_than_those_under_watch_is_kept(watch):
    far, near = Statement(), Statement()
    with far.under(watch, 60), near.under(watch):
        assert near.cancelled.wait(PATIENCE_SECONDS)
        assert not far.cancelled.is_set()


def test_statements_are_cancelled_in_the_order_of_their_deadlines(watch):
    order = []
    last = threading.Event()

    def cancel(name):
        order.append(name)
        if len(order) == 3:
            last.set()

    for name, seconds in (("third", 0.15), ("first", 0.05), ("second", 0.1)):
        watch.guard(Deadline(seconds), lambda name=name: cancel(name), lambda: None)
    assert last.wait(PATIENCE_SECONDS)
    assert order == ["first", "second", "third"]


def test_a_cancel_that_blocks_does_not_keep_the_others_waiting(watch):
    release = threading.Event()
    frozen = watch.guard(Deadline(SOON_SECONDS), release.wait, lambda: None)
    try:
        overrun(watch)
        assert frozen.fired
    finally:
        release.set()


def test_a_cancel_that_fails_harms_nobody(watch):
    def fail():
        raise OSError

    watch.guard(Deadline(SOON_SECONDS), fail, lambda: None)
    overrun(watch)
    overrun(watch)


def test_a_statement_that_a_cancel_does_not_end_is_abandoned(watch, monkeypatch):
    monkeypatch.setattr(module, "CANCEL_GRACE_SECONDS", SOON_SECONDS)
    statement = Statement()
    with statement.under(watch):
        assert statement.abandoned.wait(PATIENCE_SECONDS)
    assert statement.cancelled.is_set()


def test_a_statement_that_its_cancel_ends_is_not_abandoned(watch, monkeypatch):
    monkeypatch.setattr(module, "CANCEL_GRACE_SECONDS", 30 * SOON_SECONDS)
    ended = Statement()
    with ended.under(watch):
        ended.cancelled.wait(PATIENCE_SECONDS)
    never = Statement()
    with never.under(watch):
        assert never.abandoned.wait(PATIENCE_SECONDS)
    assert not ended.abandoned.is_set()


def test_the_handle_is_freed_after_the_cancel_that_uses_it(watch):
    order = []
    begun, release, freed = threading.Event(), threading.Event(), threading.Event()

    def cancel():
        begun.set()
        release.wait(PATIENCE_SECONDS)
        order.append("cancelled")

    def free():
        order.append("freed")
        freed.set()

    with watch.guard(Deadline(SOON_SECONDS), cancel, lambda: None) as watched:
        assert begun.wait(PATIENCE_SECONDS)
    watched.when_cancelled(free)
    assert order == []
    release.set()
    assert freed.wait(PATIENCE_SECONDS)
    assert order == ["cancelled", "freed"]


def test_the_handle_of_a_statement_that_was_not_cancelled_is_freed_at_once(watch):
    freed = []
    with Statement().under(watch, 60) as watched:
        pass
    watched.when_cancelled(lambda: freed.append(True))
    assert freed == [True]


def test_a_thousand_statements_share_one_thread(watch):
    before = threading.active_count()
    for _ in range(1000):
        with Statement().under(watch, 60):
            pass
    assert threading.active_count() <= before + 1


def test_close_ends_the_thread_and_cancels_nothing(watch):
    statement = Statement()
    statement.under(watch, 60)
    thread = next(t for t in threading.enumerate() if t.name == "deadline")
    watch.close()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert not statement.cancelled.is_set()


def test_a_watch_serves_from_many_threads_at_once(watch):
    statements = [Statement() for _ in range(50)]
    gate = threading.Barrier(len(statements))

    def run(statement):
        gate.wait()
        with statement.under(watch):
            statement.cancelled.wait(PATIENCE_SECONDS)

    threads = [threading.Thread(target=run, args=(s,)) for s in statements]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(s.cancelled.is_set() for s in statements)
