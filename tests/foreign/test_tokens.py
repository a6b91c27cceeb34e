"""The guard in front of a replica's read, and the position of a database, on each real engine."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime, timedelta, timezone

import pytest

from catalog.statements import require_key
from connection_manager import ConnectionManager
from database.deadline import Deadline
from database.errors import DatabaseError, Kind
from database.statement import Statement
from replicas.replica import position_of
from settings import REPLICA
from testkit.api_client import Api, unique_name
from testkit.server import Server
from tests.foreign.conftest import SERVED, family_and_text

TOKEN = "Consistency-Token"
CREATE = {
    "sqlserver": "EXEC shop.create_order @customer = ?, @amount = 1",
    "postgresql": "SELECT * FROM shop.create_order(customer => ?, amount => 1)",
}


@pytest.fixture
def manage(engine, shop):
    """manage(): a new manager, closed at the end of the test."""
    family, text = family_and_text(engine, shop)
    with contextlib.ExitStack() as opened:
        yield lambda: opened.enter_context(
            contextlib.closing(ConnectionManager(text, family=family, max_size=2))
        )


@pytest.fixture
def manager(manage):
    return manage()


def utc(**before: float) -> str:
    moment = datetime.now(timezone.utc) - timedelta(**before)
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def guarded(manager, engine, key, since):
    statement = require_key(engine, key, since).before(Statement("SELECT 7 AS n"))
    (found,) = manager.execute("guarded", statement, repeatable=True)
    return found.rows[0][0]


def create(api) -> str:
    key = unique_name()
    body = {"customer": "Ada", "amount": 1}
    assert api.post("/order", json=body, headers={"Idempotency-Key": key}).status_code == 201
    return key


def test_behind_a_guard_whose_key_is_stored_the_read_runs(api, manager, engine):
    key = create(api)
    assert guarded(manager, engine, key, utc(hours=1)) == 7


@pytest.mark.parametrize("caller", [None, '{"subject": "Ada"}'])
def test_behind_a_guard_whose_key_is_missing_nothing_runs(api, manage, engine, caller):
    manager = manage()
    customer = unique_name()
    write = Statement(CREATE[engine], (customer,))
    missing = require_key(engine, unique_name(), utc(hours=1))
    with pytest.raises(DatabaseError) as raised:
        manager.execute("guarded", missing.before(write), caller=caller, repeatable=True)
    assert raised.value.kind is Kind.BEHIND
    assert api.get("/orders", params={"customer": customer}).json() == []
    # The session is whole, and behind a key that is stored the same statement runs. Babelfish keeps
    # the caller when a session is reset, and refuses to set it a second time.
    stored = require_key(engine, create(api), utc(hours=1))
    manager = manager if caller is None or engine == "postgresql" else manage()
    manager.execute("guarded", stored.before(write), caller=caller, repeatable=True)
    assert len(api.get("/orders", params={"customer": customer}).json()) == 1


def test_a_row_from_before_the_time_of_the_token_does_not_count(api, manager, engine):
    key = create(api)
    with pytest.raises(DatabaseError) as raised:
        guarded(manager, engine, key, utc(hours=-1))
    assert raised.value.kind is Kind.BEHIND


def test_a_write_moves_the_position_and_not_the_identity(api, manager):
    manager.execute_once("warm", Statement("SELECT 1 AS one"), deadline=Deadline(30))
    create(api)
    before = position_of(manager)
    time.sleep(0.01)
    create(api)
    after = position_of(manager)
    assert before.at < after.at
    assert before.identity == after.identity
    assert not after.reads_only


def test_a_read_with_a_token_finds_its_write_whatever_serves_it(
    engine, run_folder, shop, worker_id
):
    ((variable, text),) = shop.items()
    settings = {**SERVED, **shop, f"{variable}{REPLICA}": text}
    folder = run_folder / f"tokens-{engine}-{worker_id}"
    with Server(folder, workers=1, **settings) as server, Api(server.url) as api:
        for _ in range(5):
            made = api.post("/order", json={"customer": "Ada", "amount": 1})
            path = f"/order/{made.json()[0]['order_id']}"
            read = api.get(path, headers={TOKEN: made.headers[TOKEN]})
            assert read.status_code == 200
