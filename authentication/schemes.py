"""The methods that AUTH names, made from the settings' values."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from authentication.api_keys import ApiKey, ApiKeys
from authentication.easyauth import EasyAuth
from authentication.principal import Caller

METHODS = ("keys", "oidc", "easyauth")
ALGORITHMS = ("RS256", "ES256")


class Method(Protocol):
    """One way to tell who asks. `challenge`: its part of WWW-Authenticate (RFC 9110, 11.6.1);
    error_in_challenge: whether the scheme has a place there for what was wrong (RFC 6750, 3)."""

    challenge: str
    error_in_challenge: bool

    def presented(self, headers: Mapping[str, str]) -> Any:
        """The credential in a request's headers; None where there is none for this method."""

    def caller_of(self, presented: Any) -> Caller:
        """Whose credential it is. Raises Refused, CannotVerify."""


def methods(
    names: Collection[str],
    *,
    api_keys: Collection[ApiKey] = (),
    issuer: str = "",
    audiences: Collection[str] = (),
    algorithms: Collection[str] = (),
    jwks_url: str = "",
    groups_by_role: Mapping[str, Collection[str]] = {},
) -> list[Method]:
    """The methods of these names, of METHODS, in their order."""
    made: dict[str, Method] = {}
    if "keys" in names:
        made["keys"] = ApiKeys(api_keys)
    if "oidc" in names:
        # Here, because cryptography takes a while to import and the other methods do without.
        from authentication.bearer import BearerTokens
        from authentication.documents import key_source
        from authentication.jwks import SigningKeys

        made["oidc"] = BearerTokens(
            issuer=issuer,
            audiences=audiences,
            algorithms=algorithms,
            groups_by_role=groups_by_role,
            keys=SigningKeys(key_source(issuer=issuer, jwks_url=jwks_url), algorithms=algorithms),
        )
    if "easyauth" in names:
        made["easyauth"] = EasyAuth(groups_by_role)
    return list(made.values())
