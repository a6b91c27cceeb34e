"""docs/procedures.md, as a newcomer follows it: every block of the embedded path is run, and its
result compared with the one on the page; the T-SQL is read as the catalog would read it."""

import json
import os
import re
import subprocess
import time

import pytest
import sqlglot

from catalog.convention import place
from catalog.header import read_header
from catalog.procedure import Parameter, Procedure
from catalog.sql_types import t_sql_type
from settings import ROOT
from testkit.server import Server, bare_environment

PAGE = (ROOT / "docs" / "procedures.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
EMBEDDED, SQL_SERVER = (
    re.search(rf"^## Ten minutes on {place}\n(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)[1]
    for place in ("the embedded database", "SQL Server")
)
PATIENCE_SECONDS = 20
INSTANCE = re.compile(r"urn:uuid:[0-9a-f-]{36}")


@pytest.fixture
def shell(tmp_path):
    """Run a block in an empty folder, with a server and .venv as in a checkout; its output."""
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    folder = tmp_path / ".local"
    environment = bare_environment(
        LOCAL_DIR=str(folder), FLASK_APP=str(ROOT / "app.py"), NO_PROXY="localhost"
    )

    def run(code):
        done = subprocess.run(
            ["bash", "-e"],
            input=code.replace("localhost:5000", server.url.removeprefix("http://")),
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with Server(folder, CATALOG_SECONDS="1") as server:
        yield run


def shown(language, text):
    """What is compared: JSON by its values, tables without the width of their columns."""
    if language == "json":
        return json.loads(INSTANCE.sub("urn:uuid:…", text))
    return [re.sub(r" {2,}", "  ", line) for line in text.split("\n")]


def until_read(run, code, language, expected):
    """The output of `code`; repeated while the API has not read the catalog yet."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := run(code)) and shown_or_none(language, found) != expected:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return found


def shown_or_none(language, text):
    try:
        return shown(language, text.replace("\r\n", "\n"))
    except ValueError:
        return None


def test_the_embedded_path_is_what_it_says(shell, tmp_path):
    blocks = BLOCK.findall(EMBEDDED)
    assert {language for language, _ in blocks} == {"bash", "json", "text"}
    for (language, code), (following, expected) in zip(
        blocks, [*blocks[1:], ("", "")], strict=True
    ):
        if language != "bash" or code == "scripts/run\n":
            continue
        if following in ("json", "text"):
            wanted = shown(following, expected)
            found = until_read(shell, code, following, wanted)
            assert shown_or_none(following, found) == wanted, code
            if "Idempotency-Key" in code:
                again = shell(code.replace("curl ", "curl -sD - ", 1))
                assert "Idempotency-Replayed: true" in again
                assert shown(following, again.splitlines()[-1]) == wanted
        else:
            shell(code)
    lock = json.loads((tmp_path / "procedures.lock.json").read_text())
    assert [o["route"] for o in lock["operations"].values()] == [
        *("GET /order/{order_id}", "GET /orders", "POST /order", "PUT /order"),
    ]


def test_the_embedded_path_starts_with_the_one_command():
    assert BLOCK.findall(EMBEDDED)[0] == ("bash", "scripts/run\n")
    assert os.access(ROOT / "scripts" / "run", os.X_OK)


def procedures_of(code):
    for batch in re.split(r"(?m)^GO$", code):
        name = re.search(r"CREATE(?: OR ALTER)? PROCEDURE (\w+)\.(\w+)", batch)
        if name:
            yield *name.groups(), batch


def test_the_t_sql_becomes_the_routes_that_the_page_names():
    code = "".join(
        f"{code}\nGO\n" for language, code in BLOCK.findall(SQL_SERVER) if language == "sql"
    )
    routes = {}
    for schema, name, batch in procedures_of(code):
        for batch_tree in sqlglot.parse(batch, dialect="tsql"):
            assert batch_tree is not None
        parameters = tuple(
            Parameter(p.name.lstrip("@"), t_sql_type(p.type), required=p.default is None)
            for p in read_header(batch)
        )
        assert all(p.type.supported for p in parameters)
        if schema == "api":
            found = place(Procedure("ERP", schema, name, "sqlserver", parameters))
            routes[found.route] = found.methods
    assert routes == {"/order/{OrderID}": ("GET",), "/order": ("POST", "PUT")}
    for route, methods in routes.items():
        assert all(f"`{method} {route}`" in SQL_SERVER for method in methods)
