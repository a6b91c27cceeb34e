"""The foreign procedures, deployed on each engine by the product's own commands and served."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from embedded.cluster import API_ROLE, OWNER, EmbeddedCluster
from settings import ROOT
from testkit.api_client import Api
from testkit.engines import CONNECTION_STRING
from testkit.server import Server, bare_environment

SCRIPTS = Path(__file__).parent
CATALOG_SECONDS = 60
SERVED = {"EXPOSED_SCHEMAS": "shop", "AUTH": "none"}


@dataclass(frozen=True)
class Can:
    """What an engine can do that another can't; a test of it asserts both sides."""

    several_result_sets: bool
    rows_with_outputs: bool
    dates_before_1753: bool
    table_types: bool
    overloads: bool
    # PostgreSQL keeps no length or precision of a function's parameters.
    parameter_lengths: bool


ABILITIES = {
    "postgresql": Can(False, False, True, False, True, False),
    "sqlserver": Can(True, True, False, True, False, True),
}


@pytest.fixture(scope="session")
def can(engine: str) -> Can:
    return ABILITIES[engine]


@pytest.fixture(scope="session")
def shop(engine: str, run_folder: Path) -> Iterator[dict[str, str]]:
    """The settings that serve a database with the foreign procedures and the key table."""
    if engine == "sqlserver":
        settings = {"SQLAZURECONNSTR_SHOP": CONNECTION_STRING}
        with (run_folder / "shop.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            marker = run_folder / "shop.ready"
            if not marker.exists():
                _flask(settings, "sql", "deploy", "--target", "SHOP", "--keys")
                _flask(settings, "sql", "run", SCRIPTS / "sqlserver.sql", "--target", "SHOP")
                marker.touch()
        yield settings
        return
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    cluster = EmbeddedCluster(
        run_folder / f"shop-{worker}",
        prepare=lambda made: made.run_sql(f'CREATE ROLE "{API_ROLE}" LOGIN'),
    )
    cluster.start()
    try:
        owner = {"POSTGRESQLCONNSTR_SHOP": cluster.connection_string(role=OWNER)}
        _flask(owner, "sql", "deploy", "--target", "SHOP", "--keys", "--app-name", API_ROLE)
        _flask(owner, "sql", "run", SCRIPTS / "postgresql.sql", "--target", "SHOP")
        yield {"POSTGRESQLCONNSTR_SHOP": cluster.connection_string(role=API_ROLE)}
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def server(engine: str, run_folder: Path, shop: dict[str, str]) -> Iterator[Server]:
    with serving(run_folder / f"shop-{engine}", **shop) as running:
        yield running


@contextlib.contextmanager
def serving(folder: Path, *, workers: int = 2, **settings: str) -> Iterator[Server]:
    """A server whose workers have read the catalog."""
    with Server(folder, workers=workers, **SERVED, **settings) as running:
        wait_until_read(running.url, workers)
        yield running


def wait_until_read(url: str, workers: int) -> None:
    """A cold engine takes longer than a start waits. Each 503 takes a second or two itself."""
    until = time.monotonic() + CATALOG_SECONDS
    # So many connections reach every worker.
    for _ in range(4 * workers):
        with Api(url) as client:
            while client.get("/nulls").status_code == 503:
                assert time.monotonic() < until


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    with Api(server.url) as client:
        yield client


def family_and_text(engine: str, shop: dict[str, str]) -> tuple[str, str]:
    (text,) = shop.values()
    return engine, text


def _flask(settings: dict[str, str], *words: object) -> None:
    command = [sys.executable, "-m", "flask", "--app", "app", *map(str, words)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=bare_environment(**settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
