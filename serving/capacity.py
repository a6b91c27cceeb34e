"""How many connections a worker can hold."""

import resource

from settings import Settings

# Logs, listening sockets, metrics files, modules being imported.
RESERVED_DESCRIPTORS = 128
MIN_CONNECTIONS = 16


def connections_within(most: int, settings: Settings) -> int:
    """`most`, or fewer if `ulimit -n` is too low: each client and database connection is a file."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return most
    # A probe or a retired connection can exist in addition to those of the pool.
    databases = 2 * settings.pool_max_size * max(1, len(settings.targets))
    return max(MIN_CONNECTIONS, min(most, limit - RESERVED_DESCRIPTORS - databases))
