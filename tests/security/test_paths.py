"""A path without a route is a problem document, never a redirect or an HTML page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security.test_start import application

METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "FROB")
# Slashes at the end are redirected (tests/contract/test_first_mistakes.py).
PATHS = ("/customer//123", "//customer/123", "/taxidata//20")


@pytest.mark.parametrize("path", PATHS)
def test_a_path_with_an_empty_segment_is_not_found_with_any_method(path: str, tmp_path: Path):
    # Without a catalog: while one is unread, any unknown path may be a route of it (503).
    with application(tmp_path, EXPOSED_SCHEMAS="NONE:api") as app:
        client = app.test_client()
        for method in METHODS:
            answer = client.open(f"http://localhost{path}", method=method)
            assert answer.status_code == 404, method
            assert answer.content_type == "application/problem+json"
            assert answer.headers["X-Request-ID"]
