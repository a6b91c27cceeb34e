"""Cross-origin requests: the pages of which other origins may call the API."""

import re
from collections.abc import Sequence

from flask import Flask
from flask_cors import CORS

# The response headers that a page may read, besides the few that CORS always allows.
EXPOSED_HEADERS = [
    "ETag",
    "Link",
    "Location",
    "Idempotency-Replayed",
    "Consistency-Token",
    "Retry-After",
    "X-Request-ID",
    "Age",
    "Allow",
]
PREFLIGHT_SECONDS = 600


def install(app: Flask, origins: Sequence[str]) -> None:
    """Allow the pages of `origins` to call `app`; "*" allows all, an empty list none."""
    if origins:
        patterns = [_pattern(origin) for origin in origins]
        CORS(app, origins=patterns, expose_headers=EXPOSED_HEADERS, max_age=PREFLIGHT_SECONDS)


def _pattern(origin: str) -> str | re.Pattern[str]:
    """A pattern for Flask-Cors that matches `origin` only.

    Flask-Cors takes the brackets of an IPv6 address for a regular expression, and does not anchor
    it.
    """
    return re.compile(re.escape(origin) + r"\Z", re.IGNORECASE) if "[" in origin else origin
