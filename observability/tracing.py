"""OpenTelemetry traces of request, call, attempt and checkout, named by its conventions.

Spans below the request's are made from its events when it is finished: a running call costs
nothing more, and with tracing off there is no cost at all. The packages are optional
(requirements-tracing.txt). Conventions: "Semantic conventions for HTTP spans", "… for database
client spans", version 1.40.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from database.errors import DatabaseError
from database.events import Attempt, Call, Checkout, kind_of
from observability.observer import Subscriber
from observability.request import UNMATCHED, RequestRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span

SERVICE = "sql-procedures-api"
SYSTEMS = {"sqlserver": "microsoft.sql_server", "postgresql": "postgresql"}
AZURE_MONITOR = "InstrumentationKey="
AZURE_EXPORTER = "azure-monitor-opentelemetry-exporter==1.0.0b58"


class TracingUnavailable(Exception):
    """TRACES_TO is set and tracing can't start; the message is one sentence with the reason."""


def processor_to(destination: str) -> SpanProcessor:
    """A processor that sends spans in batches.

    destination: the URL of an OTLP/HTTP endpoint, or a connection string of Application Insights.
    Raises TracingUnavailable.
    """
    try:
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        if destination.startswith(AZURE_MONITOR):
            from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter

            try:
                exporter = AzureMonitorTraceExporter(connection_string=destination)
            except ValueError:
                raise TracingUnavailable(
                    "TRACES_TO is not a valid connection string of Application Insights:"
                    " copy all of it from the portal (InstrumentationKey=<a UUID>;…)."
                ) from None
            return BatchSpanProcessor(exporter)
        if destination.startswith(("http://", "https://")):
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            return BatchSpanProcessor(OTLPSpanExporter(endpoint=destination))
    except ImportError as error:
        more = f" {AZURE_EXPORTER}" if destination.startswith(AZURE_MONITOR) else ""
        raise TracingUnavailable(
            f"TRACES_TO is set, but the package {error.name} is not installed:"
            f" .venv/bin/pip install -r requirements-tracing.txt{more}."
        ) from None
    raise TracingUnavailable(
        "TRACES_TO must be the URL of an OTLP endpoint, such as http://localhost:4318/v1/traces,"
        " or a connection string of Application Insights."
    )


class Traces(Subscriber):
    """Turns each request into spans and gives them to `processor`. Raises TracingUnavailable."""

    def __init__(self, processor: SpanProcessor) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()
        # Not the global provider: an app that is created twice must not trace twice.
        self._provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(SERVICE)

    def began(self, request: RequestRecord, environ: dict[str, Any]) -> None:
        request.began_ns = time.time_ns() - round((time.monotonic() - request.began) * 1e9)
        carrier = {
            name: environ[f"HTTP_{name.upper()}"]
            for name in ("traceparent", "tracestate")
            if f"HTTP_{name.upper()}" in environ
        }
        request.span = self._tracer.start_span(
            request.method,
            self._propagator.extract(carrier),
            kind=self._trace.SpanKind.SERVER,
            attributes={
                # The conventions call an unknown method "_OTHER".
                "http.request.method": "_OTHER" if request.method == "OTHER" else request.method,
                "url.scheme": environ.get("wsgi.url_scheme", "http"),
                "server.address": environ.get("SERVER_NAME", ""),
            },
            start_time=request.began_ns,
        )
        request.trace_id = f"{request.span.get_span_context().trace_id:032x}"

    def finished(self, request: RequestRecord) -> None:
        span = request.span
        if request.route != UNMATCHED:
            span.update_name(f"{request.method} {request.route}")
            span.set_attribute("http.route", request.route)
        span.set_attribute("http.response.status_code", request.status)
        span.set_attribute("http.response.body.size", request.sent)
        if request.status >= 500:
            self._fail(span, str(request.status))
        elif not request.complete:
            self._fail(span, "incomplete")
        if span.is_recording():
            self._add_children(request)
        span.end(self._at(request, request.began + request.seconds))

    def close(self) -> None:
        self._provider.shutdown()

    def _add_children(self, request: RequestRecord) -> None:
        attempts: list[tuple[Attempt, list[Checkout]]] = []
        checkouts: list[Checkout] = []
        for event in request.events:
            if type(event) is Checkout:
                checkouts.append(event)
            elif type(event) is Attempt:
                attempts.append((event, checkouts))
                checkouts = []
            elif type(event) is Call:
                self._add_call(request, event, attempts)
                attempts = []

    def _add_call(
        self, request: RequestRecord, call: Call, attempts: list[tuple[Attempt, list[Checkout]]]
    ) -> None:
        attributes = {
            "db.system.name": SYSTEMS.get(call.engine, "other_sql"),
            "db.operation.name": "CALL",
            "db.stored_procedure.name": call.procedure,
        }
        span = self._span(
            request, f"CALL {call.procedure}", request.span, call, attributes, client=True
        )
        for number, (attempt, checkouts) in enumerate(attempts):
            child = self._span(request, "attempt", span, attempt, {"attempt.number": number + 1})
            for checkout in checkouts:
                # A failed checkout is the attempt's failure.
                self._span(request, "checkout", child, checkout, {}).end(
                    self._at(request, checkout.began + checkout.seconds)
                )
            self._end(request, child, attempt)
        self._end(request, span, call)

    def _span(
        self,
        request: RequestRecord,
        name: str,
        parent: Span,
        event: Call | Attempt | Checkout,
        attributes: dict[str, Any],
        *,
        client: bool = False,
    ) -> Span:
        kinds = self._trace.SpanKind
        return self._tracer.start_span(
            name,
            self._trace.set_span_in_context(parent),
            kind=kinds.CLIENT if client else kinds.INTERNAL,
            attributes={"db.client.connection.pool.name": event.database, **attributes},
            start_time=self._at(request, event.began),
        )

    def _end(self, request: RequestRecord, span: Span, event: Call | Attempt) -> None:
        failure = event.failure
        if failure is not None:
            if isinstance(failure, DatabaseError):
                code = str(failure.native) if failure.native else failure.sqlstate
                span.set_attribute("db.response.status_code", code)
            self._fail(span, kind_of(failure))
        span.end(self._at(request, event.began + event.seconds))

    def _fail(self, span: Span, kind: str) -> None:
        span.set_attribute("error.type", kind)
        span.set_status(self._trace.StatusCode.ERROR)

    @staticmethod
    def _at(request: RequestRecord, moment: float) -> int:
        """Nanoseconds since the epoch for `moment`, seconds of time.monotonic()."""
        return request.began_ns + round((moment - request.began) * 1e9)
