"""API keys. The settings contain their SHA-256 digests, from which no key can be recovered.

A fast digest is enough for a key of 256 random bits; a password would require a slow one.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field

from authentication.principal import GROUPS, Caller, Refused, RequestHeaders, read_groups

HEADER = "X-API-Key"
ISSUER = "api-keys"
PREFIX = "spa_"
LONGEST_KEY = 256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME_RULE = "a name of 1 to 64 letters, digits, dots, underscores and hyphens"
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class ApiKey:
    """An accepted key: the name of its holder, its route groups and its SHA-256 digest."""

    name: str
    groups: frozenset[str]
    digest: bytes = field(repr=False)


def read_keys(text: str) -> tuple[ApiKey, ...]:
    """The keys of `name:group+group:hexdigest, …`. Raises ValueError without parts of the text."""
    keys = []
    for number, entry in enumerate(filter(None, (p.strip() for p in text.split(","))), start=1):
        wanted = f"a list of name:group+group:digest joined by commas; entry {number}"
        keys.append(_key(entry, wanted))
    if len({k.digest for k in keys}) < len(keys):
        raise ValueError("a list without repeated keys")
    return tuple(keys)


def _key(entry: str, wanted: str) -> ApiKey:
    name, _, rest = entry.partition(":")
    groups, colon, digest = rest.partition(":")
    if not colon:
        # The result of splitting `name:read,write:digest` at its comma.
        raise ValueError(f"{wanted} has fewer than three parts (groups are joined by +)")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{wanted} lacks {_NAME_RULE}")
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{wanted} lacks a digest of 64 hexadecimal digits")
    return ApiKey(name, read_groups(groups), bytes.fromhex(digest))


def new_key() -> str:
    """A new random key of 256 bits, with a prefix by which scanners find leaked keys."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def setting_line(name: str, groups: Collection[str], key: str) -> str:
    """The entry of API_KEYS for `key`. Raises ValueError for an invalid name or group."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"NAME {name!r} is wrong: it must be {_NAME_RULE}, such as my-key.")
    unknown = [group for group in groups if group not in GROUPS]
    if unknown or not groups:
        raise ValueError(
            f"--groups {' '.join(unknown)!r} is wrong: it must be a list of {', '.join(GROUPS)},"
            " joined by commas."
        )
    line = f"{name}:{'+'.join(groups)}:{digest_of(key).hex()}"
    read_keys(line)
    return line


class ApiKeys:
    """Callers by API key. Two entries may have one name, so that a key can be rotated."""

    challenge = f'ApiKey realm="sql-procedures-api", header="{HEADER}"'
    error_in_challenge = False
    sent_by_browser = False

    def __init__(self, keys: Collection[ApiKey]) -> None:
        self._keys = tuple(keys)

    def presented(self, headers: RequestHeaders) -> str | None:
        return headers.get(HEADER)

    def caller_of(self, presented: str) -> Caller:
        """The holder of the key. Raises Refused."""
        found = None
        digest = digest_of(presented[: LONGEST_KEY + 1])
        # Compare all keys, so that the time taken reveals nothing.
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        if found is None:
            raise Refused("The API key is invalid.")
        return Caller(found.name, ISSUER, name=found.name, groups=found.groups)
