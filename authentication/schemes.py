"""The authentication methods that AUTH names, made from the values of the settings."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from authentication.api_keys import ApiKey, ApiKeys
from authentication.easyauth import EasyAuth
from authentication.principal import Caller, RequestHeaders

METHODS = ("keys", "oidc", "easyauth")
ALGORITHMS = ("RS256", "ES256")


class Method(Protocol):
    """One authentication method.

    challenge: its part of WWW-Authenticate (RFC 9110, 11.6.1). error_in_challenge: whether the
    scheme defines error parameters there (RFC 6750, 3). sent_by_browser: whether a browser adds
    the credential to requests of any site's page, as it does with cookies.
    """

    challenge: str
    error_in_challenge: bool
    sent_by_browser: bool

    def presented(self, headers: RequestHeaders) -> Any:
        """The credential in the headers of a request; None without one for this method."""

    def caller_of(self, presented: Any) -> Caller:
        """The holder of the credential. Raises Refused, CannotVerify."""


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
    """The methods with these names, in the order of METHODS."""
    made: dict[str, Method] = {}
    if "keys" in names:
        made["keys"] = ApiKeys(api_keys)
    if "oidc" in names:
        # Imported here, because cryptography is slow to import and only this method uses it.
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
