"""Server-Timing is on the responses to requests that prefer it."""

import re

import pytest

FORM = re.compile(r"wait;dur=(\d+\.\d\d), db;dur=(\d+\.\d\d), total;dur=(\d+\.\d\d)")


@pytest.mark.parametrize(
    ("setting", "prefer", "told"),
    [
        ("asked", None, False),
        ("asked", "server-timing", True),
        ("asked", "respond-async, server-timing", True),
        ("always", None, True),
        ("never", "server-timing", False),
    ],
)
def test_the_setting_decides_which_responses_have_it(make_app, setting, prefer, told):
    headers = {"Prefer": prefer} if prefer else {}
    client = make_app(SERVER_TIMING=setting).test_client()
    assert ("Server-Timing" in client.get("/health/live", headers=headers).headers) is told


def test_its_parts_add_up(make_app):
    response = make_app(SERVER_TIMING="always").test_client().get("/customer/123")
    wait, db, total = map(float, FORM.fullmatch(response.headers["Server-Timing"]).groups())
    assert db > 0
    assert wait + db <= total
