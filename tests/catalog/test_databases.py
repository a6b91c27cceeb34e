"""Databases of any name are served; the sample's routes only where the sample is."""

import pytest

from app import create_app
from database.errors import NotConfigured
from databases import EMBEDDED, Databases
from settings import read_settings
from testkit.routes import NOWHERE

OWN = {
    *("/", "/health/live", "/health/ready", "/openapi.json", "/docs", "/metrics", "/assets/{name}"),
    *("/status", "/status.json"),
}
SAMPLE = {"/customers", "/taxidata", "/passengers"}


@pytest.fixture
def made(tmp_path):
    apps = []

    def make(**environment):
        apps.append(create_app(read_settings({"LOCAL_DIR": str(tmp_path), **environment})))
        return apps[-1]

    yield make
    for app in apps:
        app.extensions["databases"].close()


def rules(app):
    return {rule.rule for rule in app.url_map.iter_rules()}


def test_without_the_sample_its_routes_are_not_there(made):
    app = made(POSTGRESQLCONNSTR_ERP=NOWHERE, POSTGRESQLCONNSTR_CRM=NOWHERE)
    assert rules(app) >= OWN - {"/assets/{name}"}
    assert not rules(app) & SAMPLE
    assert app.extensions["databases"].names() == ("CRM", "ERP")
    client = app.test_client()
    # Any path may be one of a catalog that can't be read now.
    assert client.get("/customers").status_code == 503
    assert set(client.get("/openapi.json").json["paths"]) <= OWN
    assert list(client.get("/health/ready").json["databases"]) == ["CRM", "ERP"]
    assert "customers" not in client.get("/").json["links"]
    page = client.get("/", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "curl" not in page.text


@pytest.mark.parametrize("name", ["WWIF", "TAXI"])
def test_with_one_of_the_samples_databases_all_its_routes_are_there(made, name):
    app = made(**{f"POSTGRESQLCONNSTR_{name}": NOWHERE, "POSTGRESQLCONNSTR_ERP": NOWHERE})
    assert rules(app) >= SAMPLE
    states = app.test_client().get("/health/ready").json["databases"]
    assert list(states) == ["WWIF", "TAXI", "ERP"]
    assert [n for n, s in states.items() if s["state"] == "not configured"] == [
        {"WWIF": "TAXI", "TAXI": "WWIF"}[name]
    ]


def test_every_database_has_a_manager_of_its_own(made):
    databases = made(POSTGRESQLCONNSTR_ERP=NOWHERE, POSTGRESQLCONNSTR_CRM=NOWHERE).extensions[
        "databases"
    ]
    assert databases.manager("ERP") is not databases.manager("CRM")
    assert databases.manager("ERP").name == "ERP"
    with pytest.raises(NotConfigured, match="No connection string for HR is set"):
        databases.manager("HR")


def test_the_embedded_default_is_one_database_with_the_schemas_of_both_of_the_samples(tmp_path):
    settings = read_settings(
        {"LOCAL_DIR": str(tmp_path), "EXPOSED_SCHEMAS": "api,WWIF:web,TAXI:dbo,ERP:x,api"}
    )
    databases = Databases(settings)
    assert databases.names() == (EMBEDDED,)
    assert databases.schemas_of(EMBEDDED) == ("api", "web", "dbo")
