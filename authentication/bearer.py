"""Bearer tokens of Microsoft Entra ID or any OpenID Connect issuer (RFC 6750, 7519, 8725)."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import jwt

from authentication.jwks import SigningKeys
from authentication.principal import Caller, Refused, groups_of

LEEWAY_SECONDS = 30
LONGEST_TOKEN = 16_384
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/=-]+)", re.IGNORECASE)
_REASONS = (
    (jwt.ExpiredSignatureError, "The token has expired."),
    (jwt.ImmatureSignatureError, "The token is not valid yet."),
    (jwt.InvalidAudienceError, "The token is for another audience."),
    (jwt.InvalidIssuerError, "The token is from another issuer."),
    (jwt.MissingRequiredClaimError, "The token lacks a claim: exp, iss, aud and sub are needed."),
)


class BearerTokens:
    """Callers by a signed JWT. Its algorithm is one of `algorithms` and its key's own, whatever
    the token says; leeway for clocks: LEEWAY_SECONDS.

    audiences: one of them must be the token's; groups_by_role: what `roles`, `scp` and `scope`
    open.
    """

    challenge = 'Bearer realm="sql-procedures-api"'
    error_in_challenge = True

    def __init__(
        self,
        *,
        issuer: str,
        audiences: Collection[str],
        algorithms: Collection[str],
        groups_by_role: Mapping[str, Collection[str]],
        keys: SigningKeys,
    ) -> None:
        self._issuer = issuer
        self._audiences = list(audiences)
        self._algorithms = list(algorithms)
        self._groups_by_role = groups_by_role
        self._keys = keys

    def presented(self, headers: Mapping[str, str]) -> str | None:
        return headers.get("Authorization")

    def caller_of(self, presented: str) -> Caller:
        """Who signed in. Raises Refused, CannotVerify."""
        matched = _BEARER.fullmatch(presented.strip())
        if matched is None:
            raise Refused("Authorization must be Bearer and one token.")
        claims = self._verified(matched[1])
        roles = tuple(dict.fromkeys(_words(claims, "roles", "scp", "scope")))
        name = claims.get("name") or claims.get("preferred_username") or claims.get("azp")
        return Caller(
            claims["sub"],
            claims["iss"],
            name=name if isinstance(name, str) else "",
            roles=roles,
            groups=groups_of(roles, self._groups_by_role),
        )

    def _verified(self, token: str) -> dict[str, Any]:
        if len(token) > LONGEST_TOKEN:
            raise Refused("The token is too long.")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise Refused("The token can not be read.") from None
        # Before any look at a key: what is refused here costs no question to the issuer.
        if header.get("alg") not in self._algorithms or "crit" in header:
            raise Refused("The token is signed in a way that is not accepted.")
        kid = header.get("kid")
        key = self._keys.find(kid) if isinstance(kid, str) else None
        if key is None:
            raise Refused("The token is signed by a key that is not known.")
        try:
            return jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                audience=self._audiences,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.InvalidTokenError as error:
            reason = next((text for kind, text in _REASONS if isinstance(error, kind)), None)
            raise Refused(reason or "The token is not valid.") from None


def _words(claims: Mapping[str, Any], *names: str) -> list[str]:
    """Scopes come as one text, roles as a list; each issuer has its own habit."""
    words = []
    for name in names:
        value = claims.get(name)
        if isinstance(value, str):
            words += value.split()
        elif isinstance(value, list):
            words += [word for word in value if isinstance(word, str)]
    return words
