"""The Flask application: what a request passes between the server and its resource.

Each method overrides one of Flask's that does the same for any application. Here our own steps are
called directly, in a fixed order. Hooks that extensions and your code register run as everywhere:
those before a request after our steps, those after it before our steps.
"""

import functools
from collections.abc import Callable
from typing import Any, NoReturn, cast
from urllib.parse import quote

import flask
from flask import signals
from flask.typing import ResponseReturnValue
from flask_restful import Api, Resource
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import MapAdapter, RequestRedirect
from werkzeug.wrappers import Response as AnyResponse

from observability.request import request_record
from operations.catalog_routes import PROCEDURES, CatalogRoutes, Match
from operations.route_map import RouteMap
from protocol.authorization import Authentication
from protocol.compression import Compression
from protocol.context import (
    AppContext,
    Globals,
    NoSessions,
    Request,
    RequestContext,
    request_context,
)
from protocol.request_deadline import deadline_of
from protocol.response import Response
from protocol.response_headers import add_headers
from serving.arrival import ARRIVED

METHOD_NAMES = {
    "HEAD": "get",
    **{method: method.lower() for method in ("GET", "POST", "PUT", "PATCH", "DELETE")},
}


class Application(flask.Flask):
    """Flask with a shorter path per request, and with routes from the catalog.

    authentication, compression: set by create_app(). count_rate: the check of RATE_LIMIT, which
    raises for a client that exceeds it.
    """

    request_class = Request
    response_class = Response
    session_interface = NoSessions()
    app_ctx_globals_class = Globals
    url_map: RouteMap
    url_map_class = RouteMap
    authentication: Authentication
    compression: Compression
    count_rate: Callable[[], None] | None = None

    def app_context(self) -> AppContext:
        return AppContext(self)

    def request_context(self, environ: dict[str, Any]) -> RequestContext:
        return RequestContext(self, environ)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        # No hook and no view of this application is a coroutine.
        return func

    def match_request(self, context: RequestContext) -> None:
        """Find the Python resource of the request's path and method, else the catalog's operation.

        Werkzeug judges every path that neither of the two finds.
        """
        request, routes = context.request, self.url_map
        path, method = request.path, request.method
        context.g.match = None
        found = routes.find(path, method)
        if found is not None:
            request.url_rule, request.view_args = found
            return
        catalog: CatalogRoutes = self.extensions["catalog"]
        if routes.lacks(path):
            context.g.match = catalog.find(path, method)
            if context.g.match is not None:
                return
        context.match_request()
        if request.url_rule is None and not isinstance(request.routing_exception, RequestRedirect):
            context.g.match = catalog.match(path, method)

    def create_url_adapter(self, request: flask.Request | None) -> MapAdapter | None:
        if request is None:
            return None  # SERVER_NAME is not used
        # No route depends on the host, so the checks of MapAdapter.bind are left out.
        return MapAdapter(
            self.url_map,
            server_name=request.host,
            script_name=request.root_path,
            subdomain="",
            url_scheme=request.scheme,
            path_info=request.path,
            default_method=request.method,
            query_args=request.query_string.decode("latin-1"),
        )

    def full_dispatch_request(self) -> flask.Response:
        self._got_first_request = True
        answer: Any
        try:
            if signals.request_started.receivers:
                signals.request_started.send(self)
            answer = self.preprocess_request()
            if answer is None:
                answer = self.dispatch_request()
        except Exception as error:
            answer = self.handle_user_exception(error)
        if type(answer) is not Response or signals.request_finished.receivers:
            return self.finalize_request(answer)
        return self.process_response(answer)

    def preprocess_request(self) -> ResponseReturnValue | None:
        """Begin the record and the deadline, identify the caller, count the rate, authorize."""
        context = request_context()
        begin(context)
        self.authentication.identify(context)
        # Here, so that the rate limit counts callers, and refused requests too.
        if self.count_rate is not None:
            self.count_rate()
        self.authentication.authorize(context)
        if self.before_request_funcs or self.url_value_preprocessors:
            return super().preprocess_request()
        return None

    def dispatch_request(self) -> ResponseReturnValue:
        """Call the view of the request's route: a Python resource, else the catalog's view."""
        context = request_context()
        request = context.request
        match: Match | None = context.g.match
        if match is None:
            rule = request.url_rule
            if rule is None or request.method == "OPTIONS":
                return super().dispatch_request()
            return self.view_functions[rule.endpoint](**request.view_args)  # type: ignore # no coroutine
        catalog: CatalogRoutes = self.extensions["catalog"]
        if match.operation is not None:
            catalog.live.touch()
        else:
            known_path = isinstance(request.routing_exception, MethodNotAllowed)
            # No route of a catalog has an empty segment.
            path = request.environ["PATH_INFO"]
            no_route = path.endswith("/") or "//" in path
            if known_path or no_route:
                return super().dispatch_request()
            # Only now is the caller authorized to make the server read a catalog, and to wait.
            match = context.g.match = catalog.match_after_read(request.path, request.method)
            if match.route is not None:
                request_record(request.environ).route = match.route
            if isinstance(match.failure, NotFound):
                return super().dispatch_request()
            if request.method == "OPTIONS" and isinstance(match.failure, MethodNotAllowed):
                return Response(headers={"Allow": ", ".join(match.failure.valid_methods or ())})
            # Here, because a view has no method TRACE to raise it.
            if match.failure is not None:
                raise match.failure
        return self.view_functions[PROCEDURES]()  # type: ignore[return-value] # no coroutine

    def raise_routing_exception(self, request: flask.Request) -> NoReturn:
        """Redirect (308) a path that would match a route without its trailing slashes."""
        path = request.path.rstrip("/")
        # The path before decoding: %2F is part of a value, not a slash at the end.
        sent = request.environ.get("RAW_URI", request.path).partition("?")[0]
        slashes = isinstance(request.routing_exception, NotFound) and sent.endswith("/")
        adapter = self.create_url_adapter(request) if slashes else None
        if adapter is not None and adapter.test(path):
            query = request.query_string.decode("latin-1")
            raise RequestRedirect(quote(request.root_path + path) + (query and f"?{query}"))
        super().raise_routing_exception(request)

    def process_response(self, response: Any) -> flask.Response:
        """Run the hooks, compress, and add the headers that every response has."""
        context = request_context()
        if (
            context._after_request_functions
            or self.after_request_funcs
            or context._session is not NoSessions.session
        ):
            response = super().process_response(response)
        if "HTTP_ACCEPT_ENCODING" in context.request.environ:
            response = self.compression.after_request(response)
        # A hook may have returned a response of another class.
        if type(response) is not Response:
            Response.force_type(response)
        add_headers(response, context.g.request_id, context.request.method)
        made: Response = response
        return made


class ProblemApi(Api):
    """flask-restful with the application's own error responses, and with shorter views."""

    def error_router(
        self, original_handler: Callable[[Exception], flask.Response], e: Exception
    ) -> flask.Response:
        # flask-restful would match the path again here, outside Flask's error handling.
        return original_handler(e)

    def output(self, resource: Callable[..., Any]) -> Callable[..., Any]:
        """The view of a resource class: one call, where Flask and flask-restful make four."""
        view_class = getattr(resource, "view_class", None)
        if view_class is None or not _is_plain(view_class):
            return cast("Callable[..., Any]", super().output(resource))
        # Makes a response of any other answer than a response.
        responded = super().output(lambda answer: answer)

        @functools.wraps(resource)
        def view(**values: Any) -> Any:
            made = view_class()
            name = METHOD_NAMES.get(request_context().request.method)
            method = getattr(made, name, None) if name is not None else None
            if method is None:
                return made.dispatch_request(**values)
            answer = method(**values)
            if type(answer) is Response or isinstance(answer, AnyResponse):
                return answer
            return responded(answer)

        return view


def _is_plain(view_class: Any) -> bool:
    """Whether a resource leaves construction and dispatch to flask-restful, without decorators."""
    return (
        issubclass(view_class, Resource)
        and view_class.__init__ is object.__init__
        and view_class.dispatch_request is Resource.dispatch_request
        and not (view_class.decorators or view_class.method_decorators)
        and not view_class.representations
        and view_class.init_every_request
        and not hasattr(view_class, "head")
    )


def begin(context: RequestContext) -> None:
    """Name the request's route in its record, and set g.request_id and g.deadline."""
    request, own = context.request, context.g
    environ = request.environ
    record = request_record(environ)
    if request.url_rule is not None:
        record.route = request.url_rule.rule
    elif own.match is not None:
        record.route = own.match.route or record.route
    own.request_id = record.id
    own.deadline = deadline_of(
        context.app.config, record.route, environ, arrived=environ.get(ARRIVED)
    )
