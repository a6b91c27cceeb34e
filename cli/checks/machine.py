"""What the API needs of this machine: Python, packages, the drivers, PostgreSQL, its folder."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from cli.checks import Finding
from settings import ROOT, Settings

AREA = "machine"
REQUIREMENTS = ROOT / "requirements.txt"
LEAST_PYTHON = (3, 10)
# A new cluster takes 50 MB, and a year of trips some gigabytes.
LEAST_FREE_BYTES = 500_000_000
INSTALL = f"Run {sys.executable} -m pip install -r requirements.txt in the project's folder."


def check_machine(settings: Settings | None) -> Iterator[Finding]:
    """settings: None if they are wrong; then only what does not depend on them is checked."""
    yield _python()
    yield _packages()
    if settings is None:
        return
    for family in sorted({target.driver_family for target in settings.targets.values()}):
        yield _driver(family)
    if settings.embedded:
        yield _driver("postgresql")
        yield from _embedded(settings)


def _python() -> Finding:
    found = platform.python_version()
    if sys.version_info < LEAST_PYTHON:
        least = ".".join(map(str, LEAST_PYTHON))
        return Finding(
            AREA,
            "python",
            "error",
            f"Python {found} is too old.",
            f"Install Python {least} or newer.",
        )
    return Finding(AREA, "python", "ok", f"Python {found}.")


def _packages() -> Finding:
    lines = re.sub(r"#.*", "", REQUIREMENTS.read_text(encoding="utf-8")).splitlines()
    wanted = [Requirement(line) for line in lines if line.strip()]
    wanted = [r for r in wanted if r.marker is None or r.marker.evaluate()]
    faults = [fault for requirement in wanted if (fault := _fault(requirement))]
    if faults:
        return Finding(AREA, "packages", "warning", f"{'; '.join(faults)}.", INSTALL)
    return Finding(AREA, "packages", "ok", f"{len(wanted)} packages as in {REQUIREMENTS.name}.")


def _fault(requirement: Requirement) -> str | None:
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(found, prereleases=True):
        return None
    return f"{requirement.name} is {found} instead of {requirement.specifier}"


def _driver(family: str) -> Finding:
    from database.connect.drivers import DriverMissing, find_driver

    try:
        driver = find_driver(family)
    except DriverMissing as error:
        sentence, _, remedy = str(error).partition(": ")
        return Finding(
            AREA, f"driver-{family}", "error", f"{sentence}.", remedy[:1].upper() + remedy[1:]
        )
    return Finding(AREA, f"driver-{family}", "ok", f"ODBC driver for {family}: {driver}.")


def _embedded(settings: Settings) -> Iterator[Finding]:
    from embedded.cluster import EmbeddedError
    from embedded.installation import binaries_version, find_binaries

    try:
        folder = find_binaries()
        yield Finding(
            AREA, "postgresql", "ok", f"PostgreSQL {binaries_version(folder)} in {folder}."
        )
    except EmbeddedError as error:
        sentence, _, remedy = str(error).partition(": ")
        yield Finding(AREA, "postgresql", "error", f"{sentence}.", remedy[:1].upper() + remedy[1:])
    yield _local_dir(settings.local_dir)


def _local_dir(folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        return Finding(
            *(AREA, "local-dir", "error", f"LOCAL_DIR={folder} can not be written."),
            "Set LOCAL_DIR to a folder that this account may write.",
        )
    free = shutil.disk_usage(existing).free
    if free < LEAST_FREE_BYTES:
        return Finding(
            *(AREA, "local-dir", "warning", f"{folder} has {free / 1e6:,.0f} MB left."),
            "Free some space, or set LOCAL_DIR to a folder on another disk.",
        )
    return Finding(AREA, "local-dir", "ok", f"{folder} can be written, {free / 1e9:,.0f} GB free.")
