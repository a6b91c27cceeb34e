"""Connection strings select the databases; an invalid one stops the start with a sentence."""

import re
import subprocess
import sys
import time

import pytest

from settings import ROOT, variable_names
from testkit.api_client import Api, assert_problem
from testkit.callers import api_keys
from testkit.routes import NOWHERE
from testkit.server import Server, bare_environment
from tests.security.test_start import application

SERVERS = {
    "gunicorn": ("gunicorn", "--workers", "2", "--bind", "127.0.0.1:0", "app:app"),
    "flask run": ("flask", "--app", "app", "run", "--port", "0"),
}
WRONG = {
    "on App Service with no database": (
        {"WEBSITE_SITE_NAME": "app"},
        "Set the connection string WWIF or TAXI of this web app (type SQLAzure):"
        " on App Service there is no embedded database.",
    ),
    "a setting other than a number": (
        {"POOL_MAX_SIZE": "many"},
        "POOL_MAX_SIZE=many is wrong: it must be a whole number of connections from 1 to 1000,"
        " such as 8.",
    ),
    "a fraction of an hour": (
        {"IDEMPOTENCY_KEY_HOURS": "0.5"},
        "IDEMPOTENCY_KEY_HOURS=0.5 is wrong: it must be a whole number of hours from 1 to 8760,"
        " such as 24.",
    ),
    "a deadline other than a number": (
        {"ROUTE_DEADLINES": "/customers=soon"},
        "ROUTE_DEADLINES=/customers=soon is wrong: it must be a list of /route=seconds,"
        " joined by commas.",
    ),
    "an invalid connection string": (
        {"SQLAZURECONNSTR_WWIF": "PWD=secret=1;{{"},
        "SQLAZURECONNSTR_WWIF: A connection string is KEY=value pairs separated by semicolons;",
    ),
    "a folder that can not be written": (
        {"LOCAL_DIR": "/proc/sql-procedures-api"},
        "LOCAL_DIR=/proc/sql-procedures-api can not be written (No such file or directory):"
        " set LOCAL_DIR to a folder that this account may write.",
    ),
    "traces to an Application Insights, without its package": (
        {"TRACES_TO": "InstrumentationKey=secret"},
        "TRACES_TO is set, but the package azure.monitor is not installed: .venv/bin/pip install"
        " -r requirements-tracing.txt azure-monitor-opentelemetry-exporter==",
    ),
    "a driver that is not installed": (
        {"SQLAZURECONNSTR_WWIF": "Driver={None such};Server=x;UID=x;PWD=secret"},
        "SQLAZURECONNSTR_WWIF: The ODBC driver 'None such' is not installed; installed: ",
    ),
    "one database named twice": (
        {"SQLCONNSTR_WWIF": "Server=a", "SQLAZURECONNSTR_WWIF": "Server=b"},
        "Set one of SQLAZURECONNSTR_WWIF and SQLCONNSTR_WWIF, not both: they name WWIF twice.",
    ),
}


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize(("settings", "sentence"), WRONG.values(), ids=WRONG)
def test_an_invalid_setting_stops_the_start_with_one_sentence(folder, server, settings, sentence):
    assert_refused(folder, server, settings, sentence)
    assert not (folder / "postgresql").exists()


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
def test_a_deadline_for_an_unknown_route_stops_the_start(folder, server):
    """After the embedded database has started, because its catalog may have the route."""
    sentence = "ROUTE_DEADLINES names /nowhere, which is not a route: use /, /assets/<name>, "
    assert_refused(folder, server, {"ROUTE_DEADLINES": "/nowhere=3"}, sentence)


def assert_refused(folder, server, settings, sentence):
    """`server` does not start with `settings`, and its last line has `sentence`."""
    done = subprocess.run(
        [sys.executable, "-m", *server],
        cwd=ROOT,
        env=bare_environment(**{"LOCAL_DIR": str(folder), **settings}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.count(sentence) == 1
    assert sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
def test_the_start_says_once_which_database_serves_what(folder, server):
    text = "Server=192.0.2.1;Port=1;Database=shop;UID=api;PWD=not-for-the-log"
    log_file = folder / "start.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *server],
            cwd=ROOT,
            env=bare_environment(
                LOCAL_DIR=str(folder),
                LOG_FORMAT="text",
                POSTGRESQLCONNSTR_WWIF=text,
                SQLAZURECONNSTR_TAX="Server=x",
            ),
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 60
        # Each server's own line once it serves, of every worker.
        while not re.search(r"(?s)Booting.*Booting|Running on", log_file.read_text()):
            assert time.monotonic() < deadline, log_file.read_text()
            time.sleep(0.05)
    finally:
        process.terminate()
        process.wait(60)
    lines = [line.partition(" ")[2] for line in log_file.read_text().splitlines()]
    assert [line for line in lines if " start: " in line] == [
        "WARNING start: SQLAZURECONNSTR_TAX names the database TAX; the sample's is TAXI.",
        "INFO start: Databases: customers and passengers: 192.0.2.1/shop from"
        " POSTGRESQLCONNSTR_WWIF; taxi trips: not configured; TAX: x/? from SQLAZURECONNSTR_TAX",
    ]
    assert "not-for-the-log" not in log_file.read_text()


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_the_embedded_sample_names_itself_at_the_start_and_on_its_pages(server):
    with Api(server.url) as api:
        report = api.get("/health/ready").json()
        page = api.get("/", headers={"Accept": "text/html"}).text
    log = server.log.read_text()
    starts = log.count("Starting gunicorn")
    line = "Serving the embedded sample (invented data): customers and passengers"
    assert log.count(line) == starts
    sources = {database["source"] for database in report["databases"].values()}
    assert sources == {"embedded sample with invented data"}
    assert 'id="embedded"' in page
    assert "SQLAZURECONNSTR_WWIF" in page


def test_only_operators_see_the_names_of_servers(folder):
    keys, credentials = api_keys([("ann", "read,operate")])
    settings = {"POSTGRESQLCONNSTR_WWIF": NOWHERE, "AUTH": "keys", "API_KEYS": keys}
    with application(folder, **settings) as app:
        client = app.test_client()
        page = client.get("/", headers={"Accept": "text/html"}).text
        assert 'id="embedded"' not in page
        for headers, source in (
            ({}, "POSTGRESQLCONNSTR_WWIF"),
            (credentials["ann"], "127.0.0.1/x from POSTGRESQLCONNSTR_WWIF"),
        ):
            databases = client.get("/health/ready", headers=headers).json["databases"]
            assert databases["WWIF"]["source"] == source
            assert databases["TAXI"]["source"] == "not configured"


def test_no_worker_is_no_server(folder):
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "app:app"],
        cwd=ROOT,
        env=bare_environment(LOCAL_DIR=str(folder), WEB_CONCURRENCY="0"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == "WEB_CONCURRENCY=0 is wrong: set 1 or more workers."


@pytest.mark.parametrize(
    ("configured", "missing", "paths"),
    [
        ("WWIF", "TAXI", ["/taxidata", "/taxidataprice/20", "/taxidata/summary?by=hour"]),
        ("TAXI", "WWIF", ["/customer/123", "/customers"]),
    ],
)
def test_with_one_database_the_others_routes_name_the_missing_variable(
    folder, configured, missing, paths
):
    with Server(folder, **{f"POSTGRESQLCONNSTR_{configured}": NOWHERE}) as server:
        with Api(server.url) as api:
            for path in paths:
                problem = assert_problem(api.get(path), 503, "not-configured")
                assert all(name in problem["detail"] for name in variable_names(missing))
        assert not (folder / "postgresql").exists()
