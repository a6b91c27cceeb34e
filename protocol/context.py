"""Flask's request and contexts, without the work that most requests do not need.

Flask parses the whole environment, makes a URL adapter and sends a signal at each step of every
request. Here a part is made when it is first used, and a signal is sent if something receives it.

`flask.request`, `flask.g` and `flask.current_app` work as everywhere. Each use of them costs some
five function calls, so code that runs in every request calls app_context() or request_context().
"""

import functools
import sys
from collections.abc import Callable
from typing import Any, cast

import flask
from flask import ctx, signals
from flask.globals import _cv_app, _cv_request
from flask.sessions import NullSession, SessionInterface
from werkzeug.datastructures import EnvironHeaders, Headers
from werkzeug.routing import MapAdapter

from authentication.principal import Caller
from database.deadline import Deadline

# The contexts of this thread. Both raise LookupError where there is none.
app_context = cast("Callable[[], AppContext]", _cv_app.get)
request_context = cast("Callable[[], RequestContext]", _cv_request.get)


class Request(flask.Request):
    """Flask's request, whose parts are read from the environment when they are first used."""

    def __init__(
        self, environ: dict[str, Any], populate_request: bool = True, shallow: bool = False
    ) -> None:
        self.environ = environ
        self.shallow = shallow
        self.method = environ.get("REQUEST_METHOD", "GET").upper()
        self.path = "/" + _decoded(environ.get("PATH_INFO") or "").lstrip("/")
        if populate_request and not shallow:
            environ["werkzeug.request"] = self

    @functools.cached_property
    def scheme(self) -> str:  # type: ignore[override]
        return cast(str, self.environ.get("wsgi.url_scheme", "http"))

    @functools.cached_property
    def server(self) -> tuple[str, int | None] | None:  # type: ignore[override]
        name, port = self.environ.get("SERVER_NAME"), str(self.environ.get("SERVER_PORT"))
        # A Unix socket has no port.
        return None if name is None else (name, int(port) if port.isdecimal() else None)

    @functools.cached_property
    def root_path(self) -> str:  # type: ignore[override]
        return _decoded(self.environ.get("SCRIPT_NAME") or "").rstrip("/")

    @functools.cached_property
    def query_string(self) -> bytes:  # type: ignore[override]
        return cast(str, self.environ.get("QUERY_STRING", "")).encode("latin-1")

    @functools.cached_property
    def headers(self) -> Headers:  # type: ignore[override]
        return EnvironHeaders(self.environ)

    @functools.cached_property
    def remote_addr(self) -> str | None:  # type: ignore[override]
        return self.environ.get("REMOTE_ADDR")

    def close(self) -> None:
        if "files" in self.__dict__:
            super().close()


def _decoded(text: str) -> str:
    """A text of the WSGI environment, which has a character for each byte, as UTF-8."""
    return text if text.isascii() else text.encode("latin-1").decode(errors="replace")


class Globals(ctx._AppCtxGlobals):
    """`flask.g`, with defaults for what the hooks before a request set."""

    # Flask has its own, in Python, for type checkers only.
    __setattr__ = object.__setattr__  # type: ignore[assignment]

    request_id: str
    deadline: Deadline
    consistency_token: str
    caller: Caller | None = None
    refused: Exception | None = None
    sent_by_browser = False
    match: Any = None  # of operations.catalog_routes


class NoSessions(SessionInterface):
    """No request has a session, so all share one that can't be written."""

    session = NullSession()

    def open_session(self, app: flask.Flask, request: flask.Request) -> NullSession:
        return self.session


class AppContext(ctx.AppContext):
    """Flask's, without a URL adapter: SERVER_NAME is not used."""

    url_adapter = None
    g: Globals

    def __init__(self, app: flask.Flask) -> None:
        self.app = app
        self.g = app.app_ctx_globals_class()  # type: ignore[assignment]
        self._cv_tokens = []

    def push(self) -> None:
        if signals.appcontext_pushed.receivers:
            super().push()
        else:
            self._cv_tokens.append(_cv_app.set(self))

    def pop(self, exc: BaseException | None = ctx._sentinel) -> None:  # type: ignore[assignment]
        tokens, app = self._cv_tokens, self.app
        observed = (
            app.teardown_appcontext_funcs
            or signals.appcontext_tearing_down.receivers
            or signals.appcontext_popped.receivers
        )
        if observed or _cv_app.get() is not self:
            super().pop(exc)
        else:
            _cv_app.reset(tokens.pop())


class RequestContext(ctx.RequestContext):
    """Flask's, which the application matches, and whose URL adapter is made if it is used."""

    g: Globals

    def __init__(
        self,
        app: Any,
        environ: dict[str, Any],
        request: flask.Request | None = None,
        session: Any = None,
    ) -> None:
        self.app = app
        if request is None:
            request = app.request_class(environ)
            request.json_module = app.json
        self.request = request
        self.flashes = None
        self._session = session
        self._after_request_functions = []
        self._cv_tokens = []

    @functools.cached_property
    def url_adapter(self) -> MapAdapter | None:  # type: ignore[override]
        return self.app.create_url_adapter(self.request)

    def push(self) -> None:
        app: Any = self.app
        current: Any = _cv_app.get(None)
        made = None
        if current is None or current.app is not app:
            current = made = AppContext(app)
            made.push()
        self.g = current.g
        self._cv_tokens.append((_cv_request.set(self), made))
        if self._session is None:
            interface = app.session_interface
            if type(interface) is NoSessions:
                self._session = interface.session
            else:
                self._session = interface.open_session(app, self.request)
                if self._session is None:
                    self._session = interface.make_null_session(app)
        if len(self._cv_tokens) == 1:  # stream_with_context() pushes it again
            app.match_request(self)

    def pop(self, exc: BaseException | None = ctx._sentinel) -> None:  # type: ignore[assignment]
        tokens, app = self._cv_tokens, self.app
        observed = app.teardown_request_funcs or signals.request_tearing_down.receivers
        if observed or len(tokens) != 1 or _cv_request.get() is not self:
            super().pop(exc)
            return
        if exc is ctx._sentinel:
            exc = sys.exc_info()[1]
        token, made = tokens.pop()
        try:
            self.request.close()
        finally:
            _cv_request.reset(token)
            # Without this cycle no garbage collection is needed.
            self.request.environ["werkzeug.request"] = None
            if made is not None:
                made.pop(exc)
