"""The way in: a page for browsers, JSON for others, and whether the databases answer."""

import pytest

from testkit.api_client import Api, assert_problem
from testkit.server import Server

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
NOWHERE = "SERVER=127.0.0.1;PORT=1;DATABASE=x;UID=x"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "", "image/png"])
def test_a_program_is_told_in_json_where_everything_is(api, accept):
    response = api.get("/", headers={"Accept": accept})
    assert response.headers["Content-Type"] == "application/json"
    assert "Accept" in response.headers["Vary"]
    body = response.json()
    assert body["health"]["status"] == "ready"
    for link in body["links"].values():
        assert api.get(link).status_code == 200


def test_a_browser_gets_a_page(api):
    response = api.get("/", headers={"Accept": BROWSER})
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert f"curl {api.url}" in response.text


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_takes_nothing_from_elsewhere_and_runs_no_script_of_its_text(api, path):
    response = api.get(path, headers={"Accept": BROWSER})
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "http" not in response.text.replace(api.url, "")


def test_a_host_that_is_markup_is_shown_as_text(api):
    response = api.get("/", headers={"Accept": BROWSER, "Host": '"><script>alert(1)</script>'})
    assert "<script>alert" not in response.text


@pytest.mark.parametrize(
    "name", ["nothing.js", "..%2fpages.py", "landing.html", "swagger-ui.js", "docs.js.map"]
)
def test_an_asset_that_is_none_is_not_found(api, name):
    assert_problem(api.get(f"/assets/{name}"), 404, "not-found")


def test_both_databases_are_ready(api):
    response = api.get("/health/ready")
    assert response.status_code == 200
    body = response.json()
    assert body["status"] == "ready"
    assert list(body["databases"]) == ["WWIF", "TAXI"]
    for database in body["databases"].values():
        assert database["state"] == "ready"
        assert database["latency_ms"] > 0


@pytest.fixture(scope="module")
def half(run_folder, worker_id):
    """A server with one database that can't be reached, and one that is not configured."""
    with Server(run_folder / f"half-{worker_id}", POSTGRESQLCONNSTR_WWIF=NOWHERE) as server:
        yield server


def test_a_database_that_is_down_makes_the_api_not_ready_but_alive(half):
    with Api(half.url) as api:
        response = api.get("/health/ready")
        assert response.status_code == 503
        assert response.json() == {
            "status": "not ready",
            "databases": {
                "WWIF": {"state": "unreachable", "latency_ms": None},
                "TAXI": {"state": "not configured", "latency_ms": None},
            },
        }
        assert api.get("/health/live").json() == {"status": "live"}
        assert api.get("/").status_code == 200
