"""Bearer tokens of Microsoft Entra ID or any OpenID Connect issuer (RFC 6750, 7519, 8725)."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import jwt

from authentication.jwks import SigningKeys
from authentication.principal import Caller, Refused, RequestHeaders, groups_of

LEEWAY_SECONDS = 30
LONGEST_TOKEN = 16_384
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/=-]+)", re.IGNORECASE)
_REASONS = (
    (jwt.ExpiredSignatureError, "The token has expired."),
    (jwt.ImmatureSignatureError, "The token is not valid yet."),
    (jwt.InvalidAudienceError, "The token is for another audience."),
    (jwt.InvalidIssuerError, "The token is from another issuer."),
    (jwt.MissingRequiredClaimError, "The token lacks a claim: exp, iss, aud and sub are required."),
)


class BearerTokens:
    """Callers by signed JWT. Clocks may differ by LEEWAY_SECONDS.

    algorithms: the accepted ones; a token's algorithm must also be that of its key. audiences: a
    token must contain one of them. groups_by_role: the groups for each value of the claims
    `roles`, `scp` and `scope`.
    """

    challenge = 'Bearer realm="sql-procedures-api"'
    error_in_challenge = True
    sent_by_browser = False

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

    def presented(self, headers: RequestHeaders) -> str | None:
        return headers.get("Authorization")

    def caller_of(self, presented: str) -> Caller:
        """The token's subject. Raises Refused, CannotVerify."""
        matched = _BEARER.fullmatch(presented.strip())
        if matched is None:
            raise Refused("Authorization must be Bearer followed by one token.")
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
        except (jwt.InvalidTokenError, RecursionError):
            raise Refused("The token is malformed.") from None
        # Checked before the key, so that a token refused here causes no request to the issuer.
        if header.get("alg") not in self._algorithms or "crit" in header:
            raise Refused("The token has a signature algorithm that is not accepted.")
        kid = header.get("kid")
        key = self._keys.find(kid) if isinstance(kid, str) else None
        if key is None:
            raise Refused("The token is signed by an unknown key.")
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
            raise Refused(reason or "The token is invalid.") from None
        # PyJWT raises these for claims of another JSON type, and for times out of range.
        except (TypeError, ValueError, ArithmeticError, AttributeError, RecursionError):
            raise Refused("The token is invalid.") from None


def _words(claims: Mapping[str, Any], *names: str) -> list[str]:
    """The words of claims that are either one text (scopes) or a list (roles)."""
    words = []
    for name in names:
        value = claims.get(name)
        if isinstance(value, str):
            words += value.split()
        elif isinstance(value, list):
            words += [word for word in value if isinstance(word, str)]
    return words
