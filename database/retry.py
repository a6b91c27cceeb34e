"""When to try again: named policies, each inside the request's deadline.

Connecting is tried again for transient kinds only. A call is tried again for any transient kind:
reads change nothing, and writes carry a key that the procedure recognises, so asking again is
asking the same. Waits are exponential with full jitter; a number whose source names a wait
(throttling) waits at least that long. When the deadline would pass in the wait, it is not begun.
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
# Attempts at most, the first one included; any other kind is retried until the deadline. Each
# deadlock costs PostgreSQL's deadlock_timeout of a second, in which the locks of the others wait;
# 4060 is also what a wrong database name gives.
MOST_ATTEMPTS = {Kind.CONTENTION: 4, Kind.NOT_OPEN: 4}

# After so many seconds of retries a conflict is reported, for each attempt may wait behind all the
# others for its locks: the caller can choose whether to go on.
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
    """The result of `attempt` after its first try raised `first`.

    The first try is made by the caller, outside tenacity, so that a call that succeeds pays
    nothing for the policy. Raises Unavailable, with the seconds after which to come back, when
    the deadline leaves no room for another attempt, DeadlineExceeded when it has passed; else
    what the last attempt raised.
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
        kind = state.outcome.exception().kind
        if kind is Kind.CONTENTION and time.monotonic() - began > CONTENTION_SECONDS:
            return True
        return state.attempt_number >= MOST_ATTEMPTS.get(kind, math.inf)

    retrying = Retrying(
        retry=retry_if_exception(is_transient),
        wait=_wait,
        stop=stop,
        before_sleep=lambda state: observe(state.outcome.exception()),
        sleep=sleep,
        reraise=True,
    )
    try:
        return retrying(run)
    except DatabaseError as error:
        if is_transient(error):
            if deadline.passed():
                raise DeadlineExceeded("The deadline passed in the last attempt.") from None
            raise Unavailable(str(error), retry_after=error.wait, failure=error) from None
        raise


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception()
    asked = getattr(error, "wait", 0.0)
    # Upward only: throttled clients that come back together are throttled again.
    return max(asked * (1 + random.random() / 4), BACKOFF(state))
