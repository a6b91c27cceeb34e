"""No secret from the settings or a request reaches the log, whatever fails."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import uuid

import pytest

from authentication.api_keys import new_key, setting_line
from settings import ROOT
from testkit.observed_server import serve
from testkit.secret_watch import leaks, secrets_in


def jwt(**claims):
    parts = ({"alg": "RS256", "kid": "1"}, claims)
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
    return ".".join(part.rstrip("=") for part in encoded) + "." + uuid.uuid4().hex


@pytest.fixture
def secret():
    return f"sentinel-{uuid.uuid4().hex}"


def test_a_server_never_logs_its_secrets(run_folder, secret):
    """Its databases are away, its token is refused, and its clients send what they shouldn't."""
    log = run_folder / f"secrets-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}.log"
    away = f"SERVER=127.0.0.1;PORT=1;DATABASE=app;UID=api;PWD={{{secret}-db}}"
    token, key = jwt(sub=f"{secret}-token"), new_key()
    environment = {
        "POSTGRESQLCONNSTR_WWIF": away,
        "POSTGRESQLCONNSTR_TAXI": away,
        "TOKEN": token,
        "AUTH": "keys",
        "API_KEYS": setting_line("tests", ["read", "write", "operate"], key),
        "REQUEST_DEADLINE_SECONDS": "1",
        "SLOW_CALL_SECONDS": "0",
    }
    with serve(log, run_folder / "secrets", **environment) as served:
        statuses = [
            served.ask("/customer/1", **headers)[0]
            for headers in (
                {"X-API-Key": key},
                {"X-API-Key": secret},
                {"Authorization": f"Bearer {token}"},
                {"Authorization": f"Basic {secret}"},
                {"Cookie": f"session={secret}", "X-API-Key": key, "X-Request-ID": f"{secret};"},
                {"X-API-Key": key, "traceparent": secret, "Prefer": secret, "User-Agent": secret},
            )
        ]
        statuses += [
            served.ask(f"/customers?name={secret}&access_token={token}", **{"X-API-Key": key})[0],
            served.ask(f"/{secret}/{token}", **{"X-API-Key": key})[0],
            served.ask(f"/customer/1%00{secret}", **{"X-API-Key": key})[0],
            served.ask("/metrics", **{"X-API-Key": key})[0],
        ]
        exposition = served.ask("/metrics", **{"X-API-Key": key})[1].decode()
    said = log.read_text()
    assert {503, 401, 400, 200} <= set(statuses)
    assert '"failure":"unreachable"' in said
    signature = token.rpartition(".")[2]
    for hidden in (secret, token, signature, key, key[8:], away):
        assert hidden not in said
        assert hidden not in exposition


def test_the_watch_finds_a_secret_that_was_logged(run_folder, secret, tmp_path):
    """A pytest run whose test logs a password past all filters fails and names the test."""
    probe = tmp_path / "test_probe.py"
    probe.write_text(
        "import subprocess, sys\n"
        "from pathlib import Path\n"
        "def test_leaks(run_folder):\n"
        f"    subprocess.run([sys.executable, '-c', ''], env={{'TOKEN': {secret!r}}})\n"
        f"    (run_folder / 'leaky.log').write_text('first\\nsaid {secret}')\n"
    )
    conftest = tmp_path / "conftest.py"
    conftest.write_text("from tests.conftest import *\n")
    environment = {k: v for k, v in os.environ.items() if k != "TESTS_RUN_FOLDER"}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(probe)],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == 1
    assert "leaky.log, line 2, holds a secret that begins with 'sent'" in ran.stdout


def test_the_watch_records_secrets(run_folder):
    """Else its finding nothing would mean nothing: this run's own tests have used these."""
    token = jwt(sub="noted")
    subprocess.run([sys.executable, "-c", ""], env={"TOKEN": token}, check=True)
    assert token in secrets_in(run_folder)


def test_nothing_is_in_the_logs_so_far(run_folder):
    assert [*leaks(run_folder)] == []
