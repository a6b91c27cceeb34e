"""App Service authentication ("EasyAuth"): the platform signs in, and tells who by headers.

The platform removes these headers from what comes in, but only where it is switched on: the
settings refuse this method anywhere else (Microsoft, "Work with user identities in Azure App
Service authentication").
"""

import base64
import json
from collections.abc import Collection, Mapping

from authentication.principal import Caller, Refused, groups_of

PRINCIPAL = "X-MS-CLIENT-PRINCIPAL"
PRINCIPAL_ID = "X-MS-CLIENT-PRINCIPAL-ID"
LONGEST_PRINCIPAL = 16_384
SCOPE_CLAIMS = ("scp", "http://schemas.microsoft.com/identity/claims/scope")
ROLE_CLAIMS = ("roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role")
SUBJECT_CLAIMS = ("http://schemas.microsoft.com/identity/claims/objectidentifier", "oid", "sub")


class EasyAuth:
    """Callers by the principal that the platform tells of."""

    challenge = 'Bearer realm="sql-procedures-api"'
    error_in_challenge = True

    def __init__(self, groups_by_role: Mapping[str, Collection[str]]) -> None:
        self._groups_by_role = groups_by_role

    def presented(self, headers: Mapping[str, str]) -> tuple[str, str] | None:
        principal = headers.get(PRINCIPAL)
        return None if principal is None else (principal, headers.get(PRINCIPAL_ID, ""))

    def caller_of(self, presented: tuple[str, str]) -> Caller:
        """Whom the platform has signed in. Raises Refused."""
        principal, subject = presented
        try:
            if len(principal) > LONGEST_PRINCIPAL:
                raise ValueError
            document = json.loads(base64.b64decode(principal, validate=True))
            claims = [(str(c["typ"]), str(c["val"])) for c in document["claims"]]
            provider = str(document["auth_typ"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise Refused("The principal can not be read.") from None
        role_types = {*ROLE_CLAIMS, document.get("role_typ")}
        roles = [value for kind, value in claims if kind in role_types]
        roles += [word for kind, value in claims if kind in SCOPE_CLAIMS for word in value.split()]
        known = dict(reversed(claims))
        roles = tuple(dict.fromkeys(roles))
        return Caller(
            subject or next((known[kind] for kind in SUBJECT_CLAIMS if kind in known), ""),
            known.get("iss", provider),
            name=known.get(str(document.get("name_typ")), known.get("name", "")),
            roles=roles,
            groups=groups_of(roles, self._groups_by_role),
        )
