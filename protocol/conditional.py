"""Conditional requests: If-Match on writes (RFC 9110, section 13.1.1)."""

import re

from protocol.context import request_context
from protocol.problems import Problem

# Flask-Compress appends the encoding to the row's tag.
ENTITY_TAG = re.compile(r'"([\x21\x23-\x7e]+?)(?::(?:br|gzip))?"')


def if_match() -> str | None:
    """The entity tag of If-Match; None without the header, and for `*`.

    Raises Problem precondition-required if the header is missing and REQUIRE_IF_MATCH is on,
    invalid-header for anything but one strong tag.
    """
    context = request_context()
    given = context.request.environ.get("HTTP_IF_MATCH")
    if given is None:
        if context.app.config["REQUIRE_IF_MATCH"] and context.request.view_args:
            raise Problem("precondition-required", "Send If-Match with the ETag of the row.")
        return None
    if given == "*":
        return None
    matched = ENTITY_TAG.fullmatch(given.strip())
    if matched is None:
        raise Problem(
            "invalid-header", 'If-Match must be one strong entity tag, such as "abc", or *.'
        )
    return matched[1]
