"""The programs of docs/clients.md run as they stand, and print what the page shows."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest

from settings import ROOT

PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
PROGRAM = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def programs():
    for found in PROGRAM.finditer(PAGE):
        heading = HEADING.findall(PAGE, 0, found.start())[-1]
        yield pytest.param(found.groups(), id=heading)


@pytest.mark.parametrize("program", [*programs()])
def test_a_program_prints_what_the_page_shows(served, program, tmp_path, monkeypatch, capsys):
    code, printed = program
    for package in re.findall(r"^import (\w+)", code, re.MULTILINE):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed; requirements-dev.txt has it from 3.11 on.")
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace("http://localhost:5000", served.url), "docs/clients.md", "exec"), {})
    assert capsys.readouterr().out == printed


def test_every_program_of_the_page_has_its_output():
    assert len(PROGRAM.findall(PAGE)) == PAGE.count("```python") >= 7
