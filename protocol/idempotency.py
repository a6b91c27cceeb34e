"""The Idempotency-Key header: which key a write is stored under, and which requests are the same.

Source: draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from observability.random_ids import random_hex
from protocol.context import app_context, request_context
from protocol.problems import Problem

# RFC 9110 field content; the draft's quoted form names the same key as the bare one.
IDEMPOTENCY_KEY = re.compile(r'"?([\x21\x23-\x7e](?:[\x20\x21\x23-\x7e]{0,253}[\x21\x23-\x7e])?)"?')

# The text of a document that digests are made of, always the same for equal documents; json.dumps
# would make an encoder for each call. Never change it: stored keys outlive an upgrade.
canonical: Callable[[Any], str] = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def idempotency_key() -> str:
    """The client's Idempotency-Key, or a generated one. Raises Problem invalid-header."""
    given = request_context().request.environ.get("HTTP_IDEMPOTENCY_KEY")
    if given is None:
        return random_hex()
    matched = IDEMPOTENCY_KEY.fullmatch(given.strip())
    if matched is None:
        raise Problem(
            "invalid-header", "Idempotency-Key must be 1 to 255 printable ASCII characters."
        )
    return matched[1]


def key_of_caller(key: str) -> str:
    """`key` as it is stored: separate for each caller, so that no caller gets the response to
    another caller's request."""
    caller = app_context().g.caller
    if caller is None:
        return key
    text = json.dumps([caller.issuer, caller.subject, key])
    # A client's own key can't contain a quote, so it never equals a named caller's.
    return '"' + hashlib.sha256(text.encode()).hexdigest()


def digest(procedure: str, document: str) -> str:
    """SHA-256 of a procedure's name and a canonical document, 64 hex digits: equal for equal
    requests only."""
    return hashlib.sha256(f"[{canonical(procedure)},{document}]".encode()).hexdigest()
