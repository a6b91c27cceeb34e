"""CORS_ORIGINS allows exactly the origins that it names, and no similar ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from settings import SettingsError, read_settings
from tests.security.test_start import application

PATH = "/health/live"


def allowed(folder: Path, setting: str, origin: str) -> str | None:
    with application(folder, CORS_ORIGINS=setting, AUTH="none") as app:
        answer = app.test_client().get(PATH, headers={"Origin": origin})
        assert answer.status_code == 200
        return answer.headers.get("Access-Control-Allow-Origin")


@pytest.mark.parametrize(
    ("setting", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("https://App.Example.com:443", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[0:0::1]:80", "http://[::1]"),
        ("https://[2001:db8::5]", "https://[2001:db8::5]"),
        ("https://a.example, http://[::1]:1", "https://a.example"),
        ("https://a.example, http://[::1]:1", "http://[::1]:1"),
        ("*", "https://anything.example"),
    ],
)
def test_a_configured_origin_is_allowed(setting: str, origin: str, tmp_path: Path):
    assert allowed(tmp_path, setting, origin) == origin


@pytest.mark.parametrize(
    ("setting", "origin"),
    [
        ("https://app.example.com", "https://appxexample.com"),
        ("https://app.example.com", "https://app.example.com.evil.net"),
        ("https://app.example.com", "http://app.example.com"),
        ("https://app.example.com", "https://app.example.com:8443"),
        ("https://app.example.com", "null"),
        ("http://[::1]:3000", "http://[::1]:3000.evil.net"),
        ("http://[::1]:3000", "http://1:3000"),
        ("http://[::1]:3000", "http://[::1]:30001"),
        ("http://[::1]", "http://:"),
    ],
)
def test_a_similar_origin_is_not_allowed(setting: str, origin: str, tmp_path: Path):
    # With one allowed origin, Flask-Cors sends it in every response; the browser compares.
    assert allowed(tmp_path, setting, origin) != origin


@pytest.mark.parametrize(
    "setting",
    [
        *("https://*.example.com", "https://*", "*.example.com", "https://a.example/*"),
        *("https://a.example/", "https://a.example/path", "https://a.example?", "a.example"),
        *("ftp://a.example", "https://", "https://a.example:x", "https://a.example:99999"),
        *("https://user@a.example", "https://a.example:", "https://[::g]", "https://a b"),
        *("https://[app].example", "https://(a|b).example", "https://a.example$", "null"),
        "https://good.example, https://*.example.com",
    ],
)
def test_an_invalid_origin_stops_the_start_with_its_text(setting: str):
    with pytest.raises(SettingsError) as raised:
        read_settings({"CORS_ORIGINS": setting})
    sentence = str(raised.value)
    assert sentence.startswith(f"CORS_ORIGINS={setting} is wrong: it must be a list of origins")
    assert repr(setting.rpartition(", ")[2]) in sentence
    assert "\n" not in sentence
