"""Without AUTH, the short check of an ordinary request agrees with the checks that it replaces."""

import itertools

import pytest

from protocol import authorization
from protocol.problems import Problem
from testkit.routes import application

CHOICES = {
    "REMOTE_ADDR": (None, "", "127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "odd"),
    "HTTP_HOST": (None, "", "localhost", "127.0.0.1:8000", "[::1]:80", "a.localhost.", "evil.test"),
}
HEADERS = (
    *({}, {"HTTP_X_FORWARDED_FOR": "127.0.0.1"}, {"HTTP_X_FORWARDED_FOR": "10.0.0.1"}),
    *({"HTTP_X_REAL_IP": "::1"}, {"HTTP_FORWARDED": "for=10.0.0.1"}, {"HTTP_VIA": "1.1 a"}),
    *({"HTTP_ORIGIN": "http://evil.test"}, {"HTTP_ORIGIN": ""}, {"HTTP_SEC_FETCH_SITE": "none"}),
    *({"HTTP_SEC_FETCH_SITE": "cross-site"}, {"HTTP_SEC_FETCH_MODE": "navigate"}),
    {
        "HTTP_SEC_FETCH_SITE": "cross-site",
        "HTTP_SEC_FETCH_MODE": "navigate",
        "HTTP_SEC_FETCH_DEST": "document",
    },
)
ROUTES = ("/health/live", "/docs", "/customer/5", "/metrics", "/nowhere", "/mcp")
METHODS = ("GET", "POST", "OPTIONS")


def judged(app, environ):
    with app.request_context(dict(environ)) as context:
        app.authentication.identify(context)
        try:
            app.authentication.authorize(context)
        except Problem as problem:
            return problem.detail
        return None


def test_the_short_check_agrees_with_all_checks(tmp_path, monkeypatch):
    with application(tmp_path) as app:
        app.extensions["catalog"].close()
        requests = []
        for path, method in itertools.product(ROUTES, METHODS):
            environ = app.test_request_context(path, method=method).request.environ
            for chosen in itertools.product(*CHOICES.values(), HEADERS):
                made = environ | dict(zip(CHOICES, chosen[:-1], strict=True)) | chosen[-1]
                requests.append({name: value for name, value in made.items() if value is not None})
        short = [judged(app, environ) for environ in requests]
        # Every request has a method, so that none is ordinary.
        monkeypatch.setattr(authorization, "FOREIGN", {"REQUEST_METHOD"})
        assert short == [judged(app, environ) for environ in requests]
        assert 0 < short.count(None) < len(short)


@pytest.mark.parametrize("path", ["/customer/5", "/health/live"])
def test_an_ordinary_request_needs_no_further_check(tmp_path, monkeypatch, path):
    with application(tmp_path) as app:
        monkeypatch.setattr(authorization, "RequestHeaders", None)
        with app.test_request_context(path, environ_base={"REMOTE_ADDR": "127.0.0.1"}) as context:
            app.authentication.authorize(context)
