"""Retries of transient database errors, inside the request's deadline.

A failed connect is repeated for transient kinds only. A call is repeated for any transient kind,
because it is idempotent: reads change nothing, and a write carries a key that its procedure
recognizes. Waits grow exponentially with full jitter; a throttling error waits at least as long as
its source says. A wait that would outlast the deadline is not begun.
"""

import math
import random
import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from database.deadline import Deadline
from database.errors import DatabaseError, DeadlineExceeded, Kind, Unavailable

T = TypeVar("T")
BACKOFF = wait_random_exponential(multiplier=0.05, max=2.0)
# The most attempts, the first one included; other kinds are retried until the deadline. Each
# deadlock costs PostgreSQL's deadlock_timeout of a second, during which other sessions wait for
# its locks; SQL Server reports a wrong database name as 4060, too.
MOST_ATTEMPTS = {Kind.CONTENTION: 4, Kind.NOT_OPEN: 4}

# After this many seconds of retries a conflict is reported: each attempt may wait for the locks of
# all other clients, so the caller decides whether to continue.
CONTENTION_SECONDS = 3.0


def is_transient(error: BaseException) -> bool:
    return isinstance(error, DatabaseError) and error.kind.transient and not error.may_have_run


def retry(
    attempt: Callable[[], T],
    first: DatabaseError,
    *,
    deadline: Deadline,
    observe: Callable[[DatabaseError], None],
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """The result of `attempt`, whose first call, made by the caller, raised `first`.

    The first call happens outside tenacity, so that success skips its overhead.
    observe: receives each error that another attempt follows.
    Raises Unavailable, with retry_after in seconds, if the deadline leaves no time for another
    attempt, DeadlineExceeded if it has passed, otherwise the last attempt's error.
    """
    pending: list[DatabaseError] = [first]
    began = time.monotonic()

    def run() -> T:
        if pending:
            raise pending.pop()
        return attempt()

    def stop(state: RetryCallState) -> bool:
        if state.upcoming_sleep >= deadline.at - time.monotonic():
            return True
        kind = _error_of(state).kind
        if kind is Kind.CONTENTION and time.monotonic() - began > CONTENTION_SECONDS:
            return True
        return state.attempt_number >= MOST_ATTEMPTS.get(kind, math.inf)

    retrying = Retrying(
        retry=retry_if_exception(is_transient),
        wait=_wait,
        stop=stop,
        before_sleep=lambda state: observe(_error_of(state)),
        sleep=sleep,
        reraise=True,
    )
    try:
        return retrying(run)
    except DatabaseError as error:
        if is_transient(error):
            if deadline.passed():
                raise DeadlineExceeded("The deadline passed during the last attempt.") from None
            raise Unavailable(str(error), retry_after=error.wait, failure=error) from None
        raise


def _error_of(state: RetryCallState) -> DatabaseError:
    """The transient error of the last attempt; tenacity calls stop and wait for no other."""
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, DatabaseError)
    return error


def _wait(state: RetryCallState) -> float:
    # Jitter only lengthens the wait: clients that return together are throttled again.
    least = _error_of(state).wait * (1 + random.random() / 4)
    return max(least, BACKOFF(state))
