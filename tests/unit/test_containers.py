"""Dockerfile, compose.yaml and the workflow: what of them can be run without a container engine."""

import ast
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from testkit.container_start import command, environment, in_image, tmpfs_mounts, user

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = (ROOT / "compose.yaml").read_text()
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text()


def imported_files(start: Path) -> set[str]:
    """The project's own files that running `start` can import, as posix paths under ROOT."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            for name in names:
                place = ROOT.joinpath(*name.split("."))
                waiting += [place.with_suffix(".py"), place / "__init__.py"]
    return {path.relative_to(ROOT).as_posix() for path in found}


def test_the_image_holds_every_file_the_program_imports():
    needed = imported_files(ROOT / "app.py") | imported_files(ROOT / "cli" / "__init__.py")
    assert "settings/reading.py" in needed
    assert [path for path in sorted(needed) if not in_image(path)] == []


def test_the_image_holds_the_sql_and_no_secret_history_or_test():
    for path in ("sql/azure-sql/001_schemas.sql", "requirements.txt"):
        assert in_image(path), path
    for path in (".env", ".git/config", ".local/pg/PG_VERSION", "tests/unit/test_containers.py"):
        assert not in_image(path), path
    assert not in_image("database/__pycache__/pool.cpython-313.pyc")


def test_the_image_runs_as_an_unprivileged_user_by_number():
    final = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    (user,) = re.findall(r"^USER (\d+)$", final, re.M)
    assert int(user) > 0
    assert final.index("USER ") < final.index("\nCMD ")
    assert not re.search(r"gcc|build-essential|-dev\b|pip install", final)


def test_the_driver_the_image_registers_is_in_the_wheel_exactly_once():
    """Of the same `find` as in the Dockerfile, over the package installed here."""
    command = re.search(r'driver="\$\(find "\$linux/(\S+)" -name \'(\S+)\'\)"', DOCKERFILE)
    folder, pattern = command.groups()
    import mssql_python_odbc

    linux = Path(mssql_python_odbc.__path__[0]) / "libs" / "linux"
    assert len(list((linux / folder).rglob(pattern))) == 1


@pytest.fixture
def server():
    """An HTTP server that answers /health/live with `status`, and 404 elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(self.server.status if self.path == "/health/live" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (404, False)])
def test_the_health_check_tells_a_live_server_from_a_failing_one(server, status, healthy):
    server.status = status
    program, *arguments = command("HEALTHCHECK")
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *arguments],
        env={"PORT": str(server.server_port)},
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode == 0) is healthy


def test_the_container_starts_read_only_as_its_user_and_answers():
    done = subprocess.run(
        [sys.executable, "-m", "testkit.container_start"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "GET /customer/123: 200" in done.stdout


def test_what_the_image_keeps_is_in_a_folder_of_its_user_that_compose_makes_writable():
    folder = environment()["LOCAL_DIR"]
    made = re.search(rf"install --directory --owner=(\d+) .*{folder}$", DOCKERFILE, re.M)
    assert int(made.group(1)) == user()
    assert dict(tmpfs_mounts())[folder] == f"uid={user()},gid={user()},mode=0700"
    assert "read_only: true" in service("api")


def test_every_password_of_the_compose_file_is_a_required_variable():
    values = re.findall(r"PASSWORD: (.*)|PWD=\{(.*)\};Encrypt", COMPOSE)
    assert len(values) == 5
    for value in ("".join(pair) for pair in values):
        assert re.fullmatch(r"\$\{(MSSQL_SA|API_DB)_PASSWORD:\?Set \1_PASSWORD, .*\.\}", value), (
            value
        )


def service(name: str) -> str:
    return re.search(rf"^  {name}:\n(?:(?:    .*|\s*)\n)+", COMPOSE, re.M).group()


def test_the_api_starts_after_the_deployment_and_without_the_administrators_password():
    assert "condition: service_healthy" in service("prepare")
    assert "prepare:\n        condition: service_completed_successfully" in service("deploy")
    assert "deploy:\n        condition: service_completed_successfully" in service("api")
    assert "UID=api;" in service("api")
    assert "MSSQL_SA_PASSWORD" not in service("api")


@pytest.mark.parametrize("password", ["plain-Pass1", 'it\'s-Pass1 "x" ; DROP', "''"])
def test_a_quote_in_the_apis_password_cannot_leave_its_literal(tmp_path, password):
    script = service("prepare").partition("- |\n")[2].partition("    restart:")[0]
    script = "\n".join(line[8:] for line in script.splitlines()).replace("$$", "$")
    sqlcmd = tmp_path / "sqlcmd"
    sqlcmd.write_text('#!/bin/bash\ncat > "$SEEN"\nprintf "%s" "$QUOTED" > "$SEEN.quoted"\n')
    sqlcmd.chmod(0o755)
    seen = tmp_path / "seen"
    subprocess.run(
        ["bash", "-euc", script.replace("/opt/mssql-tools18/bin/sqlcmd", str(sqlcmd))],
        env={"API_DB_PASSWORD": password, "SEEN": str(seen), "PATH": "/usr/bin:/bin"},
        check=True,
        timeout=30,
    )
    assert (tmp_path / "seen.quoted").read_text() == password.replace("'", "''")
    batches = seen.read_text()
    assert "PASSWORD = N'$(QUOTED)'" in batches
    assert [line for line in batches.splitlines() if line.strip().upper() == "GO"] == ["GO"] * 2


def test_the_workflow_runs_the_suites_on_a_real_sql_server_and_holds_no_password():
    assert "scripts/test" in WORKFLOW
    assert "python -m pytest tests/contract tests/wire tests/chaos" in WORKFLOW
    passwords = re.findall(r"(?:PASSWORD: |PWD=)([^;\n]*)", WORKFLOW)
    assert len(passwords) == 4
    assert all("${{ github.run_id }}" in password for password in passwords)
