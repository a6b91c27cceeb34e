"""README.md, docs/routes.md and docs/dependencies.md list what the project really has."""

import re

import pytest

from settings import ROOT
from testkit.routes import application, routes, spoken_of

# Lines of two screens.
LONGEST_README = 110


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def required(name):
    """The packages that a requirements file lists itself, in its order, each once."""
    lines = text_of(name).splitlines()
    found = [re.match(r"[A-Za-z0-9._-]+", line) for line in lines if line[:1] not in ("#", "-", "")]
    return list(dict.fromkeys(match[0] for match in found))


def test_the_tables_of_routes_are_the_applications(tmp_path):
    requests = re.findall(r"`(GET|PUT|POST|PATCH|DELETE) (/[^`]*)`", text_of("docs/routes.md"))
    with application(tmp_path) as app:
        assert spoken_of(app, requests) == routes(app)


def test_every_requirement_has_a_reason_and_no_other_package_has():
    page = text_of("docs/dependencies.md")
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]{5,}) \|$", page, re.MULTILINE)
    wanted = required("requirements.txt") + required("requirements-dev.txt")
    assert sorted(name for name, _ in rows) == sorted(wanted)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned(name):
    for line in text_of(name).splitlines():
        assert line[:1] in ("#", "-", "") or re.match(r"[\w.-]+(\[[\w,-]+\])?==\d", line), line


def test_the_two_commands_are_the_first_block():
    first = re.search(r"^```sh\n(.*?)^```", text_of("README.md"), re.DOTALL | re.MULTILINE)[1]
    assert first == (
        "scripts/run     # serves on http://127.0.0.1:5000\nscripts/test    # runs every test\n"
    )


def test_the_readme_is_two_screens():
    assert len(text_of("README.md").splitlines()) <= LONGEST_README
