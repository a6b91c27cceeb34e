"""The Postman collection in the repository is that of the routes."""

import json

from operations.openapi import document
from operations.postman import CREATED, collection
from settings import ROOT
from testkit.routes import application

COLLECTION = ROOT / "postman" / "sql-procedures-api.postman_collection.json"


def requests(made):
    return [item for folder in made["item"] for item in folder["item"]]


def test_it_is_what_flask_openapi_writes(folder):
    with application(folder) as app:
        made = collection(document(app))
    assert json.loads(COLLECTION.read_text(encoding="utf-8")) == made, (
        f"flask openapi --postman > {COLLECTION.relative_to(ROOT)}"
    )


def test_what_it_changes_and_deletes_is_what_it_has_made():
    sent = [item["request"] for item in requests(json.loads(COLLECTION.read_text()))]
    changing = [r for r in sent if r["method"] != "GET" and "variable" in r["url"]]
    assert {r["method"] for r in changing} == {"PUT", "PATCH", "DELETE"}
    for request in changing:
        assert [v["value"] for v in request["url"]["variable"]] == [
            f"{{{{{CREATED.format(tag='customer')}}}}}"
        ]


def test_every_request_of_it_has_a_test():
    for item in requests(json.loads(COLLECTION.read_text())):
        (event,) = item["event"]
        assert event["listen"] == "test"
        assert any("pm.test(" in line for line in event["script"]["exec"])
