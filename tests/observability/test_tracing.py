"""Spans are those of the conventions, hang together, and reach what TRACES_TO names."""

from __future__ import annotations

import gzip
import itertools
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from app import close_app
from connection_manager import ConnectionManager
from observability.observer import Observer
from observability.tracing import Traces, TracingUnavailable, processor_to
from settings import ROOT
from testkit.cluster import fresh_cluster, socket_of
from testkit.proxy import Proxy

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def client(make_app, exporter):
    return make_app(span_processor=SimpleSpanProcessor(exporter)).test_client()


def by_name(exporter):
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_call_is_a_chain_of_four_spans(client, exporter):
    client.get("/customer/123").get_data()
    spans = by_name(exporter)
    chain = ["GET /customer/<int:customer_id>", "CALL web.get_customer", "attempt", "checkout"]
    assert set(spans) == set(chain)
    for parent, child in itertools.pairwise(chain):
        assert spans[child].parent.span_id == spans[parent].context.span_id
        assert spans[parent].start_time <= spans[child].start_time
        assert spans[child].end_time <= spans[parent].end_time
    kinds = [spans[name].kind for name in chain]
    assert kinds == [SpanKind.SERVER, SpanKind.CLIENT, SpanKind.INTERNAL, SpanKind.INTERNAL]


def test_attributes_have_the_names_of_the_conventions(client, exporter):
    response = client.get("/customer/123")
    size = len(response.get_data())
    spans = by_name(exporter)
    assert dict(spans["GET /customer/<int:customer_id>"].attributes) == {
        "http.request.method": "GET",
        "http.route": "/customer/<int:customer_id>",
        "http.response.status_code": 200,
        "http.response.body.size": size,
        "url.scheme": "http",
        "server.address": "localhost",
    }
    assert dict(spans["CALL web.get_customer"].attributes) == {
        "db.system.name": "postgresql",
        "db.operation.name": "CALL",
        "db.stored_procedure.name": "web.get_customer",
        "db.client.connection.pool.name": "embedded",
    }


def test_the_callers_trace_is_continued(client, exporter):
    client.get("/health/live", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}).get_data()
    (span,) = exporter.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT


def test_a_caller_that_does_not_sample_gets_no_spans(client, exporter):
    client.get("/customer/123", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"}).get_data()
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize("given", ["", "rubbish", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}"])
def test_without_a_valid_traceparent_a_trace_begins(client, exporter, given):
    client.get("/health/live", headers={"traceparent": given}).get_data()
    (span,) = exporter.get_finished_spans()
    assert span.parent is None
    assert f"{span.context.trace_id:032x}" != TRACE


def test_the_log_names_the_trace(client, exporter, log_stream):
    client.get("/health/live").get_data()
    (span,) = exporter.get_finished_spans()
    assert f'"trace_id":"{span.context.trace_id:032x}"' in log_stream.getvalue()


def test_a_refused_value_fails_the_call_and_not_the_request(client, exporter):
    taken = client.get("/customer/123").json[0]["CustomerName"]
    exporter.clear()
    assert client.put("/customer", json={"CustomerName": taken}).status_code == 409
    spans = by_name(exporter)
    call = spans["CALL web.put_customer"]
    assert call.status.status_code is StatusCode.ERROR
    assert call.attributes["error.type"] == "constraint"
    assert call.attributes["db.response.status_code"] == "1"
    assert spans["PUT /customer"].status.status_code is StatusCode.UNSET


def test_a_server_error_fails_the_request_span(client, exporter):
    client.application.add_url_rule("/breaks", view_func=lambda: 1 / 0)
    assert client.get("/breaks").status_code == 500
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "500"


def test_a_retried_call_has_an_attempt_for_each_try(exporter):
    observer = Observer(Traces(SimpleSpanProcessor(exporter)))
    with fresh_cluster("tracing") as cluster, Proxy(socket_of(cluster)) as proxy:
        manager = ConnectionManager(
            f"SERVER=127.0.0.1;PORT={proxy.port};DATABASE=app;UID=webapp",
            family="postgresql",
            observe=observer.observe,
            bypass_window=60,
        )

        def app(environ, start_response):
            answer = manager.call("web.get_customer", '{"CustomerID":1}')
            start_response("200 OK", [])
            return [answer.json.encode()]

        for _ in range(2):
            body = observer.around(app)({"REQUEST_METHOD": "GET"}, lambda *_: None)
            assert b"".join(body)
            proxy.cut_all()
        manager.close()
    spans = exporter.get_finished_spans()
    call = [span for span in spans if span.name == "CALL web.get_customer"][1]
    children = [span for span in spans if span.parent == call.context]
    attempts = [span for span in children if span.name == "attempt"]
    assert [span.attributes["attempt.number"] for span in attempts] == [1, 2]
    assert [span.attributes.get("error.type") for span in attempts] == ["lost", None]
    assert call.status.status_code is StatusCode.UNSET


class Collector(BaseHTTPRequestHandler):
    """An OTLP/HTTP endpoint."""

    def do_POST(self):
        said = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            said = gzip.decompress(said)
        self.server.requests.append((self.path, ExportTraceServiceRequest.FromString(said)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_spans_reach_the_endpoint_that_is_set(make_app):
    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        collector.requests = []
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        app = make_app(TRACES_TO=f"http://127.0.0.1:{collector.server_port}/v1/traces")
        app.test_client().get("/customer/123").get_data()
        close_app(app)  # sends what is held back
        collector.shutdown()
        thread.join()
    path, request = collector.requests[0]
    assert path == "/v1/traces"
    spans = request.resource_spans[0].scope_spans[0].spans
    assert {"CALL web.get_customer", "attempt"} <= {span.name for span in spans}


def test_an_invalid_destination_is_rejected_in_one_sentence():
    with pytest.raises(TracingUnavailable, match="TRACES_TO must be the URL of an OTLP endpoint"):
        processor_to("somewhere")


def test_without_the_packages_everything_else_works(run_folder):
    program = """
import sys
sys.modules["opentelemetry"] = None
from app import create_app
from observability.tracing import TracingUnavailable
from settings import read_settings
folder = {"LOCAL_DIR": sys.argv[1]}
print(create_app(read_settings(folder)).test_client().get("/customer/123").status_code)
try:
    create_app(read_settings({**folder, "TRACES_TO": "http://127.0.0.1:1/"}))
except TracingUnavailable as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", program, str(run_folder / "postgresql")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert said[-2] == "200"
    assert said[-1].endswith("pip install -r requirements-tracing.txt.")
