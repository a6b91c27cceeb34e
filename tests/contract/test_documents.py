"""Every code block of the documents is run or parsed; README.md and sample-usage.md have tests of
their own, and test_tutorial runs the bash blocks of docs/procedures.md."""

import json
import os
import re
import shlex
import subprocess
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
import sqlglot
from flask import g
from flask.cli import run_command

from app import close_app, create_app
from database.deadline import Deadline
from settings import ROOT, read_settings
from testkit.engines import environment_of
from testkit.routes import application, spoken_of

PAGES = [ROOT / name for name in ("SECURITY.md", "CONTRIBUTING.md", "data/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# What a page has in the place of a reader's own names; a shell would take it for redirections.
PLACEHOLDER = re.compile(r"<[a-z0-9][^<>\n]*>")
ASSIGNMENT = re.compile(r"\w+=.*", re.DOTALL)
ADDRESS = "localhost:5000"
# Of the virtual environment, where a reader has not activated it.
NOT_ON_PATH = {"flask", "pip", "pip-audit", "python", "gunicorn", "pytest", "ruff"}
PYTHON_PAGES = ["docs/sqlalchemy.md"]
TUTORIAL = ROOT / "docs" / "procedures.md"
# Pages that show what programs print, each with a test that compares it.
WITH_OUTPUT = {TUTORIAL, ROOT / "docs" / "commands.md", ROOT / "docs" / "clients.md"}


def blocks(*languages):
    """The code of every block in one of `languages`, as parameters of a test."""
    return [
        pytest.param(code, id=f"{page.relative_to(ROOT)}-{code[:30].strip()}")
        for page in PAGES
        for language, code in BLOCK.findall(page.read_text(encoding="utf-8"))
        if language in languages and (page, language) != (TUTORIAL, "bash")
    ]


def commands(code):
    """The words of each simple command, assignments before it left out."""
    # shlex would take the line's end for a part of its comment.
    code = re.sub(r"(?m)(^|\s)#.*$", "", code.replace("\\\n", " "))
    lexer = shlex.shlex(code, posix=True, punctuation_chars="|;&()\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words = []
    for token in [*lexer, "\n"]:
        if set(token) <= set("|;&()\n"):
            if words:
                yield words
            words = []
        elif words or not ASSIGNMENT.fullmatch(token):
            words.append(token)


def parse_flask(app, words):
    """Raises click.UsageError where the command, or an option of it, does not exist.

    Files that the reader has written are made in the current folder.
    """
    for file in map(Path, words):
        if file.suffix in (".sql", ".json"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    name, *arguments = words
    command = run_command if name == "run" else app.cli.get_command(None, name)
    while isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.get_command(None, name)
    assert command is not None, f"flask has no command {' '.join(words)}"
    command.make_context(name, arguments)


def test_every_block_is_in_a_language_that_is_tested():
    found = {(page, language) for page in PAGES for language, _ in BLOCK.findall(page.read_text())}
    tested = ("sh", "bash", "json", "python", "sql")
    found -= {(page, "text") for page in WITH_OUTPUT}
    assert {language for _, language in found} <= {*tested}


@pytest.mark.parametrize("code", blocks("json"))
def test_json_is_json(code):
    json.loads(code)


def test_sql_can_be_parsed():
    for block in blocks("sql"):
        for batch in re.split(r"(?m)^GO$", block.values[0]):
            assert sqlglot.parse(batch, dialect="tsql")


@pytest.mark.parametrize("code", blocks("sh", "bash"))
def test_shell_lines_can_be_typed_as_they_stand(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = PLACEHOLDER.sub("placeholder", code)
    parsed = subprocess.run(["bash", "-n"], input=code, text=True, capture_output=True, check=False)
    assert parsed.returncode == 0, parsed.stderr
    with application(tmp_path) as app:
        for program, *words in commands(code):
            assert program not in NOT_ON_PATH, f"{program} is in .venv/bin"
            if program == ".venv/bin/flask":
                parse_flask(app, words)
            elif program == ".venv/bin/python" and words[0] == "-m":
                assert find_spec(words[1])
            elif program.startswith(("scripts/", "./", "bench/")):
                assert os.access(ROOT / program, os.X_OK)
            elif program == "curl":
                paths = [w.partition(ADDRESS)[2] for w in words if w.startswith(ADDRESS)]
                spoken_of(app, [("GET", path or "/") for path in paths])


@pytest.mark.parametrize("page", PYTHON_PAGES)
def test_python_runs_from_top_to_bottom(server, engine, run_folder, page):
    settings = {"LOCAL_DIR": str(server.folder), **environment_of(engine, run_folder)}
    app = create_app(read_settings(settings))
    code = [c for lang, c in BLOCK.findall((ROOT / page).read_text()) if lang == "python"]
    assert code
    names = {}
    try:
        with app.test_request_context("/customer/123"):
            g.deadline = Deadline(30)
            for number, block in enumerate(code, start=1):
                exec(compile(block, f"{page}, block {number}", "exec"), names)
            one = names["Customer"]().get(123)
    finally:
        close_app(app)
    assert one.json == json.loads(names["answer"].json)
    assert one.json[0]["CustomerID"] == 123
    assert [p.Sex for p in names["passengers"]] == ["female"] * 10
    assert names["count"] == 100


def test_every_page_with_python_is_run():
    found = [str(page.relative_to(ROOT)) for page in PAGES if "```python" in page.read_text()]
    # Tests of their own run the programs of the other two: tests/clients and tests/mcp.
    assert sorted(found) == sorted([*PYTHON_PAGES, "docs/clients.md", "docs/mcp.md"])
