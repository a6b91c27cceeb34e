"""App Service authentication ("EasyAuth"): the platform signs users in and sends them in headers.

The platform removes these headers from clients' requests only while its authentication is switched
on; the settings refuse this method anywhere else (Microsoft, "Work with user identities in Azure
App Service authentication").
"""

import base64
import json
from collections.abc import Collection, Mapping

from authentication.principal import Caller, Refused, RequestHeaders, groups_of

PRINCIPAL = "X-MS-CLIENT-PRINCIPAL"
PRINCIPAL_ID = "X-MS-CLIENT-PRINCIPAL-ID"
LONGEST_PRINCIPAL = 16_384
SCOPE_CLAIMS = ("scp", "http://schemas.microsoft.com/identity/claims/scope")
ROLE_CLAIMS = ("roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role")
SUBJECT_CLAIMS = ("http://schemas.microsoft.com/identity/claims/objectidentifier", "oid", "sub")


class EasyAuth:
    """Callers by the principal in the platform's headers."""

    challenge = 'Bearer realm="sql-procedures-api"'
    error_in_challenge = True
    sent_by_browser = True

    def __init__(self, groups_by_role: Mapping[str, Collection[str]]) -> None:
        self._groups_by_role = groups_by_role

    def presented(self, headers: RequestHeaders) -> tuple[str, str] | None:
        principal = headers.get(PRINCIPAL)
        return None if principal is None else (principal, headers.get(PRINCIPAL_ID, ""))

    def caller_of(self, presented: tuple[str, str]) -> Caller:
        """The signed-in user. Raises Refused."""
        principal, subject = presented
        try:
            if len(principal) > LONGEST_PRINCIPAL:
                raise ValueError
            document = json.loads(base64.b64decode(principal, validate=True))
            claims = [(_text(c["typ"]), _text(c["val"])) for c in document["claims"]]
            provider = _text(document["auth_typ"])
            role_kind = _text(document.get("role_typ") or "")
            name_kind = _text(document.get("name_typ") or "")
        except (ValueError, TypeError, KeyError, RecursionError):
            raise Refused("The principal is malformed.") from None
        role_types = {*ROLE_CLAIMS, role_kind} - {""}
        granted = [value for kind, value in claims if kind in role_types]
        for kind, value in claims:
            if kind in SCOPE_CLAIMS:
                granted += value.split()
        roles = tuple(dict.fromkeys(granted))
        first = dict(reversed(claims))  # the first claim of each type
        return Caller(
            subject or next((first[kind] for kind in SUBJECT_CLAIMS if kind in first), ""),
            first.get("iss", provider),
            name=first.get(name_kind, first.get("name", "")),
            roles=roles,
            groups=groups_of(roles, self._groups_by_role),
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
