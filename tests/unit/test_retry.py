"""Which errors are retried, how long each wait is, and when retrying ends."""

import pytest

from database.deadline import Deadline
from database.errors import SQL_SERVER, DatabaseError, DeadlineExceeded, Kind, Unavailable
from database.retry import MOST_ATTEMPTS, retry

TRANSIENT = [kind for kind in Kind if kind.transient]
LASTING = [kind for kind in Kind if not kind.transient]


class Attempts:
    """A call that raises the given errors, then returns "done". Records its calls and waits."""

    def __init__(self, *failures):
        self._failures = list(failures)
        self.made = 0
        self.waits = []
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
            sleep=self.waits.append,
        )


def failure(kind, *, wait=0.0):
    return DatabaseError(kind, wait=wait)


@pytest.mark.parametrize("kind", TRANSIENT)
def test_a_transient_error_is_retried(kind):
    attempts = Attempts(failure(kind), failure(kind))
    assert attempts.run(failure(kind)) == "done"
    assert attempts.made == 3
    assert len(attempts.waits) == 3


@pytest.mark.parametrize("kind", LASTING)
def test_a_lasting_error_is_raised_unchanged(kind):
    lasting = failure(kind)
    attempts = Attempts(lasting)
    with pytest.raises(DatabaseError) as raised:
        attempts.run(failure(Kind.LOST))
    assert raised.value is lasting
    assert attempts.made == 1


def test_an_error_of_another_kind_is_not_retried():
    attempts = Attempts(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        attempts.run(failure(Kind.LOST))
    assert attempts.made == 1


def test_every_retried_error_is_observed_once():
    first, second = failure(Kind.LOST), failure(Kind.CONTENTION)
    attempts = Attempts(second)
    attempts.run(first)
    assert attempts.observed == [first, second]


def test_throttling_waits_at_least_as_long_as_its_source_says():
    attempts = Attempts()
    attempts.run(failure(Kind.THROTTLED, wait=10), deadline=60)
    assert 10 <= attempts.waits[0] <= 12.5


def test_waits_grow_up_to_two_seconds_with_full_jitter():
    runs = [Attempts(*[failure(Kind.LOST)] * 7) for _ in range(200)]
    for attempts in runs:
        attempts.run(failure(Kind.LOST), deadline=1e6)
    by_attempt = list(zip(*(attempts.waits for attempts in runs), strict=True))
    for number, drawn in enumerate(by_attempt):
        highest = min(0.05 * 2**number, 2.0)
        assert max(drawn) <= highest
        assert min(drawn) < 0.2 * highest
        assert max(drawn) > 0.8 * highest


def test_a_wait_beyond_the_deadline_is_not_begun():
    attempts = Attempts()
    with pytest.raises(Unavailable) as raised:
        attempts.run(failure(Kind.THROTTLED, wait=10), deadline=5)
    assert attempts.waits == []
    assert attempts.made == 0
    assert raised.value.retry_after >= 10


def test_retry_after_is_at_least_a_second():
    with pytest.raises(Unavailable) as raised:
        Attempts().run(failure(Kind.THROTTLED, wait=0.9), deadline=0.8)
    assert raised.value.retry_after == 1


def test_an_error_after_the_deadline_is_reported_as_deadline_exceeded():
    with pytest.raises(DeadlineExceeded):
        Attempts().run(failure(Kind.LOST), deadline=-1)


@pytest.mark.parametrize("kind", MOST_ATTEMPTS)
def test_kinds_that_may_be_permanent_have_few_attempts(kind):
    attempts = Attempts(*[failure(kind)] * 1000)
    with pytest.raises(Unavailable) as raised:
        attempts.run(failure(kind), deadline=1e6)
    assert attempts.made == MOST_ATTEMPTS[kind] - 1
    assert raised.value.failure.kind is kind


def test_a_wrong_database_name_is_reported_within_seconds():
    """4060 is transient, because databases fail over; its row in the table has a wait."""
    wait = SQL_SERVER[4060].wait
    attempts = Attempts(*[failure(Kind.NOT_OPEN, wait=wait)] * 1000)
    with pytest.raises(Unavailable):
        attempts.run(failure(Kind.NOT_OPEN, wait=wait), deadline=30)
    assert 2 <= sum(attempts.waits) <= 5


def test_slow_conflicts_are_reported_before_the_last_attempt(monkeypatch):
    """Each attempt may wait for the locks of all other clients."""
    monkeypatch.setattr("database.retry.CONTENTION_SECONDS", 0.0)
    attempts = Attempts(*[failure(Kind.CONTENTION)] * 1000)
    with pytest.raises(Unavailable):
        attempts.run(failure(Kind.CONTENTION), deadline=1e6)
    assert attempts.made == 0
