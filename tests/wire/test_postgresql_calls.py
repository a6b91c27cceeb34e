"""Calls through psqlodbc on a real PostgreSQL: one message of several statements for each call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from connection_manager import ConnectionManager
from database.errors import DatabaseError, Kind
from database.session import LONGEST_HELD_RESULT
from embedded.cluster import API_ROLE, EmbeddedCluster

# Options that a connection string may set, and that change how psqlodbc fetches.
OPTIONS = (
    "",
    "UseServerSidePrepare=1",
    "UseDeclareFetch=1;Fetch=2",
    "UseDeclareFetch=1;Fetch=2;UseServerSidePrepare=1",
)
FUNCTIONS = f"""
CREATE SCHEMA api; GRANT USAGE ON SCHEMA api TO "{API_ROLE}";
CREATE FUNCTION api.fail_late(p_json text) RETURNS TABLE ("Json" text) LANGUAGE sql STABLE AS $$
    SELECT (1 / (5 - n))::text FROM generate_series(1, 6) n $$;
CREATE FUNCTION api.repeat(p_json text, OUT "Json" text, OUT "ETag" text)
    LANGUAGE sql STABLE AS $$ SELECT repeat('x', p_json::int), 'tag' $$;
CREATE FUNCTION api.rows(p_json text) RETURNS TABLE ("Json" text, "Next" text)
    LANGUAGE sql STABLE AS $$ SELECT n::text, 'n' FROM generate_series(1, p_json::int) n $$;
CREATE FUNCTION api.change_settings(p_json text, OUT "Json" text) LANGUAGE plpgsql AS $$
BEGIN
    SET work_mem = '1234kB';
    PERFORM set_config('request.own', 'left behind', false);
END $$;
CREATE FUNCTION api.settings(p_json text, OUT "Json" text) LANGUAGE sql STABLE AS $$
    SELECT json_build_array(current_setting('work_mem'),
        nullif(current_setting('request.own', true), ''),
        nullif(current_setting('request.caller', true), ''))::text $$;
"""
Manage = Callable[..., ConnectionManager]


@pytest.fixture
def manage(cluster: EmbeddedCluster) -> Iterator[Manage]:
    """Makes managers of one connection."""
    made: list[ConnectionManager] = []

    def make(options: str = "") -> ConnectionManager:
        text = f"{cluster.connection_string(role=API_ROLE)};{options}"
        made.append(ConnectionManager(text, family="postgresql", max_size=1))
        return made[-1]

    yield make
    for manager in made:
        assert manager.close()


@pytest.mark.parametrize("caller", [None, '{"sub":"ann"}'])
@pytest.mark.parametrize("options", OPTIONS)
def test_an_error_after_rows_fails_the_call(manage: Manage, options: str, caller: str | None):
    manager = manage(options)
    for _ in range(2):
        with pytest.raises(DatabaseError) as failed:
            manager.call("api.fail_late", "{}", caller=caller)
        assert failed.value.kind is Kind.FAULTY
    assert manager.call("api.repeat", "2", caller=caller).json == "xx"
    assert manager.stats().connects_total == 1


@pytest.mark.parametrize("options", OPTIONS)
def test_each_call_has_its_own_answer_on_a_kept_cursor(manage: Manage, options: str):
    manager = manage(options)
    for length in (1, LONGEST_HELD_RESULT + 1, 3, 0):
        answer = manager.call("api.repeat", str(length))
        assert (answer.json, answer.etag) == ("x" * length, "tag")
    for rows in (0, 1, 3, 0):
        answer = manager.call("api.rows", str(rows))
        assert answer.json == "".join(str(n) for n in range(1, rows + 1))
        assert answer.next == ("n" if rows else None)


def test_a_kept_cursor_holds_no_long_result(manage: Manage):
    manager = manage()
    manager.call("api.repeat", str(LONGEST_HELD_RESULT + 1))
    with manager._pool.checkout() as lease:
        assert [c.description for c, _ in lease.connection._cursors.values()] == [None]


def test_neither_settings_nor_the_caller_outlive_their_call(manage: Manage):
    manager = manage()
    first = manager.call("api.settings", "{}").json
    manager.call("api.change_settings", "{}", caller='{"sub":"ann"}')
    assert json.loads(manager.call("api.settings", "{}", caller="ben").json)[1:] == [None, "ben"]
    assert manager.call("api.settings", "{}").json == first
