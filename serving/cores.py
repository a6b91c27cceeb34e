"""Which CPU each worker keeps to.

The interpreter's lock lets one thread of a worker run at a time. On different CPUs, passing that
lock on wakes a CPU that sleeps and finds its caches cold; on one CPU it costs neither. The system
still moves every other process, PostgreSQL's included, to where there is room.
"""

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def cpus_to_pin_to() -> list[int]:
    """The CPUs that this process may use; empty where workers should not keep to one.

    That is on a platform without affinity, with a single CPU, and under a quota of fewer CPUs
    than are allowed: then other containers, which pin in the same way, use the same CPUs.
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    allowed = sorted(os.sched_getaffinity(0))
    return allowed if len(allowed) > 1 and quota() >= len(allowed) else []


def next_cpu(cpus: Sequence[int], workers: int, others: Iterable[int | None]) -> int | None:
    """The CPU for a new worker, one of `workers`; others: those that the other ones keep to.

    No CPU gets more workers than another one: with 3 workers on 2 CPUs, the third gets None, and
    runs wherever there is room.
    """
    if not cpus:
        return None
    used = Counter(others)
    best = min(cpus, key=used.__getitem__)
    return best if used[best] < max(1, workers // len(cpus)) else None


def keep_to(cpu: int) -> bool:
    """Keep this thread, and all that it starts, to `cpu`; False where the system forbids it."""
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError:
        return False
    return True


def quota(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float:
    """The CPUs that the control groups of this process may use at a time, on average."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return math.inf
    found = [math.inf]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # A container may see its own group as the root of the tree.
        group = Path(path.lstrip("/"))
        for place in (group, *group.parents):
            found += [
                _cpu_max(root / place / "cpu.max"),
                *(_cfs_quota(root / named / place) for named in (controllers, "cpu") if named),
            ]
    return min(found)


def _cpu_max(file: Path) -> float:
    """cgroup v2: "max 100000" or "150000 100000", in microseconds."""
    try:
        allowed, period = file.read_text().split()
        return int(allowed) / int(period) if allowed != "max" else math.inf
    except (OSError, ValueError):
        return math.inf


def _cfs_quota(folder: Path) -> float:
    """cgroup v1; -1 is no quota."""
    try:
        allowed = int((folder / "cpu.cfs_quota_us").read_text())
        return (
            allowed / int((folder / "cpu.cfs_period_us").read_text()) if allowed > 0 else math.inf
        )
    except (OSError, ValueError):
        return math.inf
