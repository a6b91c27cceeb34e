"""The keys of an issuer: one fetch at a time, at most one per floor period, and a maximum age."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from jwt.algorithms import RSAAlgorithm

from authentication.bearer import BearerTokens
from authentication.documents import MAX_BYTES, Unreadable, get_document, key_source
from authentication.jwks import (
    FLOOR_SECONDS,
    LONGEST_AGE_SECONDS,
    MAX_AGE_SECONDS,
    SigningKeys,
)
from authentication.principal import Caller, CannotVerify, Refused
from testkit.issuer import (
    AUDIENCE,
    DISCOVERY,
    JWKS,
    Issuer,
    ec_key,
    encoded,
    public_jwk,
    rsa_key,
)

BOTH = ("RS256", "ES256")


class Clock:
    """A clock that tests advance."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


def signing_keys(issuer: Issuer, clock: Clock, *, algorithms=("RS256",)) -> SigningKeys:
    source = key_source(issuer=issuer.url, jwks_url=issuer.url + JWKS)
    return SigningKeys(source, algorithms=algorithms, clock=clock)


def bearer_tokens(issuer: Issuer, keys: SigningKeys, *, algorithms=("RS256",)) -> BearerTokens:
    return BearerTokens(
        issuer=issuer.url,
        audiences=[AUDIENCE],
        algorithms=algorithms,
        groups_by_role={"read": {"read"}, "Edit": {"read", "write"}},
        keys=keys,
    )


def test_concurrent_requests_share_one_fetch_of_the_keys(issuer: Issuer, clock: Clock):
    issuer.delay = 0.2
    keys = signing_keys(issuer, clock)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(keys.find, ["rsa-1"] * 16))
    assert all(key is not None for key in found)
    assert issuer.visits[JWKS] == 1


def test_an_unknown_key_causes_one_fetch_per_floor_period(issuer: Issuer, clock: Clock):
    keys = signing_keys(issuer, clock)
    for period in range(1, 4):
        for number in range(50):
            assert keys.find(f"unknown-{number}") is None
        assert issuer.visits[JWKS] == period
        clock.now += FLOOR_SECONDS


def test_a_new_key_is_accepted_after_the_floor_period(issuer: Issuer, clock: Clock):
    keys = signing_keys(issuer, clock)
    assert keys.find("rsa-1") is not None
    issuer.keys["rsa-2"] = rsa_key()
    assert keys.find("rsa-2") is None
    clock.now += FLOOR_SECONDS
    assert keys.find("rsa-2") is not None
    assert keys.find("rsa-1") is not None
    assert issuer.visits[JWKS] == 2


def test_a_revoked_key_is_refused_after_the_next_fetch(issuer: Issuer, clock: Clock):
    keys = signing_keys(issuer, clock)
    assert keys.find("rsa-1") is not None
    issuer.keys = {"rsa-2": rsa_key()}
    clock.now += MAX_AGE_SECONDS
    assert keys.find("rsa-1") is None


def test_cached_keys_are_used_during_an_outage_until_they_are_too_old(issuer: Issuer, clock: Clock):
    keys = signing_keys(issuer, clock)
    assert keys.find("rsa-1") is not None
    issuer.__exit__()
    clock.now += MAX_AGE_SECONDS
    assert keys.find("rsa-1") is not None
    clock.now += LONGEST_AGE_SECONDS
    with pytest.raises(CannotVerify) as raised:
        keys.find("rsa-1")
    assert 1 <= raised.value.retry_after <= FLOOR_SECONDS


def test_without_any_fetched_key_a_token_can_not_be_verified(clock: Clock):
    def fail() -> dict:
        raise Unreadable("away")

    with pytest.raises(CannotVerify):
        SigningKeys(fail, algorithms=BOTH, clock=clock).find("rsa-1")


def test_a_stale_key_is_used_while_it_is_fetched_again(issuer: Issuer, clock: Clock):
    entered, leave = threading.Event(), threading.Event()
    documents = [issuer.document(JWKS)]

    def fetch() -> dict:
        if len(documents) > 1:
            entered.set()
            assert leave.wait(10)
        documents.append(documents[0])
        return documents[0]

    keys = SigningKeys(fetch, algorithms=BOTH, clock=clock)
    assert keys.find("rsa-1") is not None
    clock.now += MAX_AGE_SECONDS
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(keys.find, "rsa-1")
        assert entered.wait(10)
        assert keys.find("rsa-1") is not None
        assert not renewing.done()
        leave.set()
        assert renewing.result() is not None


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "x", "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "x", "alg": "RS256"},
        {**public_jwk(rsa_key(1024), "x")},
        {**public_jwk(rsa_key(), "x"), "use": "enc"},
        {**public_jwk(rsa_key(), "x"), "alg": "PS256"},
        {**public_jwk(ec_key(), "x"), "crv": "P-521"},
        {"kty": "RSA", "kid": "x", "n": "AQAB"},
        {**public_jwk(rsa_key(), "x"), "kid": 7},
        "x",
    ],
    ids=lambda jwk: str(jwk)[:30],
)
def test_keys_unfit_for_signatures_are_left_out(jwk, clock: Clock):
    good = public_jwk(ec_key(), "good")
    keys = SigningKeys(lambda: {"keys": [jwk, good]}, algorithms=BOTH, clock=clock)
    assert keys.find("x") is None
    assert keys.find("good") is not None


def test_an_algorithm_outside_the_configured_ones_has_no_keys(issuer: Issuer, clock: Clock):
    issuer.keys["ec-1"] = ec_key()
    keys = signing_keys(issuer, clock, algorithms=("RS256",))
    assert keys.find("ec-1") is None
    token = issuer.token(key=issuer.keys["ec-1"], algorithm="ES256", header={"kid": "ec-1"})
    with pytest.raises(Refused, match="signature algorithm that is not accepted"):
        bearer_tokens(issuer, keys).caller_of(f"Bearer {token}")


def test_each_algorithm_accepts_only_its_own_kind_of_key(issuer: Issuer, clock: Clock):
    issuer.keys["ec-1"] = ec_key()
    keys = signing_keys(issuer, clock, algorithms=BOTH)
    tokens = bearer_tokens(issuer, keys, algorithms=BOTH)
    good = issuer.token(key=issuer.keys["ec-1"], algorithm="ES256", header={"kid": "ec-1"})
    assert tokens.caller_of(f"bearer {good}").subject == "8b1f"
    for kid, algorithm, key in (("rsa-1", "ES256", "ec-1"), ("ec-1", "RS256", "rsa-1")):
        crossed = issuer.token(key=issuer.keys[key], algorithm=algorithm, header={"kid": kid})
        with pytest.raises(Refused):
            tokens.caller_of(f"Bearer {crossed}")


def test_roles_and_scopes_open_their_groups(issuer: Issuer, clock: Clock):
    tokens = bearer_tokens(issuer, signing_keys(issuer, clock))
    token = issuer.token(scp="openid read", scope="email", roles=["Edit"], name="Anna\n")
    caller = tokens.caller_of(f"Bearer {token}")
    assert caller == Caller(
        "8b1f",
        issuer.url,
        name="Anna\n",
        roles=("Edit", "openid", "read", "email"),
        groups=frozenset({"read", "write"}),
    )
    assert caller.claims == (
        f'{{"subject":"8b1f","issuer":"{issuer.url}","name":"Anna",'
        '"roles":["Edit","openid","read","email"]}'
    )


def test_clocks_may_differ_by_the_leeway(issuer: Issuer, clock: Clock):
    tokens = bearer_tokens(issuer, signing_keys(issuer, clock))
    now = int(time.time())
    token = issuer.token(exp=now - 10, nbf=now + 10, iat=now + 10)
    assert tokens.caller_of(f"Bearer {token}").groups == {"read"}


def test_the_discovery_document_gives_the_address_of_the_keys(issuer: Issuer):
    assert key_source(issuer=issuer.url)() == issuer.document(JWKS)
    assert issuer.visits == {DISCOVERY: 1, JWKS: 1}


def test_a_discovery_document_of_another_issuer_is_refused(issuer: Issuer):
    with pytest.raises(Unreadable, match="of another issuer"):
        key_source(issuer=issuer.url.replace("127.0.0.1", "localhost"))()


def test_keys_are_fetched_over_https_or_from_this_machine_only():
    with pytest.raises(Unreadable, match="not https"):
        get_document("http://login.example/keys")
    with pytest.raises(Unreadable, match="not https"):
        get_document("file:///etc/passwd")


def test_a_document_that_is_too_long_is_not_read(issuer: Issuer, monkeypatch):
    monkeypatch.setattr(Issuer, "document", lambda self, path: {"keys": "x" * MAX_BYTES})
    with pytest.raises(Unreadable, match="too long"):
        get_document(issuer.url + JWKS)


WRONG = (None, 7, 1e400, True, "", "AQAB" * 9, [], ["x"], [["RSA"]], {}, {"a": []})


@pytest.mark.parametrize("name", ["kty", "crv", "alg", "use", "kid", "n", "e", "x", "y", "key_ops"])
def test_a_key_with_a_value_of_another_type_is_left_out_and_the_others_are_used(
    issuer: Issuer, clock: Clock, name: str
):
    good = {"rsa": public_jwk(issuer.keys["rsa-1"], "rsa"), "ec": public_jwk(ec_key(), "ec")}
    wrong = [
        {**key, "kid": f"{kid}-{number}", name: value}
        for number, value in enumerate(WRONG)
        for kid, key in good.items()
    ]
    document = {"keys": [*wrong, *WRONG, *good.values()]}
    keys = SigningKeys(lambda: document, algorithms=BOTH, clock=clock)
    assert {kid for kid in good if keys.find(kid) is not None} == set(good)


@pytest.mark.parametrize("keys", WRONG)
def test_a_document_without_a_list_of_keys_has_none(clock: Clock, keys):
    found = SigningKeys(lambda: {"keys": keys}, algorithms=BOTH, clock=clock)
    if isinstance(keys, list):
        assert found.find("rsa-1") is None
    else:
        with pytest.raises(CannotVerify):
            found.find("rsa-1")


@pytest.mark.parametrize("name", ["exp", "nbf", "iat", "iss", "aud", "sub", "jti"])
def test_a_claim_of_another_type_is_refused(issuer: Issuer, clock: Clock, name: str):
    tokens = bearer_tokens(issuer, signing_keys(issuer, clock))
    for value in WRONG:
        header, claims = {"alg": "RS256", "kid": "rsa-1"}, {**issuer.claims(), name: value}
        signed = f"{encoded(header)}.{encoded(claims)}"
        algorithm = RSAAlgorithm(RSAAlgorithm.SHA256)
        token = f"{signed}.{encoded(algorithm.sign(signed.encode(), issuer.keys['rsa-1']))}"
        try:
            caller = tokens.caller_of(f"Bearer {token}")
        except Refused:
            continue
        # A time in the past, or a text where one belongs.
        assert name in ("nbf", "iat", "jti", "sub"), value
        assert isinstance(caller.subject, str)


@pytest.mark.parametrize(
    "address", ["https://a b/keys", "https://a\r\nb/keys", "", ["https://a"], {}, 7, None]
)
def test_an_invalid_address_of_the_keys_is_unreadable(issuer: Issuer, address):
    issuer.document = lambda path: {"issuer": issuer.url, "jwks_uri": address}
    with pytest.raises(Unreadable):
        key_source(issuer=issuer.url)()
