"""Reads go to replicas that have what the reader has seen; everything else goes to the primary."""

import json
import re
import threading
import time

import pytest

from protocol.consistency import Token
from replicas.reads import MOST_WAITING
from testkit.agent import headers_of, tool_call
from testkit.api_client import unique_name
from testkit.routed import routed, states, wait_for_states

TOKEN = "Consistency-Token"


@pytest.fixture
def client(pair, make_app):
    """The app over both standbys, with a wait that is over before the second one has a write."""
    app = make_app(pair.settings(REPLICA_WAIT_SECONDS="0.05"))
    wait_for_states(app, "ready", "ready")
    return app.test_client()


@pytest.fixture
def late(pair, make_app):
    """The app over the standby that is one second behind."""
    behind = pair.standbys[1].connection_string()
    app = make_app(pair.settings(POSTGRESQLCONNSTR_WWIF_REPLICA=behind, REPLICA_WAIT_SECONDS="0.2"))
    wait_for_states(app, "ready")
    return app.test_client()


def new_customer(client, **options):
    name = unique_name()
    made = client.put("/customer", json={"CustomerName": name}, **options)
    assert made.status_code == 201, made.text
    return name, made.headers["Location"], made.headers[TOKEN]


def new_order(client, **options):
    made = client.post("/order", json={"customer": unique_name(), "amount": 1}, **options)
    assert made.status_code == 201, made.text
    return made.headers["Location"], made.headers[TOKEN]


def test_a_read_with_the_token_of_a_write_finds_it(client):
    for _ in range(5):
        name, path, token = new_customer(client)
        read = client.get(path, headers={TOKEN: token})
        assert read.json[0]["CustomerName"] == name
        listed = client.get(f"/customers?name={name}&format=ndjson", headers={TOKEN: token})
        assert json.loads(listed.text)["CustomerName"] == name
        path, token = new_order(client)
        assert client.get(path, headers={TOKEN: token}).status_code == 200
        number = int(path.rpartition("/")[2])
        for kind in ("json", "ndjson", "csv"):
            listed = client.get(f"/orders?max_rows=100000&format={kind}", headers={TOKEN: token})
            assert str(number) in listed.text
    assert routed(client.application)["replica current"]


def test_a_read_without_a_token_goes_to_the_replicas_in_turn(client):
    before = routed(client.application)
    for path in ("/customer/123", "/customers", "/orders", "/order/1", "/passengers") * 4:
        assert client.get(path).status_code == 200
    assert routed(client.application) - before == {"replica current": 20}
    text = client.get("/metrics").text
    for number in (1, 2):
        assert re.search(
            rf'db_pool_connects_total\{{database="WWIF-replica-{number}"\}} [1-9]', text
        )


def test_a_replica_that_lacks_the_write_does_not_serve_its_token(late):
    path, token = new_order(late)
    assert late.get(path).status_code == 404
    assert late.get(path, headers={TOKEN: token}).status_code == 200
    assert routed(late.application) == {"replica current": 1, "primary behind": 1}


def test_a_read_waits_for_a_replica_that_has_the_write_in_time(pair, make_app):
    behind = pair.standbys[1].connection_string()
    app = make_app(pair.settings(POSTGRESQLCONNSTR_WWIF_REPLICA=behind, REPLICA_WAIT_SECONDS="10"))
    wait_for_states(app, "ready")
    client = app.test_client()
    path, token = new_order(client)
    assert client.get(path, headers={TOKEN: token}).status_code == 200
    assert routed(app) == {"replica waited": 1}


def test_a_client_without_tokens_can_ask_for_the_primary(late):
    path, _ = new_order(late)
    assert late.get(path).status_code == 404
    assert late.get(path, headers={"Consistency": "primary"}).status_code == 200
    assert routed(late.application)["primary required"] == 1


def test_an_agent_reads_what_it_wrote_and_may_send_the_token_instead(late):
    def call(name, headers=None, **arguments):
        sent = tool_call(name, **arguments)
        return late.post("/mcp", json=sent, headers={**headers_of(sent), **(headers or {})})

    made = call("create_order", customer=unique_name(), amount=1)
    (row,) = made.json["result"]["structuredContent"]["result"]
    number = row["order_id"]
    assert not call("get_order", order_id=number).json["result"]["isError"]
    assert routed(late.application)["primary required"] == 1
    token = {TOKEN: made.headers[TOKEN]}
    assert not call("get_order", token, order_id=number).json["result"]["isError"]
    assert routed(late.application)["primary behind"] == 1


def test_tokens_of_several_writes_are_all_waited_for(late):
    first, one = new_order(late)
    _, path, two = new_customer(late)
    for read in (first, path):
        assert late.get(read, headers={TOKEN: f"{two}, {one}"}).status_code == 200
    assert routed(late.application) == {"primary behind": 2}


def test_the_token_of_another_database_means_nothing_here(client):
    token = str(Token("ERP", "c", int(time.time()), "some-key"))
    assert client.get("/order/1", headers={TOKEN: token}).status_code == 200
    assert routed(client.application) == {"replica current": 1}


def test_an_unknown_token_costs_a_bounded_wait_then_the_primary_answers(late):
    token = str(Token("WWIF", "c", int(time.time()), unique_name("unknown-")))
    began = time.monotonic()
    assert late.get("/order/1", headers={TOKEN: token}).status_code == 200
    assert time.monotonic() - began < 10
    assert routed(late.application) == {"primary behind": 1}


def test_waiting_reads_hold_no_connection_and_only_so_many_wait(pair, make_app):
    app = make_app(pair.settings(REPLICA_WAIT_SECONDS="1.5", POOL_MAX_SIZE="2"))
    wait_for_states(app, "ready", "ready")
    token = str(Token("WWIF", "c", int(time.time()), unique_name("unknown-")))
    answers = []

    def read():
        with app.test_client() as client:
            answers.append(client.get("/order/1", headers={TOKEN: token}).status_code)

    readers = [threading.Thread(target=read) for _ in range(3 * MOST_WAITING)]
    for reader in readers:
        reader.start()
    with app.test_client() as client:
        # Served meanwhile, with two connections for each database and 24 readers.
        assert [client.get("/order/2").status_code for _ in range(20)] == [200] * 20
    for reader in readers:
        reader.join()
    assert answers == [200] * len(readers)
    assert routed(app)["primary behind"] == len(readers)


def test_the_token_of_an_expired_key_goes_to_the_primary_at_once(late):
    token = str(Token("WWIF", "c", int(time.time()) - 13 * 3600, "gone"))
    assert late.get("/order/1", headers={TOKEN: token}).status_code == 200
    assert routed(late.application) == {"primary required": 1}


def test_a_row_of_the_same_key_that_is_older_than_its_retention_is_not_taken_for_it(pair, client):
    key = unique_name("again-")
    path, token = new_order(client, headers={"Idempotency-Key": key})
    pair.primary.run_sql(
        "UPDATE procedures_api.requests SET created_at = created_at - interval '25 hours'"
        f" WHERE request_key = '{key}'"
    )
    # As if the clean-up and a second write with this key had not reached the replica.
    client.get(path, headers={TOKEN: new_order(client)[1]})
    before = routed(client.application)
    deadline = time.monotonic() + 10
    while True:
        client.get(path, headers={TOKEN: token})
        if (routed(client.application) - before)["primary behind"]:
            break
        assert time.monotonic() < deadline


def test_a_replayed_write_answers_with_its_token_again(client):
    key = {"Idempotency-Key": unique_name("replay-")}
    document = {"customer": "Twice", "amount": 2}
    first = client.post("/order", json=document, headers=key)
    second = client.post("/order", json=document, headers=key)
    assert second.headers["Idempotency-Replayed"] == "true"
    keys = {answer.headers[TOKEN].rpartition(".")[2] for answer in (first, second)}
    assert len(keys) == 1


def test_a_failed_write_and_one_without_a_key_answer_without_a_token(client):
    for path in ("/order/5/approve", "/archive"):
        answer = client.post(path)
        assert TOKEN not in answer.headers, answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Consistency": "eventual"},
        {TOKEN: ""},
        {TOKEN: "WWIF"},
        {TOKEN: "WWIF.c0.!!"},
        {TOKEN: "WWIF.x0.a2V5"},
        {TOKEN: "WWIF.c0.a2V5" + "A" * 400},
        {TOKEN: "WWIF.c0.a"},
        {TOKEN: "WWIF.c0.AAAA"},  # control characters
        {TOKEN: ", ".join(["WWIF.c0.a2V5"] * 9)},
    ],
)
def test_an_invalid_header_is_refused_before_a_connection_is_used(client, headers):
    before = routed(client.application)
    answer = client.get("/order/1", headers=headers)
    assert answer.status_code == 400
    assert answer.json["type"].endswith(":invalid-header")
    assert routed(client.application) == before


def test_a_read_that_changes_data_is_served_by_the_primary_from_then_on(pair, client):
    pair.primary.run_sql(
        "CREATE TABLE IF NOT EXISTS api.visits (n int);"
        "GRANT ALL ON api.visits TO webapp;"
        "CREATE OR REPLACE FUNCTION api.get_visits() RETURNS bigint LANGUAGE sql"
        " AS 'INSERT INTO api.visits VALUES (1); SELECT count(*) FROM api.visits'"
    )
    app = client.application
    app.extensions["catalog"].live.refresh()
    deadline = time.monotonic() + 10
    while routed(app)["primary required"] < 3:
        assert client.get("/visits").status_code == 200
        assert time.monotonic() < deadline
    before = routed(app)
    assert client.get("/visits").status_code == 200
    assert routed(app) - before == {"primary required": 1}


def test_writes_and_the_catalog_never_use_a_replica(client):
    new_order(client)
    new_customer(client)
    text = client.get("/metrics").text
    assert 'db_call_failures_total{database="WWIF-replica' not in text
    assert not routed(client.application)


def test_without_replicas_there_is_no_token_and_the_headers_have_no_effect(pair, make_app):
    app = make_app(pair.settings(POSTGRESQLCONNSTR_WWIF_REPLICA=""))
    client = app.test_client()
    made = client.post("/order", json={"customer": "None", "amount": 1})
    assert made.status_code == 201
    assert TOKEN not in made.headers
    assert client.get("/order/1", headers={"Consistency": "x", TOKEN: "y"}).status_code == 200
    assert states(app) == {}
