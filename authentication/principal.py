"""Callers: the claims of a credential's holder, and the route groups it may use."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from werkzeug.datastructures import Headers

# The headers of a request: Werkzeug's own type is not a Mapping.
RequestHeaders = Mapping[str, str] | Headers
# Route groups: reading data, changing data, and observing the service itself.
GROUPS = ("read", "write", "operate")
# The limit of the session variable (database.dialects.CALLER_MAX_CHARACTERS).
LONGEST_CLAIMS = 4000
LONGEST_SUBJECT = 255
LONGEST_NAME = 256
NO_GROUPS: frozenset[str] = frozenset()


class Refused(Exception):
    """The credential is not accepted.

    The message is a sentence for the client, in ASCII and without quotes, because it goes into
    WWW-Authenticate. It contains no part of the credential.
    """


class CannotVerify(Exception):
    """The credential can't be verified at present; `retry_after` is in seconds."""

    def __init__(self, reason: str, *, retry_after: float) -> None:
        super().__init__(reason)
        self.retry_after = max(1.0, retry_after)


@dataclass(frozen=True)
class Caller:
    """The holder of an accepted credential.

    `subject` is unique at its `issuer`; `roles` are the issuer's names; groups: the route groups
    that it may use. Raises Refused for claims that are too long, or that a database could confuse
    with another caller's: claims are never truncated or trimmed.
    """

    subject: str
    issuer: str
    name: str = ""
    roles: tuple[str, ...] = ()
    groups: frozenset[str] = field(default=NO_GROUPS)

    def __post_init__(self) -> None:
        # SQL compares 'a ' and 'a' as equal, and jsonb refuses U+0000.
        if not (0 < len(self.subject) <= LONGEST_SUBJECT) or self.subject != self.subject.strip():
            raise Refused(f"The subject must have 1 to {LONGEST_SUBJECT} characters.")
        if not all(text.isprintable() for text in (self.subject, self.issuer, *self.roles)):
            raise Refused("The claims contain unprintable characters.")
        if len(self.claims.encode("utf-16-le")) // 2 > LONGEST_CLAIMS:
            raise Refused(f"The claims are longer than {LONGEST_CLAIMS} characters.")

    @cached_property
    def claims(self) -> str:
        """The JSON that procedures receive: {"subject", "issuer", "name", "roles": […]}."""
        name = "".join(c for c in self.name if c.isprintable())[:LONGEST_NAME]
        document = {"subject": self.subject, "issuer": self.issuer, "name": name}
        return json.dumps(
            {**document, "roles": list(self.roles)}, ensure_ascii=False, separators=(",", ":")
        )


def read_groups(text: str) -> frozenset[str]:
    """`read+write` as a set. Raises ValueError for an unknown group."""
    groups = frozenset(part.strip() for part in text.split("+") if part.strip())
    if not groups <= set(GROUPS):
        raise ValueError(f"a list of {', '.join(GROUPS)}, joined by +")
    return groups


def read_roles(text: str) -> dict[str, frozenset[str]]:
    """`role:group+group, …` as a mapping. A role may contain colons. Raises ValueError."""
    roles = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        role, colon, groups = entry.rpartition(":")
        if not (colon and role.strip()):
            raise ValueError("a list of role:group+group, separated by commas")
        roles[role.strip()] = read_groups(groups)
    return roles


def groups_of(
    roles: Iterable[str], groups_by_role: Mapping[str, Collection[str]]
) -> frozenset[str]:
    """The union of the groups of all `roles`."""
    return NO_GROUPS.union(*(groups_by_role.get(role, ()) for role in roles))
