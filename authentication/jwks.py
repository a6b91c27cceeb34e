"""The public keys of an issuer (JWKS, RFC 7517), cached; fetched at most once a minute."""

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import jwt

from authentication.documents import Unreadable
from authentication.principal import CannotVerify

log = logging.getLogger(__name__)
# The shortest time between two fetches, however many unknown key ids arrive.
FLOOR_SECONDS = 60.0
# The age at which keys are fetched again. An issuer revokes a key by leaving it out.
MAX_AGE_SECONDS = 3600.0
# The age at which keys are no longer accepted, even if the issuer is unreachable.
LONGEST_AGE_SECONDS = 86_400.0
SMALLEST_RSA_BITS = 2048
# Slightly more than fetching two documents can take, so that a waiting request gets the outcome.
LONGEST_WAIT_SECONDS = 8.0


class SigningKeys:
    """Keys by id. `fetch()` returns the JWKS as a dict, or raises Unreadable.

    algorithms: RS256 accepts RSA keys of SMALLEST_RSA_BITS or more, ES256 keys of the curve P-256;
    all other keys, symmetric ones above all, are left out. One request fetches at a time; others
    use a cached key, or wait if there is none.
    """

    def __init__(
        self,
        fetch: Callable[[], dict[str, Any]],
        *,
        algorithms: Collection[str],
        floor: float = FLOOR_SECONDS,
        max_age: float = MAX_AGE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._algorithms = frozenset(algorithms)
        self._floor = floor
        self._max_age = max_age
        self._clock = clock
        self._fetching = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._not_before = float("-inf")

    def find(self, kid: str) -> jwt.PyJWK | None:
        """The key with this id; None if the issuer has no such key. Raises CannotVerify."""
        age = self._clock() - self._fetched_at
        cached = self._keys.get(kid) if age < LONGEST_AGE_SECONDS else None
        if cached is not None and age < self._max_age:
            return cached
        if self._clock() >= self._not_before:
            # Serve a stale key during another request's fetch; wait only if there is no key.
            wait = LONGEST_WAIT_SECONDS if cached is None else 0
            if self._fetching.acquire(timeout=wait):
                try:
                    self._refresh_if_due()
                finally:
                    self._fetching.release()
        if self._clock() - self._fetched_at >= LONGEST_AGE_SECONDS:
            raise CannotVerify(
                "The issuer's signing keys are unavailable.",
                retry_after=self._not_before - self._clock(),
            )
        return self._keys.get(kid)

    def _refresh_if_due(self) -> None:
        if self._clock() < self._not_before:
            return  # another request has just fetched
        try:
            self._keys = self._usable(self._fetch())
            self._fetched_at = self._clock()
        except Unreadable as error:
            log.warning("the signing keys could not be fetched: %s", error)
        finally:
            # Set after the fetch, so that concurrent requests wait for its outcome.
            self._not_before = self._clock() + self._floor

    def _usable(self, document: dict[str, Any]) -> dict[str, jwt.PyJWK]:
        keys = document.get("keys")
        if not isinstance(keys, list):
            raise Unreadable("the document has no list of keys")
        found = {}
        for data in keys:
            algorithm = _algorithm_of(data)
            if algorithm not in self._algorithms:
                continue
            try:
                key = jwt.PyJWK(data, algorithm)
            # For values of another JSON type, PyJWT and cryptography raise any kind of error.
            except Exception as error:
                log.warning("a signing key is left out: %s", type(error).__name__)
                continue
            if algorithm == "ES256" or key.key.key_size >= SMALLEST_RSA_BITS:
                found[data["kid"]] = key
        return found


def _algorithm_of(data: object) -> str | None:
    """The algorithm of a key in the JWKS; None for an unusable key."""
    if not isinstance(data, dict) or not isinstance(data.get("kid"), str):
        return None
    if data.get("use", "sig") != "sig":
        return None
    kinds = [(("RSA", None), "RS256"), (("EC", "P-256"), "ES256")]
    kind = (data.get("kty"), data.get("crv"))
    algorithm = next((name for candidate, name in kinds if candidate == kind), None)
    return algorithm if data.get("alg", algorithm) == algorithm else None
