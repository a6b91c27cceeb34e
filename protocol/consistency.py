"""Reads that see the reader's own writes, where a database has replicas.

A write answers with a Consistency-Token, which names the idempotency key that it committed. A read
that sends the token is served by a replica that has this key, else by the primary.
`Consistency: primary` asks for the primary without a token.
"""

import base64
import binascii
import functools
import re
import time
from datetime import datetime, timezone
from typing import Literal, NamedTuple

from flask import Response, after_this_request

from catalog import statements
from database.statement import Guard
from databases import Databases
from protocol.context import app_context, request_context
from protocol.problems import Problem
from replicas.reads import ANY, PRIMARY, Consistency

CONSISTENCY_TOKEN, CONSISTENCY = "Consistency-Token", "Consistency"
# Where the key of a write is stored: procedures_api.requests, or web.requests of the sample.
Store = Literal["c", "s"]
MOST_TOKENS = 8
# Database, store, time of the response in seconds, and the stored key as base64url.
TOKEN = re.compile(r"([A-Za-z0-9_]{1,64})\.([cs])([0-9a-f]{1,12})\.([A-Za-z0-9_-]{2,340})")
# The end of the year 9999, which every engine's timestamps reach.
LATEST = 253_402_300_799
# As protocol.idempotency stores it.
_KEY = re.compile(r"[\x20-\x7e]{1,255}")


class Token(NamedTuple):
    """One write. at: when it was answered, in Unix seconds. key: as it is stored."""

    database: str
    store: Store
    at: int
    key: str

    def __str__(self) -> str:
        key = base64.urlsafe_b64encode(self.key.encode()).decode().rstrip("=")
        return f"{self.database}.{self.store}{self.at:x}.{key}"


def give_token(database: str, store: Store, key: str) -> None:
    """Send the token of a committed write with this request's response, if `database` has replicas.

    key: as it is stored. The token is in g.consistency_token too, for the result of a tool.
    """
    context = app_context()
    databases: Databases = context.app.extensions["databases"]
    if not databases.has_replicas(database):
        return
    context.g.consistency_token = token = str(Token(database, store, int(time.time()), key))

    @after_this_request
    def add(response: Response) -> Response:
        response.headers[CONSISTENCY_TOKEN] = token
        return response


def asks_for_consistency(database: str) -> bool:
    """Whether this request says what its read of `database` must see, and that has replicas."""
    context = request_context()
    environ = context.request.environ
    if "HTTP_CONSISTENCY_TOKEN" not in environ and "HTTP_CONSISTENCY" not in environ:
        return False
    databases: Databases = context.app.extensions["databases"]
    return databases.has_replicas(database)


def consistency(database: str, engine: str) -> Consistency:
    """What this request's read of `database`, which has replicas, must see.

    engine: as in database.dialects. Raises Problem invalid-header.
    """
    context = request_context()
    environ = context.request.environ
    chosen = environ.get("HTTP_CONSISTENCY")
    if chosen is not None:
        if chosen.strip().lower() != "primary":
            raise Problem("invalid-header", f"{CONSISTENCY} must be primary, or left out.")
        return PRIMARY
    given = environ.get("HTTP_CONSISTENCY_TOKEN")
    if given is None:
        return ANY
    half = context.app.config["IDEMPOTENCY_KEY_SECONDS"] // 2
    required = _required(given, database, engine, half)
    if required is None:
        return ANY
    oldest, guarded = required
    # The key of an old write may have been deleted.
    return PRIMARY if time.time() - oldest > half else guarded


@functools.lru_cache(maxsize=1024)
def _required(text: str, database: str, engine: str, half: int) -> tuple[int, Consistency] | None:
    """(time of the oldest token, what proves all of them) of a header's tokens for `database`.

    half: of the retention of keys, in seconds. A key that is used again after its retention names
    another write. A replica may still have the row of the first one: that is older than half the
    retention before the token, and does not count.
    Raises Problem invalid-header.
    """
    tokens = [token for token in read_tokens(text) if token.database == database]
    if not tokens:
        return None
    guards = []
    for token in tokens:
        require = statements.require_sample_key if token.store == "s" else statements.require_key
        since = datetime.fromtimestamp(max(0, token.at - half), timezone.utc)
        guards.append(require(engine, token.key, since.strftime("%Y-%m-%dT%H:%M:%S")))
    return min(t.at for t in tokens), Consistency(guard=functools.reduce(Guard.then, guards))


def read_tokens(text: str) -> list[Token]:
    """The tokens of a Consistency-Token header, joined by commas. Raises Problem invalid-header."""
    found = [part.strip() for part in text.split(",", MOST_TOKENS)]
    matched = [TOKEN.fullmatch(part) for part in found]
    if len(found) > MOST_TOKENS or not all(matched):
        raise _refused()
    return [_token(one) for one in matched if one is not None]


def _token(matched: re.Match[str]) -> Token:
    database, store, at, encoded = matched.groups()
    try:
        key = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        raise _refused() from None
    if not _KEY.fullmatch(key):
        raise _refused()
    return Token(database, "s" if store == "s" else "c", min(int(at, 16), LATEST), key)


def _refused() -> Problem:
    return Problem(
        "invalid-header",
        f"{CONSISTENCY_TOKEN} must be a value that a write has sent, or up to {MOST_TOKENS} such"
        " values joined by commas.",
    )
