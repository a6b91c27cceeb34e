"""Connection strings decide what serves; what can not serve does not start, and says why."""

import subprocess
import sys

import pytest

from settings import ROOT, variable_names
from testkit.api_client import Api, assert_problem
from testkit.routes import NOWHERE
from testkit.server import Server, bare_environment

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
    "a setting that is no number": (
        {"POOL_MAX_SIZE": "many"},
        "POOL_MAX_SIZE must be a number of connections (of one process to a database), such as 8.",
    ),
    "one database named twice": (
        {"SQLCONNSTR_WWIF": "Server=a", "SQLAZURECONNSTR_WWIF": "Server=b"},
        "Set one of SQLAZURECONNSTR_WWIF and SQLCONNSTR_WWIF, not both: they name WWIF twice.",
    ),
}


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize(("settings", "sentence"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_stops_the_start_with_one_sentence(folder, server, settings, sentence):
    done = subprocess.run(
        [sys.executable, "-m", *server],
        cwd=ROOT,
        env=bare_environment(LOCAL_DIR=str(folder), **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.count(sentence) == 1
    assert "Traceback" not in done.stderr
    assert not (folder / "postgresql").exists()


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
