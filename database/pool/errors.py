"""The errors of a checkout that got no connection."""

from __future__ import annotations


class PoolError(Exception):
    """The checkout got no connection."""


class PoolTimeout(PoolError):
    """No connection became free in time. `__cause__`: the last connect's error, if it failed."""


class PoolQueueFull(PoolError):
    """`max_waiting` callers are already waiting."""


class PoolClosed(PoolError):
    """The pool was closed."""
