"""The Flask application: for `flask run`, `gunicorn app:app`, or `create_app(settings)`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, cast
from urllib.parse import quote

import click
from flask import Flask, Request, Response, g, request
from flask.sessions import NullSession, SessionInterface
from flask.typing import ResponseReturnValue
from flask_restful import Api
from gunicorn.arbiter import Arbiter
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import MapAdapter, RequestRedirect
from werkzeug.wsgi import get_host

import cli
from authentication.exposure import is_local, refusal
from catalog import CatalogError
from database.connect.connection_string import ConnectionStringError
from database.connect.drivers import DriverMissing
from databases import Databases
from embedded.cluster import EmbeddedError
from observability import logs
from observability.logs import RequestLog
from observability.metrics import Metrics
from observability.observer import Observer, Subscriber
from observability.recent import Recent
from observability.request import request_record
from observability.tracing import Traces, TracingUnavailable, processor_to
from operations.catalog_routes import CatalogRoutes, Match
from operations.openapi import VERSION
from operations.python_routes import python_routes
from protocol import compression, cors, response_headers
from protocol.authorization import MCP, METADATA, Authentication
from protocol.key_cleaner import KeyCleaner
from protocol.limits import BodyTime, StreamLimit, limit_rate
from protocol.problems import problem_of
from protocol.request_deadline import deadline_of
from protocol.shared_reads import SharedReads
from resources.customer import Customer, Customers, NewCustomers
from resources.health import HealthLive, HealthReady, Readiness
from resources.metrics import MetricsExposition
from resources.pages import Asset, Docs, Landing, OpenApi
from resources.passenger import Passengers
from resources.procedures import Procedures
from resources.status import Status, StatusFigures
from resources.taxidata import TaxiData, TaxiDataAmount, TaxiDataSummary
from serving.announcement import announce
from serving.arrival import ARRIVED
from serving.refusals import is_worker, refuse
from settings import Settings, SettingsError, check_authentication, read_settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

# The endpoint of the routes that come from a catalog.
PROCEDURES = "procedures"
# Errors that stop the start with one sentence.
START_ERRORS = (
    SettingsError,
    CatalogError,
    ConnectionStringError,
    EmbeddedError,
    DriverMissing,
    TracingUnavailable,
)


class NoSessions(SessionInterface):
    """No request has a session, so all share one that can't be written."""

    session = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self.session


class Application(Flask):
    """Flask with a shorter path per request, and with routes from the catalog."""

    session_interface = NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        # No hook and no view of this application is a coroutine.
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None:
            return None  # SERVER_NAME is not used
        # get_host raises SecurityError for an invalid Host. No route depends on the host, so the
        # other checks of MapAdapter.bind are left out.
        request.host = get_host(request.environ)
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

    def dispatch_request(self) -> ResponseReturnValue:
        """Call the view of the request's route: a Python resource, else the catalog's view."""
        match: Match | None = g.get("match")
        if match is None:
            return super().dispatch_request()
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
            match = g.match = catalog.match_after_read(request.path, request.method)
            if match.route is not None:
                request_record(request.environ).route = match.route
            if isinstance(match.failure, NotFound):
                return super().dispatch_request()
            if request.method == "OPTIONS" and isinstance(match.failure, MethodNotAllowed):
                return Response(headers={"Allow": ", ".join(match.failure.valid_methods or ())})
            # Here, because a view has no method TRACE to raise it.
            if match.failure is not None:
                raise match.failure
        return cast(ResponseReturnValue, self.view_functions[PROCEDURES]())

    def raise_routing_exception(self, request: Request) -> NoReturn:
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


class ProblemApi(Api):
    """flask-restful with the application's own error responses."""

    def error_router(
        self, original_handler: Callable[[Exception], Response], e: Exception
    ) -> Response:
        # flask-restful would match the path again here, outside Flask's error handling.
        return original_handler(e)


def create_app(
    settings: Settings | None = None, *, span_processor: "SpanProcessor | None" = None
) -> Flask:
    """A new application; `settings` default to those of the environment.

    span_processor: an OpenTelemetry span processor that replaces the destination of TRACES_TO.
    Raises one of START_ERRORS, with one sentence.
    """
    settings = settings or read_settings()
    app = Application(__name__, static_folder=None, template_folder="resources/html")
    # A path with an empty segment matches no route; Werkzeug's redirect would be an HTML page.
    app.url_map.merge_slashes = False
    app.config.update(_flask_config(settings))
    observer = _observer(app, settings, span_processor)
    app.wsgi_app = observer.around(app.wsgi_app)  # type: ignore[assignment, method-assign]
    databases = Databases(settings, report=_report, observe=observer.observe)
    app.extensions["databases"] = databases
    app.extensions["readiness"] = Readiness(databases)
    app.extensions["metrics"].watch(databases.pools)
    app.extensions["recent"].start()
    app.extensions["key_cleaner"] = KeyCleaner(hours=settings.idempotency_key_hours)
    app.extensions["shared_reads"] = SharedReads(
        settings.local_dir / "shared-reads",
        ttl=settings.taxi_cache_seconds,
        observe=observer.observe,
    )
    app.extensions["authentication"] = Authentication(settings)
    app.extensions["body_time"] = BodyTime(settings.body_seconds)
    app.extensions["stream_limit"] = StreamLimit(settings.max_streams)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=hops, x_proto=hops
        )
    _before_each_request(app, settings)
    app.register_error_handler(Exception, lambda e: problem_of(e).response())
    # Flask runs these in reverse order: CORS first, the request's id last.
    response_headers.install(app)
    compression.install(app)
    cors.install(app, settings.cors_origins)
    cli.install(app)
    api = ProblemApi(app)
    if settings.serves_sample:
        _add_sample_routes(api)
    _add_routes(api)
    if settings.mcp:
        _add_mcp(api, settings)
    app.extensions["catalog"] = catalog = CatalogRoutes(taken=python_routes(app))
    if _serves_requests():
        _check_exposure(settings)
        if not any(map(databases.schemas_of, databases.names())):
            _check_routes(app, settings)
        databases.open()
        try:
            catalog.start(databases, seconds=settings.catalog_seconds)
            _check_routes(app, settings)
        except BaseException:
            close_app(app)
            raise
    return app


def _flask_config(settings: Settings) -> dict[str, Any]:
    return {
        "MAX_CONTENT_LENGTH": settings.max_request_bytes,
        "MAX_FORM_MEMORY_SIZE": settings.max_request_bytes,
        "MAX_STORED_RESPONSE_BYTES": settings.max_stored_response_bytes,
        "IDEMPOTENCY_KEY_SECONDS": settings.idempotency_key_hours * 3600,
        "PROCEDURE_MESSAGES": settings.procedure_messages,
        "REQUIRE_IF_MATCH": settings.require_if_match,
        "CSV_ESCAPES_FORMULAS": settings.csv_formulas == "escape",
        "REQUEST_DEADLINE_SECONDS": settings.request_deadline_seconds,
        "ROUTE_DEADLINES": settings.route_deadlines,
    }


def _before_each_request(app: Flask, settings: Settings) -> None:
    authentication = app.extensions["authentication"]

    @app.before_request
    def begin() -> None:
        # The object behind Flask's proxy, which would be resolved again at every use.
        current = request._get_current_object()  # type: ignore[attr-defined]
        record = request_record(current.environ)
        if current.url_rule is not None:
            record.route = current.url_rule.rule
        elif not isinstance(current.routing_exception, RequestRedirect):
            g.match = app.extensions["catalog"].match(current.path, current.method)
            record.route = g.match.route or record.route
        context, environ = g._get_current_object(), current.environ
        context.request_id = record.id
        context.deadline = deadline_of(record.route, environ, arrived=environ.get(ARRIVED))

    # The rate limit comes between the two, so that it counts callers, and refused requests too.
    app.before_request(authentication.identify)
    if settings.rate_limit:
        limit_rate(app, settings.rate_limit, settings.rate_limit_storage)
    app.before_request(authentication.authorize)


def close_app(app: Flask, *, timeout: float = 0.0) -> None:
    """Close the connections of `app`, the embedded default and its observers. Idempotent.

    timeout: seconds to wait for connections that are in use.
    """
    app.extensions["metrics"].sample()
    app.extensions["catalog"].close()
    app.extensions["databases"].close(timeout)
    app.extensions["observer"].close()


def _observer(app: Flask, settings: Settings, span_processor: "SpanProcessor | None") -> Observer:
    metrics = Metrics(version=VERSION)
    recent = Recent(metrics)
    log = RequestLog(slow_seconds=settings.slow_call_seconds)
    subscribers: list[Subscriber] = [metrics, log, recent]
    if settings.traces_to and span_processor is None:
        span_processor = processor_to(settings.traces_to)
    if span_processor is not None:
        # First, because it sets the request's trace id, which the log line contains.
        subscribers.insert(0, Traces(span_processor))
    observer = Observer(*subscribers, server_timing=settings.server_timing)
    app.extensions.update(observer=observer, metrics=metrics, recent=recent)
    return observer


def _add_sample_routes(api: Api) -> None:
    api.add_resource(Customer, "/customer/<int:customer_id>", endpoint="customer")
    api.add_resource(NewCustomers, "/customer", endpoint="new_customers")
    api.add_resource(Customers, "/customers", endpoint="customers")
    api.add_resource(TaxiData, "/taxidata", "/taxidataall", endpoint="taxidata")
    api.add_resource(TaxiDataSummary, "/taxidata/summary", endpoint="taxidata_summary")
    api.add_resource(
        TaxiDataAmount,
        *("/taxidata/<amount>", "/taxidataprice/<amount>", "/taxidateprice/<amount>"),
        endpoint="taxidata_amount",
    )
    api.add_resource(Passengers, "/passengers", endpoint="passengers")


def _add_routes(api: Api) -> None:
    api.add_resource(HealthLive, "/health/live", endpoint="health_live")
    api.add_resource(HealthReady, "/health/ready", endpoint="health_ready")
    api.add_resource(Landing, "/", endpoint="landing")
    api.add_resource(OpenApi, "/openapi.json", endpoint="openapi")
    api.add_resource(Docs, "/docs", endpoint="docs")
    api.add_resource(Asset, "/assets/<name>", endpoint="asset")
    api.add_resource(MetricsExposition, "/metrics", endpoint="metrics")
    api.add_resource(Status, "/status", endpoint="status")
    api.add_resource(StatusFigures, "/status.json", endpoint="status_figures")
    # A view without a URL rule: dispatch_request calls it for paths that match no rule.
    api.app.view_functions[PROCEDURES] = api.output(Procedures.as_view(PROCEDURES))


def _add_mcp(api: Api, settings: Settings) -> None:
    # Imported here, because its types take longer to import than Flask.
    from operations.tools import LiveTools
    from resources.mcp import Mcp
    from resources.mcp_metadata import McpMetadata

    api.app.config["MCP_RESULT_BYTES"] = settings.mcp_result_bytes
    api.app.config["MCP_TTL_MS"] = int(1000 * settings.catalog_seconds)
    api.app.extensions["tools"] = LiveTools(api.app)
    api.add_resource(Mcp, MCP, endpoint="mcp")
    if "oidc" in (settings.auth or ()):
        document = {
            "authorization_servers": [settings.oidc_issuer],
            "bearer_methods_supported": ["header"],
            **({"scopes_supported": list(settings.oidc_scopes)} if settings.oidc_scopes else {}),
        }
        api.add_resource(
            McpMetadata,
            *(METADATA, METADATA + MCP),
            endpoint="mcp_metadata",
            resource_class_kwargs={"document": document},
        )


def _check_routes(app: Flask, settings: Settings) -> None:
    catalog = app.extensions["catalog"]
    if catalog.live.unread:
        return  # a route may belong to a catalog that could not be read yet
    routes = sorted({rule.rule for rule in app.url_map.iter_rules()} | catalog.routes)
    for route in settings.route_deadlines:
        if route not in routes:
            raise SettingsError(
                f"ROUTE_DEADLINES names {route}, which is not a route: use {', '.join(routes)}."
            )


def _check_exposure(settings: Settings) -> None:
    """Raises SettingsError if AUTH is incomplete, or not set for a server beyond this machine.

    gunicorn.conf.py does the same for gunicorn's addresses.
    """
    check_authentication(settings)
    command = click.get_current_context(silent=True)
    host = command.params.get("host") if command is not None else None
    if settings.auth is None and host is not None and not is_local(host):
        raise SettingsError(refusal(host))


def _serves_requests() -> bool:
    """Whether this process serves requests; other `flask` commands open no database."""
    command = click.get_current_context(silent=True)
    return command is None or command.info_name == "run"


def _report(sentence: str) -> None:
    click.echo(sentence, err=True)


def __getattr__(name: str) -> Flask:
    # Made at the first access, so that importing create_app starts no database.
    if name == "app":
        globals()["app"] = app = _app_to_serve()
        return app
    raise AttributeError(name)


def _app_to_serve() -> Flask:
    try:
        settings = read_settings()
        logs.configure(settings.log_format)
        if _serves_requests() and not is_worker():
            announce(settings)
        return create_app(settings)
    except START_ERRORS as error:
        if not cli.requires_settings():
            app = Flask(__name__)
            app.extensions["start_error"] = str(error)  # for `flask doctor`
            cli.install(app)
            return app
        refuse(str(error))
        # With any other exit status gunicorn would restart the worker forever.
        raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from None
