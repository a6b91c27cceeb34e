"""What all suites share: a folder below TESTS for real clusters, wiped at both ends."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import FlaskGroup
from hypothesis import HealthCheck, settings

from app import create_app
from testkit.api_client import Api
from testkit.engines import ENGINES, environment_of
from testkit.places import TESTS
from testkit.secret_watch import SecretWatch, leaks
from testkit.server import Server, bare_environment

# Set by the first process of a run and inherited by the workers of pytest-xdist.
RUN_FOLDER = "TESTS_RUN_FOLDER"
# The same for the signals that it was started to ignore: a background job of a script ignores
# SIGINT and SIGQUIT, one under nohup SIGHUP.
IGNORED_SIGNALS = "TESTS_IGNORED_SIGNALS"
# `scripts/test --fast`: folders and files whose tests take milliseconds each, and one file of the
# contract: each file that needs a server makes a cluster in its own process.
FAST = (
    *("unit", "catalog/test_binding.py", "catalog/test_convention.py", "catalog/test_header.py"),
    "contract/test_customers.py",
)
# Files of tests/unit that start processes or databases, or take seconds.
NOT_FAST = {
    *("test_azure_deploy.py", "test_cli.py", "test_containers.py", "test_doctor.py"),
    *("test_documents_site.py", "test_embedded.py", "test_sql_scripts.py", "test_suite.py"),
    "test_taxi_file.py",
    *("test_pool_state_machine.py", "test_pool_threads.py"),
}
WATCH = pytest.StashKey[SecretWatch]()
# A busy machine makes examples slowly, which is no fault of what is tested.
settings.register_profile("suite", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("suite")


def pytest_configure() -> None:
    # PostgreSQL's account must pass the folders that root makes.
    os.umask(0o022)
    _give_children_default_signals()
    if RUN_FOLDER in os.environ:
        return
    TESTS.mkdir(parents=True, exist_ok=True)
    for folder in TESTS.glob("run-*"):
        if not _alive(int(folder.name.removeprefix("run-"))) and not _in_use(folder):
            shutil.rmtree(folder)
    folder = TESTS / f"run-{os.getpid()}"
    folder.mkdir()
    os.environ[RUN_FOLDER] = str(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    for item in items:
        if not item.path.is_relative_to(tests):
            continue
        place = item.path.relative_to(tests)
        named = {place.as_posix(), place.parts[0]}
        if named.intersection(FAST) and place.name not in NOT_FAST:
            item.add_marker("fast")


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[WATCH] = watch = SecretWatch(Path(os.environ[RUN_FOLDER]))
    watch.begin()


def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[WATCH].end()
    folder = Path(os.environ[RUN_FOLDER])
    if folder.name != f"run-{os.getpid()}":
        return
    found = [*leaks(folder, *TESTS.glob("*.log"))]
    if found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\nSecrets that tests used are in their logs:", *found, sep="\n  ")


def pytest_unconfigure() -> None:
    folder = Path(os.environ.get(RUN_FOLDER, ""))
    if folder.name == f"run-{os.getpid()}":
        shutil.rmtree(folder)


def _give_children_default_signals() -> None:
    """The run goes on ignoring what it was started to ignore, and the processes that tests start
    do not: exec() keeps an ignored signal ignored, but resets a handled one to its default."""
    stops = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
    ignored = [str(int(n)) for n in stops if signal.getsignal(n) is signal.SIG_IGN]
    for number in os.environ.setdefault(IGNORED_SIGNALS, " ".join(ignored)).split():
        signal.signal(int(number), lambda *_: None)


def _alive(pid: int) -> bool:
    return Path("/proc", str(pid)).exists()


def _in_use(folder: Path) -> bool:
    """Whether a server that outlived its run still holds a cluster in `folder`."""
    for lock in folder.rglob("users.lock"):
        with lock.open() as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


@pytest.fixture(scope="session")
def run_folder() -> Path:
    """This run's folder, which PostgreSQL's account can enter, unlike those of tmp_path."""
    return Path(os.environ[RUN_FOLDER])


@pytest.fixture
def folder(run_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder of this test's own, for a cluster or a server of its own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    path = run_folder / worker / request.node.originalname[:40]
    path.mkdir(parents=True)
    yield path
    # The logs are searched for secrets when all is over.
    for number, log in enumerate(path.rglob("*.log")):
        log.rename(run_folder / f"{worker}-{path.name}-{number}.log")
    shutil.rmtree(path)


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine that this machine can reach: the contract holds on all of them alike."""
    return request.param


@pytest.fixture(scope="session")
def server(engine: str, run_folder: Path) -> Iterator[Server]:
    """The product as it is run, `gunicorn app:app`, over one engine."""
    with Server(run_folder / engine, **environment_of(engine, run_folder)) as running:
        yield running


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    with Api(server.url) as client:
        yield client


@pytest.fixture
def flask(run_folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Run `flask …` in this process, as the command does, under settings of the test's own."""
    opened = []

    def make_app() -> Flask:
        app = create_app()
        opened.append(app.extensions["databases"])
        return app

    def run(*words: str, **environment: str) -> Result:
        environment = {"LOCAL_DIR": str(run_folder), **environment}
        for name, value in bare_environment(**environment).items():
            monkeypatch.setenv(name, value)
        group = FlaskGroup(create_app=make_app, load_dotenv=False)
        return CliRunner().invoke(group, words, prog_name="flask")

    yield run
    for databases in opened:
        databases.close()
