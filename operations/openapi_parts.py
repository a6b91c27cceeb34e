"""Parts of the OpenAPI document that Python resources and catalog operations share."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from protocol.consistency import CONSISTENCY, CONSISTENCY_TOKEN, MOST_TOKENS, TOKEN
from protocol.formats import ARROW, JSON
from protocol.idempotency import IDEMPOTENCY_KEY
from protocol.problems import MEDIA_TYPE, PROBLEM_TYPES

Json: TypeAlias = dict[str, Any]
PROBLEM = "ProblemDetails"
# What a client without a sufficient credential, or with too many requests, gets.
CLOSED_PROBLEMS = ("unauthenticated", "forbidden", "too-many-requests")
IF_MATCH = {"type": "string", "pattern": r'^("[\x21\x23-\x7e]+"|\*)$'}


def header(name: str, description: str, schema: Json) -> Json:
    """A request header."""
    return {"name": name, "in": "header", "description": description, "schema": schema}


def idempotency_key_header() -> Json:
    return header(
        "Idempotency-Key",
        "Repeating a request with the same key returns the first response; the write is done once.",
        {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY.pattern}$"},
    )


# Of a write to a database that has replicas.
CONSISTENCY_TOKEN_GIVEN = "Names this write; a read that sends it sees the write."


def consistency_headers() -> list[Json]:
    """The headers of a read from a database that has replicas."""
    token = TOKEN.pattern
    return [
        header(
            CONSISTENCY_TOKEN,
            "The value that a write has sent, or several joined by commas: the response is not"
            " older than these writes. Without it the response may come from a replica that is a"
            " few seconds behind.",
            {"type": "string", "pattern": f"^{token}( *, *{token}){{0,{MOST_TOKENS - 1}}}$"},
        ),
        header(
            CONSISTENCY,
            "`primary` makes the primary serve the request, which has every write.",
            {"type": "string", "enum": ["primary"]},
        ),
    ]


def request_timeout_header() -> Json:
    return header(
        "Request-Timeout",
        "Deadline of this request in seconds; the server's own deadline may be shorter.",
        {"type": "number", "exclusiveMinimum": 0},
    )


def response_headers(texts: Mapping[str, str]) -> Json:
    """The `headers` member of a response by header name; nothing without headers."""
    if not texts:
        return {}
    schema = {"type": "string"}
    return {"headers": {n: {"description": t, "schema": schema} for n, t in texts.items()}}


def content_of(media_types: Iterable[str], schema: Json) -> Json:
    """The `content` member of a response; `schema` is that of the JSON body."""
    return {kind: schema if kind == JSON else _text_content(kind) for kind in media_types}


def _text_content(media_type: str) -> Json:
    binary = {"format": "binary"} if media_type == ARROW else {}
    return {"schema": {"type": "string", **binary}}


def problem_responses(slugs: Iterable[str], statuses: Mapping[str, int] | None = None) -> Json:
    """The responses, by status, for the problem types `slugs`.

    statuses: where a slug's status is not that of its type.
    """
    by_status = defaultdict(list)
    for slug in dict.fromkeys(slugs):
        found = PROBLEM_TYPES[slug]
        by_status[(statuses or {}).get(slug, found.status)].append(found)
    return {
        str(status): problem_response(
            "; ".join(f"`{t.slug}`: {t.meaning.rstrip('.')}" for t in types)
        )
        for status, types in sorted(by_status.items())
    }


def problem_response(description: str) -> Json:
    schema = {"$ref": f"#/components/schemas/{PROBLEM}"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}
