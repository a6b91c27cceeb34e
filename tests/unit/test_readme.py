"""The README holds: its routes are those of the application, its packages those required."""

import re

import pytest

from settings import ROOT
from testkit.routes import application, routes, spoken_of

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)[1]


def required(name):
    """The packages that a requirements file lists itself, in its order, each once."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = [re.match(r"[A-Za-z0-9._-]+", line) for line in lines if line[:1] not in ("#", "-", "")]
    return list(dict.fromkeys(match[0] for match in found))


def test_the_table_of_routes_is_the_applications(tmp_path):
    requests = re.findall(r"`(GET|PUT|POST|PATCH|DELETE) (/[^`]*)`", section("Routes"))
    with application(tmp_path) as app:
        assert spoken_of(app, requests) == routes(app)


def test_every_requirement_has_a_reason_and_no_other_package_has():
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]{5,}) \|$", section("Dependencies"), re.MULTILINE)
    wanted = required("requirements.txt") + required("requirements-dev.txt")
    assert sorted(name for name, _ in rows) == sorted(wanted)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned(name):
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        assert line[:1] in ("#", "-", "") or re.match(r"[\w.-]+(\[[\w,-]+\])?==\d", line), line


def test_every_file_that_is_linked_is_there():
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert {"docs/azure.md", "sample-usage.md", ".env.example", "LICENSE"} <= set(links)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_two_commands_come_first():
    assert TEXT.startswith(
        "# SQL procedures as a REST API\n\n"
        "```sh\nscripts/run     # serves on http://127.0.0.1:5000\n"
        "scripts/test    # runs every test\n```\n"
    )
