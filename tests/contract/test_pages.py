"""The way in: a page for browsers, JSON for others, and whether the databases answer."""

import socket
import time

import pytest

from testkit.api_client import Api, assert_problem
from testkit.callers import api_keys
from testkit.routes import NOWHERE
from testkit.server import Server
from tests.security.test_start import application

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "", "image/png"])
def test_a_program_is_told_in_json_where_everything_is(api, accept):
    checked(api)
    response = api.get("/", headers={"Accept": accept})
    assert response.headers["Content-Type"] == "application/json"
    assert "Accept" in response.headers["Vary"]
    body = response.json()
    for link in body["links"].values():
        assert api.get(link).status_code == 200


def test_a_browser_gets_a_page(api):
    response = api.get("/", headers={"Accept": BROWSER})
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert f"curl {api.url}" in response.text


@pytest.mark.parametrize("path", ["/", "/docs", "/status"])
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
    "name", ["nothing.js", "..%2fpages.py", "landing.html", "swagger-ui.js", "chartist.LICENSE"]
)
def test_an_asset_that_is_none_is_not_found(api, name):
    assert_problem(api.get(f"/assets/{name}"), 404, "not-found")


def test_both_databases_are_ready(api):
    response = checked(api)
    assert response.status_code == 200
    body = response.json()
    assert body["status"] == "ready"
    assert list(body["databases"]) == ["WWIF", "TAXI"]
    for database in body["databases"].values():
        assert database["state"] == "ready"
        assert database["latency_ms"] > 0
        assert database["age_seconds"] >= 0


def checked(api):
    """The answer once the first probe of each database has ended; before, it is "checking"."""
    for _ in range(200):
        response = api.get("/health/ready")
        if "checking" not in response.text:
            return response
        time.sleep(0.05)
    raise TimeoutError(response.text)


@pytest.fixture(scope="module")
def half(run_folder, worker_id):
    """A server with one database that can't be reached, and one that is not configured."""
    with Server(run_folder / f"half-{worker_id}", POSTGRESQLCONNSTR_WWIF=NOWHERE) as server:
        yield server


def test_the_page_has_charts_and_customers_only_where_their_database_is_configured(half, api):
    for url, sections in ((api.url, True), (half.url, False)):
        with Api(url) as site:
            page = site.get("/", headers={"Accept": BROWSER}).text
        assert ('id="trips"' in page) is sections
        assert 'id="customers"' in page


def test_queries_that_may_cost_money_are_run_on_a_click_only(run_folder, worker_id):
    away = {"POSTGRESQLCONNSTR_TAXI": NOWHERE}
    with application(run_folder / f"asked-{worker_id}", **away) as app:
        page = app.test_client().get("/", headers={"Accept": BROWSER}).text
    assert 'data-load="asked"' in page


def test_a_caller_is_told_its_route_groups(run_folder, worker_id):
    keys, credentials = api_keys([("ann", "read,operate")])
    folder = run_folder / f"groups-{worker_id}"
    with application(folder, AUTH="keys", API_KEYS=keys) as app:
        client = app.test_client()
        assert client.get("/").json["groups"] == []
        assert client.get("/", headers=credentials["ann"]).json["groups"] == ["read", "operate"]
        page = client.get("/status", headers={"Accept": BROWSER}).text
        assert "This API requires an API key." in page
        assert client.get("/status.json").status_code == 401
        assert client.get("/status.json", headers=credentials["ann"]).status_code == 200


def test_a_database_that_is_down_makes_the_api_not_ready_but_alive(half):
    with Api(half.url) as api:
        response = checked(api)
        assert response.status_code == 503
        body = response.json()
        assert body["status"] == "not ready"
        found = {
            n: (d["state"], d["latency_ms"], d["source"]) for n, d in body["databases"].items()
        }
        assert found == {
            "WWIF": ("unreachable", None, "127.0.0.1/x from POSTGRESQLCONNSTR_WWIF"),
            "TAXI": ("not configured", None, "not configured"),
        }
        assert api.get("/health/live").json() == {"status": "live"}
        assert api.get("/").status_code == 200


def test_only_readiness_connects_to_a_database_so_a_serverless_one_can_pause(run_folder, worker_id):
    """App Service requests / for Always On and the health path, each every few minutes."""
    with socket.create_server(("127.0.0.1", 0)) as database:
        database.setblocking(False)
        address = f"SERVER=127.0.0.1;PORT={database.getsockname()[1]};DATABASE=x;UID=x"
        folder = run_folder / f"pausing-{worker_id}"
        # A start reads the catalog of exposed schemas once; this database has none.
        settings = {"POSTGRESQLCONNSTR_WWIF": address, "EXPOSED_SCHEMAS": "ELSEWHERE:api"}
        with Server(folder, **settings) as server, Api(server.url) as api:
            for path in ("/", "/health/live"):
                for accept in (BROWSER, "*/*"):
                    assert api.get(path, headers={"Accept": accept}).status_code == 200
            with pytest.raises(BlockingIOError):
                database.accept()
            assert api.get("/health/ready").status_code == 503
            database.accept()[0].close()
