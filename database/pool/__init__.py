"""A connection pool for threads. It pools whatever `connect()` returns."""

from database.pool.errors import PoolClosed, PoolError, PoolQueueFull, PoolTimeout
from database.pool.lease import Lease
from database.pool.pool import Pool
from database.pool.state import PoolStats

__all__ = ["Lease", "Pool", "PoolClosed", "PoolError", "PoolQueueFull", "PoolStats", "PoolTimeout"]
