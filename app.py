"""The application: `flask run`, `gunicorn app:app`, or `create_app(settings)` for one's own."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote

import click
from flask import Flask, Request, Response, g, request
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
from database.dialects import DriverMissing
from databases import Databases
from embedded.cluster import EmbeddedError
from observability import logs
from observability.logs import RequestLog
from observability.metrics import Metrics
from observability.observer import Observer
from observability.request import request_record
from observability.tracing import Traces, TracingUnavailable, processor_to
from operations.catalog_routes import CatalogRoutes, Match
from operations.openapi import VERSION
from operations.python_routes import python_routes
from protocol import delivery
from protocol.authorization import Authentication
from protocol.key_cleaner import KeyCleaner
from protocol.limits import BodyTime, StreamLimit, limit_rate
from protocol.problems import problem_of
from protocol.request_deadline import request_deadline
from protocol.shared_reads import SharedReads
from resources.customer import Customer, Customers, NewCustomers
from resources.health import HealthLive, HealthReady, Readiness
from resources.metrics import MetricsExposition
from resources.pages import Asset, Docs, Landing, OpenApi
from resources.passenger import Passengers
from resources.procedures import Procedures
from resources.taxidata import TaxiData, TaxiDataAmount, TaxiDataSummary
from serving.announcement import announce
from serving.arrival import ARRIVED
from serving.refusals import is_worker, refuse
from settings import (
    Settings,
    SettingsError,
    check_authentication,
    read_settings,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

# The endpoint of every route that comes from a catalog.
PROCEDURES = "procedures"
CANNOT_START = (
    *(SettingsError, CatalogError, ConnectionStringError, EmbeddedError, DriverMissing),
    *(TracingUnavailable,),
)


class Application(Flask):
    """Flask without what costs each request time and serves none of ours."""

    def ensure_sync(self, func: Callable) -> Callable:
        # No hook and no view of ours is a coroutine.
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None:
            return super().create_url_adapter(request)
        # Raises SecurityError for a Host that is none. No route depends on a host, so that the
        # rest of what binding looks at is left out.
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
        """The view of the request's route; where no Python resource has it, the catalog's."""
        match: Match | None = g.get("match")
        if match is None:
            return super().dispatch_request()
        if match.operation is None:
            known_path = isinstance(request.routing_exception, MethodNotAllowed)
            # No route of a catalog has an empty segment.
            path = request.environ["PATH_INFO"]
            no_route = path.endswith("/") or "//" in path
            if known_path or no_route or isinstance(match.failure, NotFound):
                return super().dispatch_request()
            if request.method == "OPTIONS" and isinstance(match.failure, MethodNotAllowed):
                return Response(headers={"Allow": ", ".join(match.failure.valid_methods or ())})
        return self.view_functions[PROCEDURES]()

    def raise_routing_exception(self, request: Request) -> NoReturn:
        """Redirects a path that is a route's but for the slashes at its end (308)."""
        path = request.path.rstrip("/")
        # As it was sent: %2F is part of a value, not the end of a path.
        sent = request.environ.get("RAW_URI", request.path).partition("?")[0]
        slashes = isinstance(request.routing_exception, NotFound) and sent.endswith("/")
        if slashes and self.create_url_adapter(request).test(path):
            query = request.query_string.decode("latin-1")
            raise RequestRedirect(quote(request.root_path + path) + (query and f"?{query}"))
        super().raise_routing_exception(request)


class ProblemApi(Api):
    """flask-restful, whose errors are the application's own problems."""

    def error_router(self, original_handler: Callable, e: Exception) -> Response:
        # flask-restful matches the path again here, outside of Flask's error handling.
        return original_handler(e)


def create_app(
    settings: Settings | None = None, *, span_processor: "SpanProcessor | None" = None
) -> Flask:
    """A new application. Without `settings` they are read from the environment.

    span_processor: of OpenTelemetry, gets the spans in place of what TRACES_TO names.
    Raises SettingsError, EmbeddedError, DriverMissing or TracingUnavailable, each with one
    sentence.
    """
    settings = settings or read_settings()
    app = Application(__name__, static_folder=None, template_folder="resources/html")
    # A path with an empty segment is no route: a redirect would be HTML, outside the problems.
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = settings.max_request_bytes
    app.config["MAX_STORED_RESPONSE"] = settings.max_stored_response_bytes
    app.config["REQUIRE_IF_MATCH"] = settings.require_if_match
    app.config["CSV_ESCAPES_FORMULAS"] = settings.csv_formulas == "escape"
    observer = _observer(app, settings, span_processor)
    app.wsgi_app = observer.around(app.wsgi_app)
    databases = Databases(settings, report=_say, observe=observer.observe)
    app.extensions["databases"] = databases
    app.extensions["readiness"] = Readiness(databases)
    app.extensions["metrics"].watch(databases.pools)
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
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)
    _before_each_request(app, settings)
    app.register_error_handler(Exception, lambda e: problem_of(e).response())
    delivery.install(app, cors_origins=settings.cors_origins)
    _add_commands(app)
    api = ProblemApi(app)
    if settings.serves_sample:
        _add_sample_routes(api)
    _add_routes(api)
    app.extensions["catalog"] = catalog = CatalogRoutes(taken=python_routes(app))
    if _serves():
        _refuse_strangers(settings)
        if not any(map(databases.schemas_of, databases.names())):
            _check_routes(app, settings)
        databases.open()
        catalog.start(databases, seconds=settings.catalog_seconds)
        _check_routes(app, settings)
    return app


def _before_each_request(app: Flask, settings: Settings) -> None:
    authentication = app.extensions["authentication"]

    @app.before_request
    def begin() -> None:
        asked = request._get_current_object()  # once: each use of a proxy looks for it anew
        seen = request_record(asked.environ)
        if asked.url_rule is not None:
            seen.route = asked.url_rule.rule
        elif not isinstance(asked.routing_exception, RequestRedirect):
            g.match = app.extensions["catalog"].match(asked.path, asked.method)
            seen.route = g.match.route
        g.request_id = seen.id
        arrived = asked.environ.get(ARRIVED)
        g.deadline = request_deadline(
            settings.route_deadlines.get(seen.route, settings.request_deadline_seconds),
            asked.environ.get("HTTP_REQUEST_TIMEOUT"),
            waited=time.monotonic() - arrived if arrived is not None else 0.0,
        )

    # In this order: who asks is counted, whether it is let in or not.
    app.before_request(authentication.identify)
    if settings.rate_limit:
        limit_rate(app, settings.rate_limit)
    app.before_request(authentication.admit)


def close_app(app: Flask, *, timeout: float = 0.0) -> None:
    """Give back what `app` holds: connections, waiting up to `timeout` seconds for those that are
    out, the embedded default, and observations not sent on yet. Safe to call twice.
    """
    app.extensions["metrics"].sample()
    app.extensions["catalog"].close()
    app.extensions["databases"].close(timeout)
    app.extensions["observer"].close()


def _observer(app: Flask, settings: Settings, span_processor: "SpanProcessor | None") -> Observer:
    metrics = Metrics(version=VERSION)
    subscribers = [metrics, RequestLog(slow_seconds=settings.slow_call_seconds)]
    if settings.traces_to and span_processor is None:
        span_processor = processor_to(settings.traces_to)
    if span_processor is not None:
        # First, for it gives the request the trace that the log line names.
        subscribers.insert(0, Traces(span_processor))
    observer = Observer(*subscribers, server_timing=settings.server_timing)
    app.extensions.update(observer=observer, metrics=metrics)
    return observer


def _add_commands(app: Flask) -> None:
    app.cli.add_command(cli.sql_commands)
    app.cli.add_command(cli.taxi_commands)
    app.cli.add_command(cli.token_command)
    app.cli.add_command(cli.auth_commands)
    app.cli.add_command(cli.openapi_command)
    app.cli.add_command(cli.procedures_command)


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
    # Without a rule: it serves the paths that no rule has.
    api.app.view_functions[PROCEDURES] = api.output(Procedures.as_view(PROCEDURES))


def _check_routes(app: Flask, settings: Settings) -> None:
    catalog = app.extensions["catalog"]
    if catalog.live.unread:
        return  # any route may be one of a catalog that can't be read now
    routes = sorted({rule.rule for rule in app.url_map.iter_rules()} | catalog.routes)
    for route in settings.route_deadlines:
        if route not in routes:
            raise SettingsError(
                f"ROUTE_DEADLINES names {route}, which is no route: use {', '.join(routes)}."
            )


def _refuse_strangers(settings: Settings) -> None:
    """Raises SettingsError where AUTH leaves open who may call; gunicorn.conf.py asks too."""
    check_authentication(settings)
    command = click.get_current_context(silent=True)
    host = command.params.get("host") if command is not None else None
    if settings.auth is None and host is not None and not is_local(host):
        raise SettingsError(refusal(host))


def _serves() -> bool:
    """Whether this process answers requests; other `flask` commands start nothing unasked."""
    command = click.get_current_context(silent=True)
    return command is None or command.info_name == "run"


def _prints_help() -> bool:
    """Whether this is a `flask` command that needs no settings."""
    in_command = click.get_current_context(silent=True) is not None
    return in_command and (len(sys.argv) == 1 or "--help" in sys.argv)


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


def __getattr__(name: str) -> Flask:
    # Made when a server asks for it, so that importing create_app starts no database.
    if name == "app":
        globals()["app"] = _app_to_serve()
        return globals()["app"]
    raise AttributeError(name)


def _app_to_serve() -> Flask:
    try:
        settings = read_settings()
        logs.configure(settings.log_format)
        if _serves() and not is_worker():
            announce(settings)
        return create_app(settings)
    except CANNOT_START as error:
        if _prints_help():
            helpful = Flask(__name__)
            _add_commands(helpful)
            return helpful
        refuse(str(error))
        # By any other status gunicorn would take it for an accident, and start workers for ever.
        raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from None
