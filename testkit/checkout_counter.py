"""The application as gunicorn serves it, and one path that tells how often a connection was lent.

`gunicorn testkit.checkout_counter:app`: the path answers before Flask sees the request.
"""

from __future__ import annotations

from app import create_app

CHECKOUTS = "/checkouts-of-the-test"

app = create_app()
_inner = app.wsgi_app


def _counted(environ, start_response):
    if environ["PATH_INFO"] != CHECKOUTS:
        return _inner(environ, start_response)
    databases = app.extensions["databases"]
    managers = {databases.manager(name) for name in ("WWIF", "TAXI")}
    total = sum(manager.stats().checkouts_total for manager in managers)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(total).encode()]


app.wsgi_app = _counted
