"""Hostile requests: each gets its status, and none of them a connection to the database.

The product as gunicorn serves it, with API keys and bearer tokens; the issuer of the tokens is a
real one on loopback.
"""

from __future__ import annotations

import base64
import json
import re
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from authentication.api_keys import HEADER, digest_of
from authentication.jwks import FLOOR_SECONDS
from testkit.callers import Headers, api_keys
from testkit.checkout_counter import CHECKOUTS
from testkit.issuer import (
    AUDIENCE,
    DISCOVERY,
    JWKS,
    Issuer,
    ec_key,
    encoded,
    public_jwk,
    public_pem,
    rsa_key,
)
from testkit.raw_http import RawAnswer, request_bytes, send
from testkit.server import Server

PROBLEM = "application/problem+json"
BODY_SECONDS = 0.5
MAX_BYTES = 65_536
GOOD_BODY = b'{"CustomerName":"Mallory"}'
SQL = "1'; DROP TABLE sales.customers; --"


@dataclass
class World:
    """The values that the rows of the table use."""

    server: Server
    issuer: Issuer
    keys: dict[str, Headers]
    attacker: object = field(default_factory=rsa_key)
    began: float = field(default_factory=time.monotonic)

    def key(self, name: str = "reader") -> tuple[str, str]:
        return (HEADER, self.keys[name][HEADER])

    def checkouts(self) -> int:
        with urllib.request.urlopen(self.server.url + CHECKOUTS, timeout=30) as response:
            return int(response.read())


@pytest.fixture(scope="module")
def world(run_folder: Path) -> Iterator[World]:
    setting, keys = api_keys([("reader", "read"), ("writer", "read,write")])
    with Issuer() as issuer:
        server = Server(
            run_folder / "hostile",
            program="testkit.checkout_counter:app",
            workers=1,
            AUTH="keys,oidc",
            API_KEYS=setting,
            OIDC_ISSUER=issuer.url,
            OIDC_AUDIENCE=AUDIENCE,
            MAX_REQUEST_BYTES=str(MAX_BYTES),
            BODY_SECONDS=str(BODY_SECONDS),
            no_proxy="127.0.0.1",
        )
        with server:
            yield World(server, issuer, keys)


def bearer(token: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {token}")]


def unsigned(method: str = "GET", target: str = "/customer/123", body: bytes = b"") -> bytes:
    return request_bytes(method, target, body=body)


def forged(world: World, header: dict, signature: bytes = b"", **claims: object) -> str:
    """A token put together by hand."""
    parts = (encoded(header), encoded(world.issuer.claims(**claims)), encoded(signature))
    return ".".join(parts)


def altered(token: str, **claims: object) -> str:
    """The token with other claims under its old signature."""
    header, payload, signature = token.split(".")
    old = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return f"{header}.{encoded({**old, **claims})}.{signature}"


def confused(world: World) -> str:
    """HS256, with the issuer's public key for a secret (RFC 8725, 2.1)."""
    import hashlib
    import hmac

    key = public_pem(world.issuer.keys["rsa-1"])
    signed = f"{encoded({'alg': 'HS256', 'kid': 'rsa-1'})}.{encoded(world.issuer.claims())}"
    return f"{signed}.{encoded(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


def without_credential(world: World) -> dict[str, tuple[bytes, int]]:
    return {
        "GET": (unsigned(), 401),
        "HEAD": (unsigned("HEAD"), 401),
        "a list": (unsigned(target="/customers?limit=0"), 401),
        "trips": (unsigned(target="/taxidata"), 401),
        "passengers": (unsigned(target="/passengers"), 401),
        "PUT": (unsigned("PUT", "/customer", GOOD_BODY), 401),
        "POST of many": (unsigned("POST", "/customers", b"[%b]" % GOOD_BODY), 401),
        "PATCH": (unsigned("PATCH", body=GOOD_BODY), 401),
        "DELETE": (unsigned("DELETE"), 401),
        "metrics": (unsigned(target="/metrics"), 401),
        "no such route": (unsigned(target="/admin"), 401),
        "no such method": (unsigned("FROB"), 401),
        "a method that the route has not": (unsigned("DELETE", "/customers"), 401),
        "a body that is no JSON": (unsigned("PUT", "/customer", b"{"), 401),
        "a body that never comes": (request_bytes("PUT", "/customer", length=1 << 30), 401),
        "a number that is SQL": (unsigned(target="/customer/1%27%20OR%201=1"), 401),
        "a query that is SQL": (unsigned(target="/customers?name=%27%3BDROP%20TABLE--"), 401),
        "a method override": (
            request_bytes("POST", headers=[("X-HTTP-Method-Override", "GET")]),
            401,
        ),
    }


def wrong_keys(world: World) -> dict[str, tuple[bytes, int]]:
    name, key = world.key()
    changed = key[:-1] + ("A" if key[-1] != "A" else "B")
    rows = {
        "empty": [(name, "")],
        "guessed": [(name, "spa_" + "A" * 43)],
        "one letter off": [(name, changed)],
        "in lower case": [(name, key.lower())],
        "cut short": [(name, key[:-1])],
        "its digest": [(name, digest_of(key).hex())],
        "very long": [(name, key + "A" * 4000)],
        "given twice": [(name, key), (name, key)],
        "with a blank and another": [(name, f"{key} {key}")],
        "as a bearer token": bearer(key),
        "as a password": [("Authorization", "Basic " + base64.b64encode(key.encode()).decode())],
        "in a cookie": [("Cookie", f"{name}={key}")],
        "under a name with underscores": [(name.replace("-", "_"), key)],
        "beside a token": [(name, key), *bearer(world.issuer.token())],
    }
    return {
        **{what: (request_bytes(headers=headers), 401) for what, headers in rows.items()},
        "in the query": (unsigned(target=f"/customer/123?{name}={key}"), 401),
    }


def wrong_tokens(world: World) -> dict[str, tuple[bytes, int]]:
    token, claims = world.issuer.token, world.issuer.claims
    now, attacker = int(time.time()), world.attacker
    jwk = public_jwk(attacker, "mine")
    good = token()
    tokens = {
        "empty": "",
        "garbage": "a.b.c",
        "two": f"{good} {good}",
        "alg none": forged(world, {"alg": "none", "kid": "rsa-1"}),
        "alg nOnE": forged(world, {"alg": "nOnE", "kid": "rsa-1"}),
        "alg none, old signature": forged(world, {"alg": "none", "kid": "rsa-1"}, b"x" * 256),
        "no alg": forged(world, {"kid": "rsa-1"}),
        "no signature": good.rpartition(".")[0] + ".",
        "claims altered": altered(good, scp="read write operate"),
        "audience altered": altered(token(aud="other"), aud=AUDIENCE),
        "another audience": token(aud="api://other"),
        "other audiences": token(aud=["api://other", AUDIENCE.upper()]),
        "no audience": token(aud=None),
        "another issuer": token(iss="https://login.example"),
        "no issuer": token(iss=None),
        "expired": token(exp=now - 60),
        "no expiry": token(exp=None),
        "expiry no number": token(exp=[now + 60]),
        "not valid yet": token(nbf=now + 60),
        "issued in the future": token(iat=now + 60),
        "no subject": token(sub=None),
        "subject no text": forged_signed(world, sub=7),
        "subject empty": token(sub=""),
        "subject with a blank at its end": token(sub="8b1f "),
        "subject with a zero": token(sub="8b1f\x00"),
        "subject too long": token(sub="x" * 256),
        "roles too long": token(roles=[f"{number:0100}" for number in range(41)]),
        "unknown key": token(header={"kid": "rsa-2"}),
        "no key named": token(header={"kid": None}),
        "key named by a path": token(header={"kid": "../../dev/null"}),
        "key named by SQL": token(header={"kid": SQL}),
        "key named by a list": forged(world, {"alg": "RS256", "kid": ["rsa-1"]}),
        "attacker's key, name of the right one": token(key=attacker),
        "key brought along": token(key=attacker, header={"jwk": jwk}),
        "key at the attacker's": token(key=attacker, header={"jku": "http://127.0.0.1:1/keys"}),
        "certificate at the attacker's": token(key=attacker, header={"x5u": "http://127.0.0.1:1"}),
        "HS256 by the public key": confused(world),
        "HS256 by an empty secret": token(key="x" * 32, algorithm="HS256"),
        "ES256 by a key of the attacker's": token(key=ec_key(), algorithm="ES256"),
        "PS256 by the right key": token(algorithm="PS256"),
        "RS512 by the right key": token(algorithm="RS512"),
        "something critical": token(header={"crit": ["exp"], "exp": now}),
        "payload not encoded": token(header={"crit": ["b64"], "b64": True}),
        "claims no object": ".".join([encoded({"alg": "RS256", "kid": "rsa-1"}), encoded([]), "x"]),
        "encrypted": ".".join([encoded({"alg": "RSA-OAEP", "enc": "A256GCM"}), "a", "b", "c", "d"]),
        "nested deeply": ".".join([encoded(b"[" * 2000), encoded(claims()), "x"]),
    }
    return {
        **{what: (request_bytes(headers=bearer(t)), 401) for what, t in tokens.items()},
        "sent twice": (request_bytes(headers=bearer(good) * 2), 401),
        "in the query": (unsigned(target=f"/customer/123?access_token={good}"), 401),
    }


def forged_signed(world: World, **claims: object) -> str:
    """Signed well, with claims that PyJWT itself would not put into a token."""
    from jwt.algorithms import RSAAlgorithm

    signed = f"{encoded({'alg': 'RS256', 'kid': 'rsa-1'})}.{encoded(world.issuer.claims(**claims))}"
    algorithm = RSAAlgorithm(RSAAlgorithm.SHA256)
    signature = algorithm.sign(signed.encode(), world.issuer.keys["rsa-1"])
    return f"{signed}.{encoded(signature)}"


def too_little_right(world: World) -> dict[str, tuple[bytes, int]]:
    token = world.issuer.token
    return {
        "a reader's key writes": (
            request_bytes("PUT", "/customer", [world.key()], GOOD_BODY),
            403,
        ),
        "a reader's key deletes": (request_bytes("DELETE", headers=[world.key()]), 403),
        "a reader's key overrides": (
            request_bytes("POST", headers=[world.key(), ("X-HTTP-Method-Override", "GET")]),
            403,
        ),
        "a reader's key operates": (request_bytes(target="/metrics", headers=[world.key()]), 403),
        "a writer's key operates": (
            request_bytes(target="/metrics", headers=[world.key("writer")]),
            403,
        ),
        "a reader's token writes": (
            request_bytes("PUT", "/customer", bearer(token()), GOOD_BODY),
            403,
        ),
        "a token without scope": (request_bytes(headers=bearer(token(scp=None))), 403),
        "a token with another's scope": (request_bytes(headers=bearer(token(scp="Read"))), 403),
        "a scope as a part of a word": (request_bytes(headers=bearer(token(scp="unread"))), 403),
    }


def smuggled(world: World) -> dict[str, tuple[bytes, int]]:
    claims = [{"typ": "roles", "val": "operate"}, {"typ": "roles", "val": "write"}]
    principal = {"auth_typ": "aad", "claims": claims, "name_typ": "name", "role_typ": "roles"}
    encoded = base64.b64encode(json.dumps(principal).encode()).decode()
    easyauth = [
        ("X-MS-CLIENT-PRINCIPAL", encoded),
        ("X-MS-CLIENT-PRINCIPAL-ID", "admin"),
        ("X-MS-CLIENT-PRINCIPAL-NAME", "admin"),
        ("X-MS-CLIENT-PRINCIPAL-IDP", "aad"),
    ]
    underscores = [(name.replace("-", "_"), value) for name, value in easyauth]
    return {
        "EasyAuth": (request_bytes(headers=easyauth), 401),
        "EasyAuth with underscores": (request_bytes(headers=underscores), 401),
        "EasyAuth above a reader's key": (
            request_bytes("DELETE", headers=[world.key(), *easyauth]),
            403,
        ),
        "a local address": (request_bytes(headers=[("X-Forwarded-For", "127.0.0.1")]), 401),
        "another user": (request_bytes(headers=[("Remote-User", "admin")]), 401),
        "another path": (
            request_bytes(target="/health/live", headers=[("X-Original-URL", "/metrics")]),
            200,
        ),
        "another script": (request_bytes(headers=[("Script-Name", "/customer")]), 401),
    }


PATHS = {
    "/customer/../metrics": 401,
    "/health/live/../../customer/123": 401,
    "/health/live/..%2f..%2fcustomer/123": 401,
    "/health/live/%2e%2e/%2e%2e/metrics": 401,
    "/health/live/": 401,
    "/health/live%00": 401,
    "/health/live;/customer/123": 401,
    "/health/live/customer/123": 401,
    "/HEALTH/LIVE/../metrics": 401,
    "/docs/../customer/123": 401,
    "/%63ustomer/123": 401,
    "/customer/123%2f": 401,
    "/customer/%00": 401,
    "/customer/%D9%A1%D9%A2%D9%A3": 401,
    "/metrics/": 401,
    "/METRICS": 401,
    "/metrics%20": 401,
    "/./metrics": 401,
    "//metrics": 401,
    "///customer/123": 401,
    "/assets/..%2fsettings.py": 401,
    "/assets/%2e%2e%2f.env": 401,
    "/assets/.env": 404,
    "/assets/settings.py": 404,
    "http://elsewhere.example/customer/123": 401,
    "/\\metrics": 401,
}


def path_tricks(world: World) -> dict[str, tuple[bytes, int]]:
    return {path: (unsigned(target=path), status) for path, status in PATHS.items()}


def malformed(world: World) -> dict[str, tuple[bytes, int]]:
    """Requests that gunicorn refuses before the application sees them."""
    head = b"GET /customer/123 HTTP/1.1\r\nHost: localhost\r\n"
    post = b"PUT /customer HTTP/1.1\r\nHost: localhost\r\n"
    return {
        "a line break in a value": (head + b"X-API-Key: a\rSet-Cookie: b\r\n\r\n", 400),
        "a zero in a value": (head + b"X-API-Key: a\x00b\r\n\r\n", 400),
        "a blank before the colon": (head + b"X-API-Key : a\r\n\r\n", 400),
        "a folded value": (head + b"X-API-Key: a\r\n b\r\n\r\n", 400),
        "a header without a colon": (head + b"X-API-Key\r\n\r\n", 400),
        "an invalid name": (head + b"X(API)Key: a\r\n\r\n", 400),
        "two lengths": (post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        "a length below 0": (post + b"Content-Length: -1\r\n\r\n", 400),
        "a length with a sign": (post + b"Content-Length: +2\r\n\r\n{}", 400),
        "a length and chunks": (
            post + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        "chunks named twice": (
            post + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        "an unknown transfer coding": (post + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
        "another protocol": (b"GET /customer/123 HTTP/9.9\r\n\r\n", 400),
        "a path in UTF-8": (b"GET /customer/\xd9\xa1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        "no method": (b"\x16\x03\x01\x02\x00\x01\x00 / HTTP/1.1\r\n\r\n", 400),
        "a request behind a request": (
            head + b"X-API-Key: a\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
            401,
        ),
        "65 headers": (head + b"".join(b"X-%d: 1\r\n" % n for n in range(65)) + b"\r\n", 431),
        "a header of 16 KiB": (head + b"X-API-Key: " + b"a" * 16_384 + b"\r\n\r\n", 431),
        "a path of 16 KiB": (unsigned(target="/" + "a" * 16_384), 414),
    }


def bodies(world: World) -> dict[str, tuple[bytes, int]]:
    """With the right to write: refused by the body alone."""

    def put(body: bytes, *, length: int | None = None, headers=()) -> bytes:
        return request_bytes(
            "PUT", "/customer", [world.key("writer"), *headers], body, length=length
        )

    chunked = request_bytes(
        "PUT",
        "/customer",
        [
            world.key("writer"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Type", "application/json"),
        ],
    )
    chunks = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    too_deep = b'{"CustomerName":' + b"[" * 300 + b"]" * 300 + b"}"
    return {
        "too long": (put(b'{"CustomerName":"' + b"x" * MAX_BYTES + b'"}'), 413),
        "says it is too long": (put(b"{}", length=MAX_BYTES + 1), 413),
        "says it is 8 EiB long": (put(b"{}", length=1 << 63), 413),
        "too long in chunks": (chunked + chunks * 5 + b"0\r\n\r\n", 413),
        "an invalid chunk": (chunked + b"zz\r\n{}\r\n", 400),
        "nested 300 deep": (put(too_deep), 400),
        "nested 30,000 deep": (put(b"[" * 30_000 + b"]" * 30_000), 400),
        "a number of 60,000 digits": (put(b'{"CustomerName":' + b"9" * 60_000 + b"}"), 400),
        "a zero": (put(b'{"CustomerName":"a\\u0000"}'), 422),
        "half a character": (put(b'{"CustomerName":"\\ud800"}'), 400),
        "no UTF-8": (put(b'{"CustomerName":"\xff"}'), 400),
        "a key twice": (put(b'{"CustomerName":"a","CustomerName":"b"}'), 422),
        "a key of ours": (put(b'{"CustomerName":"a","_request":{"key":"k"}}'), 422),
        "a prototype": (put(b'{"CustomerName":"a","__proto__":{}}'), 422),
        "an entity": (
            request_bytes(
                "PUT",
                "/customer",
                [world.key("writer"), ("Content-Type", "text/xml"), ("Content-Length", "5")],
            )
            + b"<a/>\n",
            415,
        ),
    }


def sql_in_every_field(world: World) -> dict[str, tuple[bytes, int]]:
    """Where no text is expected, SQL is refused; where text is, see the test below."""
    quoted = "1%27%3B%20DROP%20TABLE%20sales.customers%3B--"
    writer = world.key("writer")

    def get(target: str, *headers: tuple[str, str]) -> bytes:
        return request_bytes("GET", target, [writer, *headers])

    def put(body: dict) -> bytes:
        return request_bytes("PUT", "/customer", [writer], json.dumps(body).encode())

    named = {"CustomerName": "x"}
    return {
        "customer": (get(f"/customer/{quoted}"), 404),
        "limit": (get(f"/customers?limit={quoted}"), 400),
        "after": (get(f"/customers?after={quoted}"), 400),
        "sort": (get(f"/customers?sort={quoted}"), 400),
        "fields": (get(f"/customers?fields={quoted}"), 400),
        "format": (get(f"/customers?format={quoted}"), 400),
        "a parameter's name": (get(f"/customers?{quoted}=1"), 400),
        "amount": (get(f"/taxidata/{quoted}"), 400),
        "total_amount": (get(f"/taxidata?total_amount={quoted}"), 400),
        "pickup_from": (get(f"/taxidata?pickup_from={quoted}"), 400),
        "pickup_to": (get(f"/taxidata?pickup_to={quoted}"), 400),
        "payment_type": (get(f"/taxidata?payment_type={quoted}"), 400),
        "PULocationID": (get(f"/taxidata?PULocationID={quoted}"), 400),
        "offset": (get(f"/taxidata?offset={quoted}"), 400),
        "by": (get(f"/taxidata/summary?by={quoted}"), 400),
        "survived": (get(f"/passengers?survived={quoted}"), 400),
        "pclass": (get(f"/passengers?pclass={quoted}"), 400),
        "sex": (get(f"/passengers?sex={quoted}"), 400),
        "Request-Timeout": (get("/customer/123", ("Request-Timeout", SQL)), 400),
        "If-Match": (
            request_bytes("DELETE", headers=[writer, ("If-Match", f'"{SQL}"')]),
            400,
        ),
        "Idempotency-Key": (
            request_bytes(
                "PUT", "/customer", [writer, ("Idempotency-Key", SQL + "\xe9")], GOOD_BODY
            ),
            400,
        ),
        "CustomerID": (put({**named, "CustomerID": SQL}), 422),
        "a key": (put({**named, SQL: 1}), 422),
        "PhoneNumber": (put({**named, "PhoneNumber": SQL}), 422),
        "Delivery": (put({**named, "Delivery": SQL}), 422),
        "PostalCode": (put({**named, "Delivery": {"PostalCode": SQL}}), 422),
    }


TABLES = (
    *(without_credential, wrong_keys, wrong_tokens, too_little_right, smuggled, path_tricks),
    *(malformed, bodies, sql_in_every_field),
)


def problem_of(answer: RawAnswer) -> dict:
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["cache-control"] == "no-store"
    body = json.loads(answer.body)
    assert body["status"] == answer.status
    return body


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_a_hostile_request_gets_its_status_and_no_connection(world: World, table):
    rows = table(world)
    before = world.checkouts()
    answers = {what: send(world.server.url, raw) for what, (raw, _) in rows.items()}
    assert {what: answer.status for what, answer in answers.items()} == {
        what: status for what, (_, status) in rows.items()
    }
    assert world.checkouts() == before
    for what, (raw, status) in rows.items():
        if table is not malformed and status != 200 and not raw.startswith(b"HEAD"):
            problem_of(answers[what])
        if status in (401, 403):
            assert "Bearer" in answers[what].headers["www-authenticate"]


def test_there_are_more_than_forty_hostile_requests(world: World):
    assert sum(len(table(world)) for table in TABLES) > 40


def test_valid_credentials_are_accepted(world: World):
    before = world.checkouts()
    for headers in ([world.key()], bearer(world.issuer.token()), bearer(roles_token(world))):
        answer = send(world.server.url, request_bytes(headers=headers))
        assert answer.status == 200
        assert json.loads(answer.body)[0]["CustomerID"] == 123
    assert world.checkouts() == before + 3


def roles_token(world: World) -> str:
    return world.issuer.token(scp=None, roles=["write", "read"], aud=["x", AUDIENCE])


@pytest.mark.parametrize("target", ["/health/live", "/openapi.json", "/docs"])
def test_open_routes_require_no_credential(world: World, target: str):
    before = world.checkouts()
    wrong = [(HEADER, "wrong")]
    for headers in ([], wrong, bearer("a.b.c")):
        assert send(world.server.url, request_bytes(target=target, headers=headers)).status == 200
    assert world.checkouts() == before


def test_a_slow_body_is_refused_and_holds_no_connection(world: World):
    before = world.checkouts()
    begun = request_bytes("PUT", "/customer", [world.key("writer")], b"{", length=1000)
    chunked = request_bytes(
        "PUT",
        "/customer",
        [
            world.key("writer"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Type", "application/json"),
        ],
    )
    with ThreadPoolExecutor(8) as pool:
        # A byte now and then, so that no single read takes long.
        slow = [pool.submit(send, world.server.url, begun, *[b" "] * 200, pause=0.1)] * 4
        slow += [
            pool.submit(send, world.server.url, chunked, *[b"1\r\n \r\n"] * 200, pause=0.1)
        ] * 4
        answers = [future.result() for future in slow]
    assert [answer.status for answer in answers] == [408] * 8
    assert {problem_of(answer)["type"] for answer in answers} == {
        "urn:sql-procedures-api:request-timeout"
    }
    assert world.checkouts() == before


def test_many_unknown_keys_cause_one_fetch_per_floor_period(world: World):
    before = world.checkouts()
    tokens = [world.issuer.token(header={"kid": f"storm-{number}"}) for number in range(40)]
    requests = [request_bytes(headers=bearer(token)) for token in tokens * 8]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda raw: send(world.server.url, raw).status, requests))
    assert answers == [401] * len(requests)
    assert world.checkouts() == before
    periods = 1 + int((time.monotonic() - world.began) / FLOOR_SECONDS)
    assert 1 <= world.issuer.visits[JWKS] <= periods
    assert world.issuer.visits[DISCOVERY] == world.issuer.visits[JWKS]
    assert set(world.issuer.visits) == {JWKS, DISCOVERY}


def test_a_refusal_gives_the_reason_without_the_credential(world: World):
    token = world.issuer.token(exp=int(time.time()) - 60)
    answer = send(world.server.url, request_bytes(headers=bearer(token)))
    assert problem_of(answer)["detail"] == "The token has expired."
    assert answer.headers["www-authenticate"] == (
        'ApiKey realm="sql-procedures-api", header="X-API-Key", Bearer realm="sql-procedures-api",'
        ' error="invalid_token", error_description="The token has expired."'
    )
    unknown = send(world.server.url, request_bytes())
    assert 'error="' not in unknown.headers["www-authenticate"]
    forbidden = send(world.server.url, request_bytes("DELETE", headers=[world.key()]))
    assert 'error="insufficient_scope"' in forbidden.headers["www-authenticate"]


def test_sql_in_a_text_field_is_stored_as_text(world: World):
    """In fields that accept any text, the text comes back unchanged."""
    writer = world.key("writer")
    texts = {
        "CustomerName": SQL,
        "PhoneNumber": "'||pg_sleep(9)||'",
        "FaxNumber": "1); DELETE FROM x",
        "WebsiteURL": f"$1 {SQL} /*",
        "Delivery": {"AddressLine1": SQL, "AddressLine2": "\\'; --", "PostalCode": "' OR '1"},
    }
    raw = request_bytes("PUT", "/customer", [writer], json.dumps(texts).encode())
    made = json.loads(send(world.server.url, raw).body)[0]
    number = made.pop("CustomerID")
    assert made == texts
    found = send(
        world.server.url, request_bytes(target="/customers?name=1%27%3B", headers=[writer])
    )
    assert json.loads(found.body) == [{"CustomerID": number, "CustomerName": SQL}]
    keyed = [writer, ("Idempotency-Key", SQL)]
    gone = send(world.server.url, request_bytes("DELETE", f"/customer/{number}", keyed))
    assert gone.status == 200


def test_no_credential_of_these_tests_is_in_the_log(world: World):
    log = world.server.log.read_text(encoding="utf-8", errors="replace")
    assert len(log) > 1000
    for headers in world.keys.values():
        assert headers[HEADER] not in log
        assert digest_of(headers[HEADER]).hex() not in log
    # Any token at all begins so.
    assert re.search(r"eyJ[\w-]{10,}\.", log) is None
    assert "Mallory" not in log
