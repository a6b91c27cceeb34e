"""Keys of writes: what is stored with them, for how long, and what a client sees when it is not."""

from __future__ import annotations

import pytest

from connection_manager import ConnectionManager
from protocol.key_cleaner import KeyCleaner
from testkit.api_client import Api, assert_problem, unique_name
from tests.foreign.conftest import family_and_text, serving

# A row of an order without its texts has about 55.
LIMIT = 110


@pytest.fixture(scope="module")
def limited(engine, run_folder, shop, worker_id):
    """Few bytes of a response are kept, and messages of procedures are shown."""
    folder = run_folder / f"keys-{engine}-{worker_id}"
    more = {"MAX_STORED_RESPONSE_BYTES": str(LIMIT), "PROCEDURE_MESSAGES": "yes"}
    more["CSV_FORMULAS"] = "escape"
    with serving(folder, workers=1, **shop, **more) as server, Api(server.url) as api:
        yield api


@pytest.fixture
def manager(engine, shop):
    family, text = family_and_text(engine, shop)
    made = ConnectionManager(text, family=family, max_size=2)
    made.checkout().close()  # so that it knows its engine
    yield made
    made.close()


def create(api: Api, note: str, key: str):
    body = {"customer": "Ada", "amount": 1, "note": note}
    return api.post("/order", json=body, headers={"Idempotency-Key": key})


def test_a_response_beyond_the_limit_of_bytes_is_not_kept_and_its_replay_says_so(limited):
    short, long = unique_name(), unique_name()
    # As many characters, twice as many bytes.
    for note, key, is_kept in (("x" * 40, short, True), ("é" * 40, long, False)):
        first, second = create(limited, note, key), create(limited, note, key)
        assert (first.status_code, second.status_code) == (201, 201)
        assert second.headers["Idempotency-Replayed"] == "true"
        assert (second.content == first.content) is is_kept
    assert second.json() == {"detail": "The write was done before. Its response was not stored."}


def test_a_replay_without_its_body_links_to_the_read_of_the_same_path(limited):
    made = create(limited, "", unique_name()).json()[0]
    path, key = f"/order/{made['order_id']}", unique_name()
    body = {"customer": "é" * 40, "amount": 1}
    for _ in range(2):
        response = limited.put(path, json=body, headers={"Idempotency-Key": key})
        assert response.status_code == 200
    assert response.headers["Link"] == f'<{limited.url}{path}>; rel="related"'
    assert limited.get(path).json()[0]["customer"] == "é" * 40


def test_the_message_of_a_procedure_is_shown_where_the_setting_says_so(limited):
    body = assert_problem(limited.post("/plainly/fail", json={"label": unique_name()}), 422)
    assert body["detail"] == "secret words"


def test_a_formula_in_csv_is_text_where_the_setting_says_so(limited):
    response = limited.get("/texts", params={"a": "=1+1", "b": "-2", "format": "csv"})
    assert response.text.split() == ["a,b", "'=1+1,'-2"]


def test_expired_keys_are_deleted_and_others_stay(limited, manager, engine, caplog):
    key = unique_name()
    create(limited, "", key)
    cleaned = []

    class Watched(KeyCleaner):
        def _start(self, name, delete):
            cleaned.append((name, delete()))

    # The first one also deletes what earlier runs left in a database that is kept.
    for _ in range(2):
        Watched(hours=1).after_catalog_write(manager)
    assert cleaned[1] == ("procedures_api.delete_expired", 0)
    assert create(limited, "", key).headers["Idempotency-Replayed"] == "true"
    Watched(hours=-1).after_catalog_write(manager)
    assert cleaned[2][1] >= 1
    assert "Idempotency-Replayed" not in create(limited, "", key).headers


def test_keys_are_deleted_in_the_background_once_an_hour_and_per_database(manager):
    done = []

    class Recorded(KeyCleaner):
        def _start(self, name, delete):
            done.append(name)

    cleaner = Recorded(hours=1)
    for _ in range(3):
        cleaner.after_catalog_write(manager)
        cleaner.after_write(manager)
    assert len(done) == 2
