"""The README's blocks run from top to bottom, as a reader types them, and answer what they show."""

import json
import os
import re
import subprocess
import sys

import pytest
import sqlglot

from catalog.header import read_header
from settings import ROOT
from testkit.server import Server, bare_environment

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def typed(folder):
    """Run lines in bash, in a folder of their own, against a server that has just started."""
    # The reader's default is ten seconds.
    settings = {"CATALOG_SECONDS": "0.1"}
    with Server(folder, workers=2, **settings) as server:
        (folder / "flask").write_text(
            f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m flask "$@"\n'
        )
        (folder / "flask").chmod(0o755)

        def run(lines):
            lines = lines.replace("localhost:5000", server.url.removeprefix("http://"))
            lines = lines.replace(".venv/bin/flask", str(folder / "flask"))
            lines = lines.replace("orders.sql", str(folder / "orders.sql"))
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", lines],
                env=bare_environment(LOCAL_DIR=str(folder), no_proxy="*", **settings),
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{lines}\n{done.stdout}{done.stderr}"
            return done.stdout

        yield run


def test_every_block_answers_what_is_shown_below_it(typed):
    answer, compared = "", 0
    for language, code in BLOCKS[1:]:
        if language == "sh":
            answer = typed(code)
        elif language == "json":
            assert json.loads(answer) == json.loads(code)
            compared += 1
    assert compared == 3


def test_the_two_commands_can_be_typed():
    language, code = BLOCKS[0]
    assert language == "sh"
    for program in re.findall(r"^\S+", code, re.MULTILINE):
        assert os.access(ROOT / program, os.X_OK)


def test_the_procedure_for_sql_server_has_the_route_that_is_named():
    [code] = [code for language, code in BLOCKS if language == "sql"]
    assert sqlglot.parse(code, dialect="tsql")
    [parameter] = read_header(code)
    assert parameter.name.lstrip("@") == "OrderID"
    assert "`GET /order/{OrderID}`" in TEXT


def test_every_block_is_in_a_language_that_is_tested():
    assert {language for language, _ in BLOCKS} == {"sh", "json", "sql"}
    assert len(BLOCKS) == TEXT.count("```") / 2
