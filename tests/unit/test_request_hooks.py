"""gunicorn's request hooks and access log get each request if they are configured."""

from __future__ import annotations

import runpy
import socket
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.message import Request

from serving.connections import Connection
from serving.exchange import Exchange
from serving.settled_config import SettledConfig

ROOT = Path(__file__).resolve().parents[2]
REQUEST = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


def config(**settings: Any) -> SettledConfig:
    made = Config()
    for name, value in settings.items():
        made.set(name, value)
    return SettledConfig(made)


def test_the_products_own_settings_watch_no_request():
    file = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    known = Config().settings
    assert not config(**{name: file[name] for name in file if name in known}).watched


@pytest.mark.parametrize(
    "settings",
    [
        {"accesslog": "-"},
        {"loglevel": "DEBUG"},  # gunicorn's own pre_request logs then
        {"pre_request": lambda worker, request: None},
        {"post_request": lambda worker, request: None},
        {"statsd_host": "localhost:1"},
        {"logconfig": "any.ini"},
        {"logconfig_dict": {"version": 1}},
        {"syslog": True},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_hooks_and_logs_watch_all_requests(settings: dict[str, Any]):
    assert config(**settings).watched


def test_a_watched_request_is_given_to_hooks_and_log_in_turn():
    calls: list[tuple[str, Any]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        calls.append(("application", environ["PATH_INFO"]))
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    def logged(response: Any, request: Any, environ: Any, taken: timedelta) -> None:
        assert taken >= timedelta(0)
        calls.append(("log", (response.status, response.sent, response.headers)))

    def before(worker: Any, request: Any) -> None:
        assert isinstance(request, Request)
        calls.append(("before", request.path))

    def after(worker: Any, request: Any, environ: Any, response: Any) -> None:
        calls.append(("after", response.status))

    worker: Any = SimpleNamespace(
        cfg=config(pre_request=before, post_request=after),
        log=SimpleNamespace(access=logged),
        wsgi=application,
        stops_after=lambda request: False,
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client = Connection(ours, ("127.0.0.1", 5), ("127.0.0.1", 80), longest_head=1000)
        for _ in range(2):
            theirs.sendall(REQUEST)
            client.receive()
            client.stage()
            assert Exchange(
                worker, client, stall_seconds=1, body_seconds=1, may_keep=lambda _: True
            ).run()
    assert calls == 2 * [
        ("before", "/a"),
        ("application", "/a"),
        ("log", ("200 OK", 2, [("Content-Length", "2")])),
        ("after", "200 OK"),
    ]
