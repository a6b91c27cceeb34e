"""The public keys of an issuer (JWKS, RFC 7517): cached, and asked for no oftener than a floor."""

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import jwt

from authentication.documents import Unreadable
from authentication.principal import CannotVerify

log = logging.getLogger(__name__)
# A storm of unknown key ids asks the issuer once in this time.
FLOOR_SECONDS = 60.0
# Issuers publish a key long before they sign with it, and take one back by leaving it out.
MAX_AGE_SECONDS = 3600.0
# Beyond this age keys are not believed, even if the issuer can't be asked for others.
LONGEST_AGE_SECONDS = 86_400.0
SMALLEST_RSA_BITS = 2048
# A little more than the two documents may take, so that a waiter meets the outcome.
LONGEST_WAIT_SECONDS = 8.0


class SigningKeys:
    """Keys by their id. `fetch()` gives the JWKS as a dict, or raises Unreadable.

    algorithms: RS256 takes RSA keys of SMALLEST_RSA_BITS and more, ES256 those of curve P-256;
    nothing else is a key here, least of all a symmetric one. One fetch at a time, the others
    wait for it or use what there is.
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
        """The key of this id; None where the issuer has none. Raises CannotVerify."""
        age = self._clock() - self._fetched_at
        known = self._keys.get(kid) if age < LONGEST_AGE_SECONDS else None
        if known is not None and age < self._max_age:
            return known
        if self._clock() >= self._not_before:
            # An aging key serves while another request fetches; without one there is waiting only.
            wait = LONGEST_WAIT_SECONDS if known is None else 0
            if self._fetching.acquire(timeout=wait):
                try:
                    self._refresh_if_due()
                finally:
                    self._fetching.release()
        if self._clock() - self._fetched_at >= LONGEST_AGE_SECONDS:
            raise CannotVerify(
                "The keys of the issuer can not be had.",
                retry_after=self._not_before - self._clock(),
            )
        return self._keys.get(kid)

    def _refresh_if_due(self) -> None:
        if self._clock() < self._not_before:
            return  # another request has just been there
        try:
            self._keys = self._usable(self._fetch())
            self._fetched_at = self._clock()
        except Unreadable as error:
            log.warning("the signing keys could not be fetched: %s", error)
        finally:
            # At the end, so that who comes meanwhile waits for the outcome.
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
            except jwt.PyJWTError as error:
                log.warning("a signing key is left out: %s", type(error).__name__)
                continue
            if algorithm == "ES256" or key.key.key_size >= SMALLEST_RSA_BITS:
                found[data["kid"]] = key
        return found


def _algorithm_of(data: object) -> str | None:
    """What a key of the set signs with; None for one that is of no use here."""
    if not isinstance(data, dict) or not isinstance(data.get("kid"), str):
        return None
    if data.get("use", "sig") != "sig":
        return None
    kind = (data.get("kty"), data.get("crv"))
    algorithm = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}.get(kind)
    return algorithm if data.get("alg", algorithm) == algorithm else None
