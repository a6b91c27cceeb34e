"""The OpenAPI document describes tokens where a database has replicas, and only there."""

import re

from openapi_spec_validator import validate

from testkit.routed import wait_for_states

READS = ("/customer/{customer_id}", "/customers", "/order/{order_id}", "/orders")
WRITES = (("/customer", "put"), ("/order", "post"), ("/customer/{customer_id}", "delete"))


def headers_of(described):
    return {p["name"]: p["schema"] for p in described["parameters"] if p["in"] == "header"}


def test_reads_and_writes_of_a_database_with_replicas_have_the_headers(pair, make_app):
    app = make_app(pair.settings())
    wait_for_states(app, "ready", "ready")
    client = app.test_client()
    document = client.get("/openapi.json").json
    validate(document)
    for path in READS:
        headers = headers_of(document["paths"][path]["get"])
        assert headers["Consistency"] == {"type": "string", "enum": ["primary"]}
        pattern = headers["Consistency-Token"]["pattern"]
        made = client.post("/order", json={"customer": "Documented", "amount": 1})
        token = made.headers["Consistency-Token"]
        assert re.search(pattern, token)
        assert re.search(pattern, f"{token}, {token}")
        assert not re.search(pattern, ",".join([token] * 9))
    for path, method in WRITES:
        described = document["paths"][path][method]
        assert "Consistency-Token" not in headers_of(described)
        responses = described["responses"]
        sent = {s for s, r in responses.items() if "Consistency-Token" in r.get("headers", {})}
        assert sent
        assert all(status.startswith("2") for status in sent)
    archived = document["paths"]["/archive"]["post"]
    assert "Consistency-Token" not in str(archived)


def test_without_replicas_no_operation_has_them(pair, make_app):
    app = make_app(pair.settings(POSTGRESQLCONNSTR_WWIF_REPLICA=""))
    assert "Consistency" not in app.test_client().get("/openapi.json").text


def test_readiness_reports_each_replica_and_stays_ready_without_them(pair, make_app):
    gone = "SERVER=127.0.0.1;PORT=1;DATABASE=app;UID=webapp"
    strings = f"{pair.standbys[0].connection_string()} | {gone}"
    app = make_app(pair.settings(POSTGRESQLCONNSTR_WWIF_REPLICA=strings))
    wait_for_states(app, "ready", "unreachable")
    answer = app.test_client().get("/health/ready")
    assert answer.status_code == 200
    first, second = answer.json["databases"]["WWIF"]["replicas"]
    assert first["name"] == "WWIF-replica-1"
    assert first["lag_seconds"] < 10
    assert second == {"name": "WWIF-replica-2", "state": "unreachable", "lag_seconds": None}
    text = app.test_client().get("/metrics").text
    assert 'db_replica_ready{replica="WWIF-replica-1"} 1.0' in text
    assert 'db_replica_ready{replica="WWIF-replica-2"} 0.0' in text
