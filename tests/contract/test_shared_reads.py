"""Identical reads at one time: of trips one statement, in however many workers they arrive; of
customers few, and none that was begun before it was asked for."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from embedded.cluster import API_ROLE
from testkit.api_client import Api, assert_problem
from testkit.engines import changed_sample
from testkit.server import Server

CLIENTS = 20
# Slow, and counted by a sequence, which no rollback undoes.
SLOW = f"""
CREATE SEQUENCE public.asked;
SELECT nextval('public.asked');
CREATE OR REPLACE FUNCTION dbo."get_taxidataAmount"(p_json text, OUT "Json" text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM nextval('public.asked');
    PERFORM pg_sleep(1);
    IF (p_json::json ->> 'total_amount')::numeric = -1 THEN
        RAISE EXCEPTION USING ERRCODE = 'PT418', MESSAGE = 'As told.';
    END IF;
    "Json" := '[]';
END $$;
GRANT EXECUTE ON FUNCTION dbo."get_taxidataAmount"(text) TO {API_ROLE};
CREATE OR REPLACE FUNCTION web.get_customers(p_json text, OUT "Json" text, OUT "Next" text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    "Json" := '[' || nextval('public.asked') || ']';
    PERFORM pg_sleep(0.2);
END $$;
"""


@pytest.fixture(scope="module")
def slow(run_folder, worker_id):
    folder = run_folder / f"slow-{worker_id}"

    with (
        changed_sample(folder / "own", SLOW) as (cluster, settings),
        Server(folder, **settings) as server,
    ):
        with Api(server.url) as api:
            api.get("/customer/123")
        yield server, lambda: int(cluster.run_sql("SELECT last_value FROM public.asked"))


def ask(server, path):
    with Api(server.url) as api:
        return api.get(path)


def at_once(server, *paths):
    with ThreadPoolExecutor(len(paths)) as threads:
        return [*threads.map(lambda path: ask(server, path), paths)]


def test_twenty_at_once_are_one_statement(slow):
    server, asked = slow
    at_once(server, "/taxidata/1")
    before = asked()
    answers = at_once(server, *["/taxidata/20"] * CLIENTS)
    assert [a.status_code for a in answers] == [200] * CLIENTS
    assert asked() - before == 1


def test_different_questions_are_asked_each(slow):
    server, asked = slow
    before = asked()
    at_once(server, "/taxidata/20?limit=5", "/taxidata/20?limit=6", "/taxidata/21?limit=5")
    assert asked() - before == 3


def test_a_later_one_is_asked_anew(slow):
    server, asked = slow
    before = asked()
    at_once(server, "/taxidata/22")
    at_once(server, "/taxidata/22")
    assert asked() - before == 2


def test_a_failure_is_not_handed_on(slow):
    server, asked = slow
    before = asked()
    for answer in at_once(server, "/taxidata/-1", "/taxidata/-1"):
        assert_problem(answer, 418)
    assert asked() - before == 2


def test_a_list_that_all_ask_for_takes_few_statements_and_is_fresh(slow):
    server, asked = slow
    before = asked()
    numbers = [answer.json()[0] for answer in at_once(server, *["/customers"] * CLIENTS)]
    assert min(numbers) == before + 1
    assert max(numbers) == asked() <= before + CLIENTS / 2
    assert ask(server, "/customers").json() == [asked()]
