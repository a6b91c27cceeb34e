"""The oldest Python is one everywhere: pyproject.toml, scripts/setup, CI and the requirements."""

import re
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from settings import ROOT

PROJECT = (ROOT / "pyproject.toml").read_text()
OLDEST = re.search(r'requires-python = ">=([0-9.]+)"', PROJECT)[1]
LISTS = ("requirements.txt", "requirements-dev.txt", "requirements-tracing.txt")


def requirements(name):
    """Those that apply to the oldest Python."""
    lines = (ROOT / name).read_text().splitlines()
    listed = [Requirement(line) for line in lines if line[:1] not in ("", "#", "-")]
    oldest = {"python_version": OLDEST}
    return [r for r in listed if r.marker is None or r.marker.evaluate(oldest)]


def test_setup_and_ci_name_the_oldest():
    setup = (ROOT / "scripts" / "setup").read_text()
    assert f"({OLDEST.replace('.', ', ')})" in setup
    assert f"Python {OLDEST} or newer is needed" in setup
    assert f'python: ["{OLDEST}",' in (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert f"Python {OLDEST} or newer" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", LISTS)
def test_every_requirement_installs_on_the_oldest(name):
    """Where the version that applies to it is the one installed here, by that one's metadata."""
    refused = []
    for requirement in requirements(name):
        try:
            installed = distribution(requirement.name)
        except PackageNotFoundError:
            continue
        wanted = installed.metadata["Requires-Python"] or ""
        if requirement.specifier.contains(installed.version) and not SpecifierSet(wanted).contains(
            OLDEST
        ):
            refused.append(f"{requirement} needs Python {wanted}")
    assert refused == []


# Its tests are skipped on the oldest version.
LATER = {"openapi-python-client", "pandas", "polars", "duckdb"}


@pytest.mark.parametrize("name", LISTS)
def test_every_package_is_listed_for_the_oldest(name):
    lines = (ROOT / name).read_text().splitlines()
    listed = {Requirement(line).name for line in lines if line[:1] not in ("", "#", "-")}
    assert listed - LATER == {requirement.name for requirement in requirements(name)} - LATER
