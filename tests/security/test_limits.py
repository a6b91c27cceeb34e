"""Limits of rate, streams and deadlines, and what counts as one client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from flask import Flask, g

from app import close_app, create_app
from protocol.limits import StreamLimit
from protocol.problems import Problem
from settings import SettingsError, read_settings
from testkit.callers import api_keys
from testkit.routes import NOWHERE

# Answered without a connection: there is no customer 0.
PATH = "/customer/0"
Make = Callable[..., Flask]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes applications with databases that are never connected."""
    with ExitStack() as made:

        def create(**environment: str) -> Flask:
            named = {"POSTGRESQLCONNSTR_WWIF": NOWHERE, "LOCAL_DIR": str(tmp_path), "AUTH": "none"}
            return made.enter_context(_closing(create_app(read_settings(named | environment))))

        yield create


@contextmanager
def _closing(app: Flask) -> Iterator[Flask]:
    yield app
    close_app(app)


def statuses(app: Flask, times: int, *, address: str = "127.0.0.1", **headers: str) -> list[int]:
    client = app.test_client()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    environ = {"REMOTE_ADDR": address}
    return [client.get(PATH, headers=named, environ_base=environ).status_code for _ in range(times)]


def test_too_many_requests_get_429_with_retry_after(make: Make):
    client = make(RATE_LIMIT="3 per hour").test_client()
    assert [client.get(PATH).status_code for _ in range(4)] == [404, 404, 404, 429]
    refused = client.get(PATH)
    assert refused.content_type == "application/problem+json"
    assert refused.json["type"] == "urn:sql-procedures-api:too-many-requests"
    assert refused.json["detail"] == "The rate limit is 3 per 1 hour; try again later."
    assert 1 <= int(refused.headers["Retry-After"]) <= 3600


def test_without_a_rate_limit_nothing_is_counted(make: Make):
    app = make()
    assert set(statuses(app, 300)) == {404}


@pytest.mark.parametrize("path", ["/a-route-of-a-catalog", "/taxidata/20/"])
def test_requests_without_a_python_resource_are_counted(make: Make, path):
    app = make(RATE_LIMIT="2 per minute")
    client = app.test_client()
    statuses = [client.get(path).status_code for _ in range(4)]
    assert 429 not in statuses[:2]
    assert statuses[2:] == [429, 429]


def test_open_routes_are_not_counted(make: Make):
    client = make(RATE_LIMIT="1 per hour").test_client()
    assert [client.get("/health/live").status_code for _ in range(5)] == [200] * 5
    assert client.get(PATH).status_code == 404


def test_addresses_are_counted_separately_whatever_headers_say(make: Make):
    app = make(RATE_LIMIT="1 per hour")
    assert statuses(app, 2, address="192.0.2.1") == [404, 429]
    assert statuses(app, 1, address="192.0.2.1", X_Forwarded_For="192.0.2.9") == [429]
    assert statuses(app, 1, address="192.0.2.2") == [404]


def test_behind_proxies_the_address_is_that_of_the_outermost_proxys_client(make: Make):
    app = make(RATE_LIMIT="1 per hour", TRUSTED_PROXIES="2")
    seen = "198.51.100.7:5012, 10.0.0.1"  # some proxies add the port
    assert statuses(app, 2, address="10.0.0.2", X_Forwarded_For=seen) == [404, 429]
    # What the client itself has written stands further to the left.
    assert statuses(app, 1, address="10.0.0.2", X_Forwarded_For=f"203.0.113.1, {seen}") == [429]
    other = "198.51.100.8, 10.0.0.1"
    assert statuses(app, 1, address="10.0.0.2", X_Forwarded_For=other) == [404]


@pytest.mark.parametrize(
    "spellings",
    [
        ("2001:db8:1:2::1", "2001:DB8:1:2:0:0:0:1", "2001:db8:1:2:ffff::9", "[2001:db8:1:2::1]"),
        ("[2001:db8:1:2::1]:80", "[2001:db8:1:2::1]:443", "2001:0db8:0001:0002::7%eth0"),
        ("198.51.100.7", "198.51.100.7:1", "198.51.100.7:65535", "::ffff:198.51.100.7"),
        ("[::ffff:c633:6407]:80", "198.51.100.7"),
        ("unknown", "_hidden", "a/b", "198.51.100.7.8", "1:2", "x" * 300),
    ],
    ids=lambda spellings: spellings[0],
)
def test_all_spellings_of_an_address_count_as_one_client(make: Make, spellings):
    app = make(RATE_LIMIT="1 per hour", TRUSTED_PROXIES="1")
    answers = [
        statuses(app, 1, address="10.0.0.1", X_Forwarded_For=f'"{spelling}"')[0]
        for spelling in spellings
    ]
    assert answers == [404] + [429] * (len(spellings) - 1)


def test_ipv6_networks_are_counted_separately(make: Make):
    app = make(RATE_LIMIT="1 per hour")
    for address in ("2001:db8:1:2::1", "2001:db8:1:3::1", "2001:db8:2:2::1", "::1"):
        assert statuses(app, 2, address=address) == [404, 429]


def test_a_caller_is_counted_across_addresses(make: Make):
    setting, keys = api_keys([("ann", "read"), ("ben", "read")])
    app = make(RATE_LIMIT="1 per hour", AUTH="keys", API_KEYS=setting)
    assert statuses(app, 1, address="192.0.2.1", **keys["ann"]) == [404]
    assert statuses(app, 1, address="192.0.2.2", **keys["ann"]) == [429]
    assert statuses(app, 1, address="192.0.2.1", **keys["ben"]) == [404]


def test_requests_with_invalid_keys_are_counted(make: Make):
    setting, _ = api_keys([("ann", "read")])
    app = make(RATE_LIMIT="2 per hour", AUTH="keys", API_KEYS=setting)
    assert statuses(app, 3, X_API_Key="spa_guess") == [401, 401, 429]


class Numbers:
    """Rows as a resource gets them."""

    columns = ()

    def __iter__(self) -> Iterator[list[str]]:
        yield ["1"]
        yield ["2"]

    def close(self) -> None:
        pass


def test_streams_beyond_the_limit_are_refused_until_one_ends():
    limit = StreamLimit(2)
    first, second = limit.begin(Numbers), limit.begin(Numbers)
    with pytest.raises(Problem) as raised:
        limit.begin(Numbers)
    assert (raised.value.status, raised.value.type.slug) == (503, "busy")
    assert raised.value.headers["Retry-After"] == "1"
    assert list(first) == [["1"], ["2"]]
    first.close()
    third = limit.begin(Numbers)
    for rows in (second, third):
        rows.close()
        rows.close()
    assert [list(limit.begin(Numbers)) for _ in range(3)] == [[["1"], ["2"]]] * 3


def test_a_stream_that_fails_to_begin_releases_its_slot():
    def fail() -> Numbers:
        raise ValueError

    limit = StreamLimit(1)
    for _ in range(2):
        with pytest.raises(ValueError):
            limit.begin(fail)
    limit.begin(Numbers).close()


def test_zero_disables_the_limit_of_streams():
    limit = StreamLimit(0)
    assert len([limit.begin(Numbers) for _ in range(100)]) == 100


@pytest.mark.parametrize(
    ("path", "headers", "seconds"),
    [
        (PATH, {}, 5),
        ("/customers?limit=x", {}, 30),
        (PATH, {"Request-Timeout": "2"}, 2),
        (PATH, {"Request-Timeout": "9"}, 5),
    ],
)
def test_a_route_has_its_configured_deadline(make: Make, path, headers, seconds):
    app = make(ROUTE_DEADLINES="/customer/<int:customer_id>=5, /taxidata=60")
    with app.test_client() as client:
        client.get(path, headers=headers)
        assert seconds - 2 < g.deadline.remaining() <= seconds


def test_a_deadline_for_an_unknown_route_stops_the_start(make: Make):
    sentence = "ROUTE_DEADLINES names /taxi, which is not a route: use /, "
    with pytest.raises(SettingsError, match=sentence):
        make(ROUTE_DEADLINES="/taxi=5", EXPOSED_SCHEMAS="NONE:api")
