"""docs/postgresql.md, line by line, against a PostgreSQL that asks for passwords."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded.cluster import OWNER, PORT, EmbeddedCluster
from settings import ROOT
from testkit.api_client import Api
from testkit.server import Server, bare_environment

BLOCKS = re.findall(
    r"```sh\n(.*?)```", (ROOT / "docs" / "postgresql.md").read_text(encoding="utf-8"), re.DOTALL
)
SERVE = ".venv/bin/gunicorn app:app\n"
CONNECTIONS = ("POSTGRESQLCONNSTR_WWIF", "POSTGRESQLCONNSTR_TAXI")


@pytest.fixture
def cluster(folder: Path) -> Iterator[EmbeddedCluster]:
    """A server whose administrator is this account, and which asks all others for a password."""
    made = EmbeddedCluster(folder / "own", prepare=lambda cluster: None, fingerprint="empty")
    made.start()
    hba = made.data / "pg_hba.conf"
    hba.write_text(f"local all {OWNER} peer map=embedded\nlocal all all scram-sha-256\n")
    made.run_sql("SELECT pg_reload_conf()")
    yield made
    made.stop()


def test_every_block_of_the_document_works_and_the_api_serves(
    cluster: EmbeddedCluster, folder: Path
):
    assert BLOCKS[-1] == SERVE
    script = "".join(BLOCKS[:-1])
    for theirs, ours in (
        ("db.example.com", str(cluster.socket_directory)),
        ("5432", str(PORT)),
        ("PGUSER=postgres", f"PGUSER={OWNER}"),
        ("/tmp/trips.csv", str(folder / "trips.csv")),
    ):
        assert theirs in script
        script = script.replace(theirs, ours)
    show = "".join(f'echo "{name}=${name}"\n' for name in CONNECTIONS)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script + show],
        cwd=ROOT,
        env=bare_environment(LOCAL_DIR=str(folder), PSQLRC=os.devnull),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("all there, and allowed") == 2
    settings = dict(
        line.split("=", 1) for line in done.stdout.splitlines() if line.startswith(CONNECTIONS)
    )
    assert "UID=webapp" in settings[CONNECTIONS[0]]
    with Server(folder / "server", workers=1, **settings) as server, Api(server.url) as api:
        assert api.get("/customer/123").json()[0]["CustomerID"] == 123
        assert len(api.get("/taxidata?limit=0").json()) == 2000
        assert len(api.get("/passengers").json()) == 100
