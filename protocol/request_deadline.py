"""The Request-Timeout header: a client may shorten its request's deadline."""

from database.deadline import Deadline
from protocol.problems import Problem


def request_deadline(seconds: float, given: str | None) -> Deadline:
    """The route's `seconds`, or `given`, the value of Request-Timeout, whichever is shorter.

    Raises Problem invalid-header unless `given` is a finite number of seconds above 0.
    """
    if given is None:
        return Deadline(seconds)
    try:
        timeout = float(given)
    except ValueError:
        timeout = -1.0
    if not 0 < timeout < float("inf"):
        raise Problem("invalid-header", "Request-Timeout must be a number of seconds above 0.")
    return Deadline(min(seconds, timeout))
