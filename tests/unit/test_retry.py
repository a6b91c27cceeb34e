"""When a call is tried again, how long it waits, and when it gives up."""

import pytest

from database import retry
from database.deadline import Deadline
from database.errors import SQL_SERVER, DatabaseError, DeadlineExceeded, Kind, Unavailable
from database.retry import MOST_ATTEMPTS

TRANSIENT = [kind for kind in Kind if kind.transient]
LASTING = [kind for kind in Kind if not kind.transient]


class Attempts:
    """A call that fails as told and then gives "done"; counts, and keeps what was slept."""

    def __init__(self, *failures):
        self._failures = list(failures)
        self.made = 0
        self.slept = []
        self.observed = []

    def __call__(self):
        self.made += 1
        if self._failures:
            raise self._failures.pop(0)
        return "done"

    def run(self, first, *, deadline=30.0):
        return retry(
            self,
            first,
            deadline=Deadline(deadline),
            observe=self.observed.append,
            sleep=self.slept.append,
        )


def failure(kind, *, wait=0.0):
    return DatabaseError(kind, wait=wait)


@pytest.mark.parametrize("kind", TRANSIENT)
def test_a_transient_failure_is_tried_again(kind):
    attempts = Attempts(failure(kind), failure(kind))
    assert attempts.run(failure(kind)) == "done"
    assert attempts.made == 3
    assert len(attempts.slept) == 3


@pytest.mark.parametrize("kind", LASTING)
def test_a_failure_that_lasts_ends_the_attempts_as_itself(kind):
    lasting = failure(kind)
    attempts = Attempts(lasting)
    with pytest.raises(DatabaseError) as raised:
        attempts.run(failure(Kind.LOST))
    assert raised.value is lasting
    assert attempts.made == 1


def test_what_is_no_failure_of_the_database_is_not_tried_again():
    attempts = Attempts(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        attempts.run(failure(Kind.LOST))
    assert attempts.made == 1


def test_every_failure_that_is_tried_again_is_observed_once():
    first, second = failure(Kind.LOST), failure(Kind.CONTENTION)
    attempts = Attempts(second)
    attempts.run(first)
    assert attempts.observed == [first, second]


def test_throttling_waits_at_least_as_long_as_its_source_asks():
    attempts = Attempts()
    attempts.run(failure(Kind.THROTTLED, wait=10), deadline=60)
    assert 10 <= attempts.slept[0] <= 12.5


def test_waits_grow_stay_below_two_seconds_and_are_spread_over_their_whole_range():
    runs = [Attempts(*[failure(Kind.LOST)] * 7) for _ in range(200)]
    for attempts in runs:
        attempts.run(failure(Kind.LOST), deadline=1e6)
    by_attempt = list(zip(*(attempts.slept for attempts in runs), strict=True))
    for number, waits in enumerate(by_attempt):
        highest = min(0.05 * 2**number, 2.0)
        assert max(waits) <= highest
        assert min(waits) < 0.2 * highest
        assert max(waits) > 0.8 * highest


def test_a_wait_that_the_deadline_would_cut_is_not_begun():
    attempts = Attempts()
    with pytest.raises(Unavailable) as raised:
        attempts.run(failure(Kind.THROTTLED, wait=10), deadline=5)
    assert attempts.slept == []
    assert attempts.made == 0
    assert raised.value.retry_after >= 10


def test_retry_after_is_at_least_a_second():
    with pytest.raises(Unavailable) as raised:
        Attempts().run(failure(Kind.THROTTLED, wait=0.9), deadline=0.8)
    assert raised.value.retry_after == 1


def test_a_failure_past_the_deadline_is_the_deadline_s():
    with pytest.raises(DeadlineExceeded):
        Attempts().run(failure(Kind.LOST), deadline=-1)


@pytest.mark.parametrize("kind", MOST_ATTEMPTS)
def test_attempts_of_a_kind_that_may_last_are_few(kind):
    attempts = Attempts(*[failure(kind)] * 1000)
    with pytest.raises(Unavailable) as raised:
        attempts.run(failure(kind), deadline=1e6)
    assert attempts.made == MOST_ATTEMPTS[kind] - 1
    assert raised.value.failure.kind is kind


def test_a_wrong_database_name_costs_seconds_not_the_deadline():
    """4060 is transient, for a database fails over; the wait of its row is kept."""
    wait = SQL_SERVER[4060].wait
    attempts = Attempts(*[failure(Kind.NOT_OPEN, wait=wait)] * 1000)
    with pytest.raises(Unavailable):
        attempts.run(failure(Kind.NOT_OPEN, wait=wait), deadline=30)
    assert 2 <= sum(attempts.slept) <= 5


def test_conflicts_that_take_long_are_reported_before_the_attempts_are_used_up(monkeypatch):
    """Each attempt may wait for its locks behind all the others."""
    monkeypatch.setattr(retry, "CONTENTION_SECONDS", 0.0)
    attempts = Attempts(*[failure(Kind.CONTENTION)] * 1000)
    with pytest.raises(Unavailable):
        attempts.run(failure(Kind.CONTENTION), deadline=1e6)
    assert attempts.made == 0
