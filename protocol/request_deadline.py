"""The Request-Timeout header: a client may shorten its request's deadline."""

import time
from collections.abc import Mapping
from typing import Any

from database.deadline import Deadline
from protocol.problems import Problem


def deadline_of(
    config: Mapping[str, Any], route: str, environ: Mapping[str, Any], *, arrived: float | None
) -> Deadline:
    """The deadline of a request for `route`; arrived: time.monotonic() of its first byte.

    Raises Problem as request_deadline() does.
    """
    seconds = config["ROUTE_DEADLINES"].get(route, config["REQUEST_DEADLINE_SECONDS"])
    waited = time.monotonic() - arrived if arrived is not None else 0.0
    given = environ.get("HTTP_REQUEST_TIMEOUT")
    if given is None:
        return Deadline(seconds - waited)
    return request_deadline(seconds, given, waited=waited)


def request_deadline(seconds: float, given: str | None, *, waited: float = 0.0) -> Deadline:
    """The route's `seconds`, or `given`, the value of Request-Timeout, whichever is shorter.

    waited: seconds since the request arrived, which are subtracted.
    Raises Problem invalid-header unless `given` is a finite number of seconds above 0.
    """
    if given is None:
        return Deadline(seconds - waited)
    try:
        timeout = float(given)
    except ValueError:
        timeout = -1.0
    if not 0 < timeout < float("inf"):
        raise Problem("invalid-header", "Request-Timeout must be a number of seconds above 0.")
    return Deadline(min(seconds, timeout) - waited)
