"""A path that is no route is a problem like any other, never a redirect and never HTML."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit.routes import application

METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "FROB")
# Slashes at the end are redirected (tests/contract/test_first_mistakes.py).
PATHS = ("/customer//123", "//customer/123", "/taxidata//20")


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_segment_is_no_route_by_any_method(path: str, tmp_path: Path):
    with application(tmp_path) as app:
        client = app.test_client()
        for method in METHODS:
            answer = client.open(f"http://localhost{path}", method=method)
            assert answer.status_code == 404, method
            assert answer.content_type == "application/problem+json"
            assert answer.headers["X-Request-ID"]
