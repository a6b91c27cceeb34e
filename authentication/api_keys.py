"""API keys: the settings hold their SHA-256 digests, so that reading the settings opens nothing.

A plain digest is enough for a key of 256 random bits; a password would need a slow one.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from authentication.principal import Caller, Refused, read_groups

HEADER = "X-API-Key"
ISSUER = "api-keys"
PREFIX = "spa_"
LONGEST_KEY = 256
_ENTRY = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63}):([a-z+]+):([0-9a-fA-F]{64})")


@dataclass(frozen=True)
class ApiKey:
    """A key that is accepted: whose it is, which route groups it opens, its SHA-256 digest."""

    name: str
    groups: frozenset[str]
    digest: bytes = field(repr=False)


def read_keys(text: str) -> tuple[ApiKey, ...]:
    """`name:group+group:hexdigest, …`. Raises ValueError, which never quotes the text."""
    keys = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        matched = _ENTRY.fullmatch(entry)
        if matched is None:
            raise ValueError("a list of name:group+group:digest, separated by commas")
        keys.append(ApiKey(matched[1], read_groups(matched[2]), bytes.fromhex(matched[3])))
    if len({k.digest for k in keys}) < len(keys):
        raise ValueError("a list in which no key comes twice")
    return tuple(keys)


def new_key() -> str:
    """A key that nobody has yet: the prefix, by which leaked ones are found, and 256 bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def setting_line(name: str, groups: Collection[str], key: str) -> str:
    """The entry of API_KEYS for `key`. Raises ValueError for a name or group that can't be."""
    line = f"{name}:{'+'.join(groups)}:{digest_of(key).hex()}"
    read_keys(line)
    return line


class ApiKeys:
    """Callers by the key that they show. Two entries of one name make a rotation possible."""

    challenge = f'ApiKey realm="sql-procedures-api", header="{HEADER}"'
    error_in_challenge = False

    def __init__(self, keys: Collection[ApiKey]) -> None:
        self._keys = tuple(keys)

    def presented(self, headers: Mapping[str, str]) -> str | None:
        return headers.get(HEADER)

    def caller_of(self, presented: str) -> Caller:
        """Whose key it is. Raises Refused."""
        found = None
        digest = digest_of(presented[: LONGEST_KEY + 1])
        # All of them, whichever fits: the time taken tells nothing.
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        if found is None:
            raise Refused("The API key is not known.")
        return Caller(found.name, ISSUER, name=found.name, groups=found.groups)
