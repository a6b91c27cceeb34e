"""With AUTH unset, or with a credential that browsers add by themselves, no page of another site
has this API do anything; a client that is no browser notices none of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security.test_start import EASYAUTH, PATH, application, principal

ORIGIN = "https://app.example.com"
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
FORM = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
IMAGE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
FRAME = {**FORM, "Sec-Fetch-Dest": "iframe"}
SIGNED_IN = {"X-MS-CLIENT-PRINCIPAL": principal(("sub", "8b1f"), ("roles", "read"), ("roles", "w"))}


def status(app, method: str = "GET", path: str = PATH, **options) -> int:
    answer = app.test_client().open(path, method=method, **options)
    if answer.status_code == 403:
        assert answer.content_type == "application/problem+json"
        assert answer.json["type"] == "urn:sql-procedures-api:forbidden"
        assert answer.json["detail"].endswith(".")
    return answer.status_code


OWN_NAMES = (
    *("localhost", "localhost:5000", "LOCALHOST:1", "localhost.:80", "api.localhost:5000"),
    *("127.0.0.1", "127.9.8.7:5000", "[::1]", "[::1]:5000", "[0:0:0:0:0:0:0:1]:80"),
)
OTHER_NAMES = (
    *("evil.example", "evil.example:5000", "localhost.evil.example", "127.0.0.1.evil.example"),
    *("evillocalhost", "0.0.0.0:5000", "[::]:5000", "[2001:db8::1]", "192.168.1.5", "", "a b"),
    *("localhost@evil.example", "localhost, evil.example", "localhost:5000:evil"),
    *("evil.example#localhost", "[::1"),
)


@pytest.mark.parametrize(
    ("host", "passes"),
    [*[(host, True) for host in OWN_NAMES], *[(host, False) for host in OTHER_NAMES]],
)
def test_only_loopback_names_are_accepted_as_host(host: str, passes: bool, tmp_path: Path):
    with application(tmp_path) as app:
        environ = {"HTTP_HOST": host}
        for method in ("GET", "DELETE"):
            assert status(app, method, environ_overrides=environ) == (404 if passes else 403)
        for path in ("/", "/docs", "/openapi.json"):
            assert status(app, path=path, environ_overrides=environ) == (200 if passes else 403)
        # Probes of orchestrators may send any Host.
        assert status(app, path="/health/live", environ_overrides=environ) == 200
    with application(tmp_path, AUTH="none") as app:
        assert status(app, environ_overrides=environ) == 404


def test_the_refusal_names_the_host_and_the_remedy(tmp_path: Path):
    with application(tmp_path) as app:
        answer = app.test_client().delete(PATH, headers={"Host": "evil.example:5000"})
    assert answer.json["detail"] == (
        "AUTH is not set, so only requests to a loopback name are accepted, but Host is"
        " 'evil.example:5000'. Use localhost or 127.0.0.1, or set AUTH."
    )


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, True),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": ORIGIN}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://localhost:3000"}, False),
        ({"Origin": "http://localhost.evil.example"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "anything"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False),
        (FORM, False),
    ],
)
def test_without_auth_a_page_of_another_site_can_change_nothing(headers, passes, tmp_path: Path):
    with application(tmp_path) as app:
        for method in UNSAFE:
            expected = status(app, method)  # of curl, which sends none of these headers
            assert expected != 403
            assert status(app, method, headers=headers) == (expected if passes else 403), method
    with application(tmp_path, AUTH="none") as app:
        assert status(app, "DELETE", headers=headers) == 404


@pytest.mark.parametrize(
    ("headers", "passes"),
    [(FORM, True), (IMAGE, False), (FRAME, False), ({"Origin": ORIGIN}, False)],
    ids=["a link", "an image", "a frame", "a script"],
)
def test_without_auth_another_site_can_only_link_to_a_read(headers, passes, tmp_path: Path):
    with application(tmp_path) as app:
        assert status(app, headers=headers) == (404 if passes else 403)
        assert status(app, path="/docs", headers=headers) == 200


def test_a_configured_origin_may_call(tmp_path: Path):
    sent = {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    with application(tmp_path, CORS_ORIGINS=f"http://localhost:3000,{ORIGIN}") as app:
        for headers in (sent, {"Origin": ORIGIN}):
            for method in ("GET", "DELETE"):
                answer = app.test_client().open(PATH, method=method, headers=headers)
                assert answer.status_code == 404
                assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        preflight = {**sent, "Access-Control-Request-Method": "DELETE"}
        assert status(app, "OPTIONS", headers=preflight) == 200
        assert status(app, "DELETE", headers={**sent, "Origin": "https://x.example"}) == 403
    # Every origin's scripts may read, but none may use the place on this machine.
    with application(tmp_path, CORS_ORIGINS="*") as app:
        assert status(app, "DELETE", headers=sent) == 403
        assert status(app, "DELETE", headers={**sent, "Origin": "*"}) == 403


def test_a_credential_attached_by_the_browser_does_not_serve_pages_of_other_sites(tmp_path: Path):
    here = {"HTTP_HOST": "api.example.com"}
    with application(tmp_path, **EASYAUTH, AUTH_ROLES="read:read,w:write") as app:

        def sent(method: str, **headers: str) -> int:
            return status(app, method, headers={**SIGNED_IN, **headers}, environ_overrides=here)

        assert sent("DELETE") == 404
        assert sent("DELETE", Origin="https://api.example.com") == 404
        assert sent("DELETE", **{"Sec-Fetch-Site": "same-origin"}) == 404
        assert sent("DELETE", Origin=ORIGIN) == 403
        assert sent("DELETE", Origin="null") == 403
        assert sent("DELETE", **{"Sec-Fetch-Site": "same-site"}) == 403
        # What a read answers, no other site's page sees.
        assert sent("GET", **IMAGE) == 404
    with application(tmp_path, **EASYAUTH, AUTH_ROLES="w:write", CORS_ORIGINS=ORIGIN) as app:
        assert sent("DELETE", Origin=ORIGIN) == 404


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"X-Forwarded-For": "127.0.0.1"}, True),
        ({"X-Forwarded-For": "127.0.0.1:5012, ::1, [::1]:80, ::ffff:127.0.0.2"}, True),
        ({"X-Real-IP": "::1"}, True),
        ({"Forwarded": 'for=127.0.0.1;proto=http, for="[::1]:4711"'}, True),
        ({"Via": "1.1 vite", "X-Forwarded-For": "127.0.0.1"}, True),
        ({"X-Forwarded-For": "203.0.113.5"}, False),
        ({"X-Forwarded-For": "203.0.113.5, 127.0.0.1"}, False),
        ({"X-Forwarded-For": "127.0.0.1, 203.0.113.5"}, False),
        ({"X-Forwarded-For": "a/b"}, False),
        ({"X-Forwarded-For": "/run/x.sock"}, False),
        ({"X-Forwarded-For": "localhost"}, False),
        ({"X-Forwarded-For": "unknown"}, False),
        ({"X-Forwarded-For": ""}, False),
        ({"X-Forwarded-For": "127.0.0.1,"}, False),
        ({"X-Real-IP": "203.0.113.5"}, False),
        ({"X-Real-IP": "203.0.113.5", "X-Forwarded-For": "127.0.0.1"}, False),
        ({"Forwarded": "for=203.0.113.5"}, False),
        ({"Forwarded": "for=127.0.0.1, FOR = 203.0.113.5;by=127.0.0.1"}, False),
        ({"Forwarded": 'for="[2001:db8::1]:4711"'}, False),
        ({"Forwarded": "for=_hidden"}, False),
        ({"Forwarded": "proto=https;host=api.example.com"}, False),
        ({"Via": "1.1 caddy"}, False),
    ],
)
def test_without_auth_remote_clients_of_a_local_proxy_are_refused(headers, passes, tmp_path: Path):
    with application(tmp_path) as app:
        assert status(app, headers=headers) == (404 if passes else 403)
        assert status(app, "DELETE", headers=headers) == (404 if passes else 403)
        assert status(app, path="/health/live", headers=headers) == 200
    with application(tmp_path, TRUSTED_PROXIES="1") as app:
        assert status(app, headers=headers) == (404 if passes else 403)
    with application(tmp_path, AUTH="none") as app:
        assert status(app, headers=headers) == 404
