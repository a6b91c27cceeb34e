"""CPU time and memory of processes, from /proc."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """`pid` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(int(_fields(entry)[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found.extend(children.get(one, ()))
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its descendants, the ended and waited-for included."""
    ticks = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            # proc(5): utime, stime, cutime, cstime are fields 14 to 17.
            ticks += sum(map(int, _fields(Path(f"/proc/{one}"))[11:15]))
    return ticks / _TICK


def resident_bytes(pid: int) -> int:
    """Resident set of a process and its descendants, summed: shared pages count in each."""
    return sum(_status_bytes(one, "VmRSS") for one in family(pid))


def peak_bytes(pid: int) -> int:
    """Highest resident set of each since forget_peak(), summed."""
    return sum(_status_bytes(one, "VmHWM") for one in family(pid))


def forget_peak(pid: int) -> None:
    for one in family(pid):
        with contextlib.suppress(OSError):
            # proc(5): 5 resets the peak resident set size.
            Path(f"/proc/{one}/clear_refs").write_text("5")


def _fields(process: Path) -> list[str]:
    """The fields of /proc/pid/stat from the third on: state, ppid, …"""
    return (process / "stat").read_text().rpartition(")")[2].split()


def _status_bytes(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    return 0
