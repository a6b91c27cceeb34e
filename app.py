"""The Flask application: for `flask run`, `gunicorn app:app`, or `create_app(settings)`."""

from typing import TYPE_CHECKING, Any

import click
from flask import Flask
from gunicorn.arbiter import Arbiter
from werkzeug.middleware.proxy_fix import ProxyFix

import cli
from application import Application, ProblemApi
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
from observability.tracing import Traces, TracingUnavailable, processor_to
from operations.catalog_routes import CatalogRoutes
from operations.openapi import VERSION
from operations.python_routes import python_routes
from protocol import cors
from protocol.authorization import Authentication
from protocol.compression import compression
from protocol.key_cleaner import KeyCleaner
from protocol.limits import BodyTime, StreamLimit, limit_rate
from protocol.problems import problem_of
from protocol.shared_reads import SharedReads
from resources.health import Readiness
from resources.routes import add_mcp, add_routes, add_sample_routes
from serving.announcement import announce
from serving.refusals import is_worker, refuse
from settings import Settings, SettingsError, check_authentication, read_settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

# Errors that stop the start with one sentence.
START_ERRORS = (
    SettingsError,
    CatalogError,
    ConnectionStringError,
    EmbeddedError,
    DriverMissing,
    TracingUnavailable,
)


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
    app.authentication = app.extensions["authentication"] = Authentication(settings)
    app.extensions["body_time"] = BodyTime(settings.body_seconds)
    app.extensions["stream_limit"] = StreamLimit(settings.max_streams)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=hops, x_proto=hops
        )
    if settings.rate_limit:
        app.count_rate = limit_rate(app, settings.rate_limit, settings.rate_limit_storage)
    app.register_error_handler(Exception, lambda e: problem_of(e).response())
    app.compression = compression(app)
    cors.install(app, settings.cors_origins)
    cli.install(app)
    api = ProblemApi(app)
    if settings.serves_sample:
        add_sample_routes(api)
    add_routes(api)
    if settings.mcp:
        add_mcp(api, settings)
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
