"""`flask doctor` over Microsoft's driver: the login, the clock and what the routes require."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from settings import ROOT
from testkit.server import bare_environment
from testkit.tds.messages import Column
from testkit.tds.script import Reply, Request, Rows, ServerError
from testkit.tds.server import TdsServer

YEAR_2000 = 946_684_800


def database(*, clock: float = 0, found: int | None = 7):
    """A script for a database whose clock is ahead by `clock` seconds."""

    def script(request: Request) -> Reply:
        statement = request.statement
        if "SYSUTCDATETIME" in statement:
            seconds = int(time.time() + clock) - YEAR_2000
            return Reply(Rows((Column("", "int"),), [(seconds,)]))
        if "sys.parameters" in statement:
            return Reply(Rows((Column("parameter"),), [("@Json nvarchar(max)",)]))
        if "FROM sys.procedures" in statement or "sys.security_policies" in statement:
            return Reply(Rows((Column("nothing", "int"),), []))
        if "HAS_PERMS_BY_NAME" in statement and "N'P'" in statement:
            columns = (Column("found", "int"), Column("allowed", "int"))
            return Reply(Rows(columns, [(found, 1)]))
        return Reply(Rows((Column("allowed", "int"),), [(1,)]))

    return script


@pytest.fixture
def doctor(server: TdsServer, driver: str, tmp_path: Path):
    def run() -> tuple[int, dict[str, tuple[str, str, str | None]]]:
        text = f"DRIVER={driver};SERVER=127.0.0.1,{server.port};UID=reader;PWD=secret;Encrypt=no"
        done = subprocess.run(
            [sys.executable, "-m", "flask", "doctor", "--json"],
            cwd=ROOT,
            env=bare_environment(SQLAZURECONNSTR_TAXI=text, LOCAL_DIR=str(tmp_path)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "secret" not in done.stdout + done.stderr
        findings = json.loads(done.stdout)["findings"]
        return done.returncode, {
            f["check"]: (f["status"], f["message"], f["remedy"])
            for f in findings
            if f["area"] == "TAXI"
        }

    return run


def test_a_healthy_sql_server(server: TdsServer, doctor):
    server.on_execute(database())
    status, found = doctor()
    assert status == 0
    assert found["clock"][:2] == ("ok", "Its clock agrees with this machine's.")
    assert found["connection"][1].startswith("Microsoft SQL Server ")
    assert found["schema"][1] == "Procedures: 3, tables: 0; all there, and allowed."


def test_a_clock_that_is_behind_and_a_missing_procedure(server: TdsServer, doctor):
    server.on_execute(database(clock=-3600, found=None))
    status, found = doctor()
    assert status == 1
    assert found["clock"][0] == "error"
    assert found["clock"][1].startswith("Its clock is 3,")
    assert "behind this machine's" in found["clock"][1]
    assert "there is no such procedure" in found["schema"][1]
    assert found["schema"][2].startswith("Run flask sql deploy --target TAXI")


@pytest.mark.parametrize(
    ("number", "kind", "remedy"),
    [
        (18456, "login refused", "Check user, password and database in SQLAZURECONNSTR_TAXI."),
        (40613, "resuming or scaling", "The database answers later by itself"),
        (4060, "database not open", "Check the name of the database in SQLAZURECONNSTR_TAXI"),
    ],
)
def test_a_refused_login_is_named_with_its_remedy(
    server: TdsServer, doctor, number: int, kind: str, remedy: str
):
    server.login_replies.append(Reply(ServerError(number, "The message of the server.")))
    status, found = doctor()
    assert status == 1
    assert (
        f"from SQLAZURECONNSTR_TAXI, {kind}: The message of the server." in (found["connection"][1])
    )
    assert found["connection"][2].startswith(remedy)
