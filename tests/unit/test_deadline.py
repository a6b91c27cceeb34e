"""The deadline of a request, and the watchdog that cancels statements at it."""

import threading

import pytest

from database import deadline as module
from database.deadline import INFINITE, Deadline, DeadlineWatchdog, WatchedCall
from database.errors import DeadlineExceeded

SOON_SECONDS = 0.01
PATIENCE_SECONDS = 10


class Statement:
    """A watched statement; `cancelled` and `abandoned` are set when the watchdog does so."""

    def __init__(self):
        self.cancelled, self.abandoned = threading.Event(), threading.Event()

    def under(self, watchdog, seconds=SOON_SECONDS):
        return watchdog.guard(Deadline(seconds), self.cancelled.set, self.abandoned.set)


@pytest.fixture
def watchdog():
    own = DeadlineWatchdog()
    yield own
    own.close()


def overrun(watchdog):
    """Return when the watchdog has cancelled a statement that begins now."""
    later = Statement()
    with later.under(watchdog):
        assert later.cancelled.wait(PATIENCE_SECONDS)


def test_remaining_is_in_seconds_until_the_deadline_has_passed():
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


def test_a_statement_is_cancelled_at_its_deadline(watchdog):
    statement = Statement()
    with statement.under(watchdog) as watched:
        assert statement.cancelled.wait(PATIENCE_SECONDS)
    assert watched.fired


def test_a_statement_that_ends_in_time_is_not_cancelled(watchdog):
    statement = Statement()
    with statement.under(watchdog) as watched:
        pass
    overrun(watchdog)
    assert not watched.fired
    assert not statement.cancelled.is_set()


def test_a_statement_that_fails_in_time_is_not_cancelled(watchdog):
    statement = Statement()
    with pytest.raises(ZeroDivisionError), statement.under(watchdog):
        raise ZeroDivisionError
    overrun(watchdog)
    assert not statement.cancelled.is_set()


def test_a_later_statement_with_an_earlier_deadline_is_cancelled_first(watchdog):
    far, near = Statement(), Statement()
    with far.under(watchdog, 60), near.under(watchdog):
        assert near.cancelled.wait(PATIENCE_SECONDS)
        assert not far.cancelled.is_set()


def test_statements_are_cancelled_in_the_order_of_their_deadlines(watchdog):
    order = []
    last = threading.Event()

    def cancel(name):
        order.append(name)
        if len(order) == 3:
            last.set()

    for name, seconds in (("third", 0.15), ("first", 0.05), ("second", 0.1)):
        watchdog.guard(Deadline(seconds), lambda name=name: cancel(name), lambda: None)
    assert last.wait(PATIENCE_SECONDS)
    assert order == ["first", "second", "third"]


def test_a_cancel_that_blocks_does_not_delay_the_others(watchdog):
    release = threading.Event()
    frozen = watchdog.guard(Deadline(SOON_SECONDS), release.wait, lambda: None)
    try:
        overrun(watchdog)
        assert frozen.fired
    finally:
        release.set()


def test_a_cancel_that_fails_does_not_stop_the_watchdog(watchdog):
    def fail():
        raise OSError

    watchdog.guard(Deadline(SOON_SECONDS), fail, lambda: None)
    overrun(watchdog)
    overrun(watchdog)


def test_a_statement_that_survives_its_cancel_is_abandoned(watchdog, monkeypatch):
    monkeypatch.setattr(module, "CANCEL_GRACE_SECONDS", SOON_SECONDS)
    statement = Statement()
    with statement.under(watchdog):
        assert statement.abandoned.wait(PATIENCE_SECONDS)
    assert statement.cancelled.is_set()


def test_a_statement_that_ends_on_its_cancel_is_not_abandoned(watchdog, monkeypatch):
    monkeypatch.setattr(module, "CANCEL_GRACE_SECONDS", 30 * SOON_SECONDS)
    ended = Statement()
    with ended.under(watchdog):
        ended.cancelled.wait(PATIENCE_SECONDS)
    never = Statement()
    with never.under(watchdog):
        assert never.abandoned.wait(PATIENCE_SECONDS)
    assert not ended.abandoned.is_set()


def test_the_handle_is_freed_after_the_cancel_that_uses_it(watchdog):
    order = []
    begun, release, freed = threading.Event(), threading.Event(), threading.Event()

    def cancel():
        begun.set()
        release.wait(PATIENCE_SECONDS)
        order.append("cancelled")

    def free():
        order.append("freed")
        freed.set()

    with watchdog.guard(Deadline(SOON_SECONDS), cancel, lambda: None) as watched:
        assert begun.wait(PATIENCE_SECONDS)
    watched.when_cancelled(free)
    assert order == []
    release.set()
    assert freed.wait(PATIENCE_SECONDS)
    assert order == ["cancelled", "freed"]


def test_the_handle_of_a_statement_that_was_not_cancelled_is_freed_at_once(watchdog):
    freed = []
    with Statement().under(watchdog, 60) as watched:
        pass
    watched.when_cancelled(lambda: freed.append(True))
    assert freed == [True]


def test_a_thousand_statements_share_one_thread(watchdog):
    before = threading.active_count()
    for _ in range(1000):
        with Statement().under(watchdog, 60):
            pass
    assert threading.active_count() <= before + 1


def test_close_ends_the_thread_and_cancels_nothing(watchdog):
    before = set(threading.enumerate())
    statement = Statement()
    statement.under(watchdog, 60)
    (thread,) = set(threading.enumerate()) - before
    watchdog.close()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert not statement.cancelled.is_set()


def test_a_watchdog_is_safe_to_use_from_many_threads(watchdog):
    statements = [Statement() for _ in range(50)]
    gate = threading.Barrier(len(statements))

    def run(statement):
        gate.wait()
        with statement.under(watchdog):
            statement.cancelled.wait(PATIENCE_SECONDS)

    threads = [threading.Thread(target=run, args=(s,)) for s in statements]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(s.cancelled.is_set() for s in statements)


class EndsDuringFire(WatchedCall):
    """A call that ends while fire() runs: at the first or second look at its deadline, before or
    after fire() has the value."""

    def __init__(self, watchdog, look, after):
        self._at, self._looks, self.late = INFINITE, 0, None
        self._look, self._after = look, after
        super().__init__(watchdog)

    @property
    def at(self):
        value = self._at
        self._looks += 1
        if self._looks == self._look and self.late is None:
            self.late = False  # end() looks too
            self.late = self.end()
            return value if self._after else self._at
        return value

    @at.setter
    def at(self, value):
        self._at = value


@pytest.mark.parametrize(
    ("look", "after", "late"),
    [(1, False, False), (1, True, False), (2, False, True), (2, True, True)],
)
def test_a_call_that_ends_during_fire_is_late_or_not_cancelled(watchdog, look, after, late):
    call = EndsDuringFire(watchdog, look, after)
    cancelled, freed = threading.Event(), threading.Event()
    deadline = Deadline(0)
    call.begin(deadline, cancelled.set, lambda: None)
    call.fire(deadline.at)
    assert call.late is late
    call.when_cancelled(freed.set)
    assert freed.wait(PATIENCE_SECONDS)
    assert late or not cancelled.is_set()
    following = Deadline(60)
    call.begin(following, cancelled.set, lambda: None)
    assert call.end() is late
