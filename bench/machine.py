"""The context of every figure: the machine, the versions, the date."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from bench.contestants.registry import Contestant
from embedded.installation import find_binaries


def description(contestants: Iterable[Contestant]) -> dict:
    """processor, cores, memory_gib, system, date, and versions of all programs involved."""
    versions: dict[str, str] = {"Python": platform.python_version()}
    for contestant in contestants:
        versions |= contestant.versions()
    versions["PostgreSQL"] = _said(str(find_binaries() / "postgres"), "--version").split()[2]
    versions["psqlodbc"] = _package("odbc-postgresql")
    versions["wrk"] = (re.findall(r"wrk (?:debian/)?(\S+)", _said("wrk", "-v")) or ["?"])[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
        "versions": versions,
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _package(name: str) -> str:
    try:
        return _said("dpkg-query", "-W", "-f=${Version}", name).strip() or "?"
    except FileNotFoundError:
        return "?"


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
