"""The log has one line per request, with everything needed and nothing that the client sent."""

import json
import logging

import pytest

from observability import logs

NAME = "Nobody Reads This Ltd"


def lines(stream, event="request"):
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [line for line in said if line.get("event") == event]


def test_a_request_is_one_line_of_these_fields(make_app, log_stream):
    response = make_app().test_client().get("/customer/123")
    (line,) = lines(log_stream)
    assert line.keys() == {
        *("time", "level", "event", "method", "route", "status", "request_id", "duration_ms"),
        *("bytes", "wait_ms", "attempts"),
    }
    assert line["route"] == "/customer/<int:customer_id>"
    assert (line["method"], line["status"], line["attempts"]) == ("GET", 200, 1)
    assert line["bytes"] == len(response.data)
    assert line["request_id"] == response.headers["X-Request-ID"]
    assert 0 <= line["wait_ms"] <= line["duration_ms"]


def test_nothing_that_a_client_sent_is_in_the_log(make_app, log_stream):
    client = make_app().test_client()
    client.put("/customer", json={"CustomerName": NAME, "PhoneNumber": NAME[:20]})
    client.get("/customers", query_string={"name": NAME})
    client.get("/customer/" + NAME)
    client.get("/", headers={"Cookie": NAME, "Authorization": NAME, "User-Agent": NAME})
    client.open("/customers", method="NOBODY")
    assert len(lines(log_stream)) == 5
    assert "Nobody" not in log_stream.getvalue()
    assert "NOBODY" not in log_stream.getvalue()
    assert lines(log_stream)[-1]["method"] == "OTHER"


def test_the_line_of_a_stream_has_all_its_bytes(make_app, log_stream):
    response = make_app().test_client().get("/taxidata?limit=0&total_amount=20&format=ndjson")
    size = len(response.data)
    assert lines(log_stream)[-1]["bytes"] == size > 0
    assert "complete" not in lines(log_stream)[-1]


def test_the_line_of_a_stream_that_the_client_left_is_incomplete(make_app, log_stream):
    response = make_app().test_client().get("/taxidata?limit=0&format=ndjson", buffered=False)
    next(response.iter_encoded())
    response.close()
    assert lines(log_stream)[-1]["complete"] is False


def test_the_line_of_a_failure_has_its_numbers(make_app, log_stream):
    client = make_app().test_client()
    taken = client.get("/customer/123").json[0]["CustomerName"]
    response = client.put("/customer", json={"CustomerName": taken})
    assert response.status_code == 409
    line = lines(log_stream)[-1]
    assert (line["status"], line["sqlstate"], line["native"]) == (409, "23505", 1)
    assert line["failure"] == "constraint"


def test_the_line_of_a_replay_is_marked(make_app, log_stream):
    client = make_app().test_client()
    for _ in range(2):
        client.delete("/customer/77", headers={"Idempotency-Key": "logs-replay"})
    assert [line.get("replayed") for line in lines(log_stream)] == [None, True]


def test_a_slow_call_is_a_warning_above_the_threshold_only(make_app, log_stream):
    make_app(SLOW_CALL_SECONDS="0").test_client().get("/customer/123")
    (line,) = lines(log_stream, "slow_call")
    assert (line["level"], line["procedure"]) == ("WARNING", "web.get_customer")
    assert line["duration_ms"] > 0
    make_app(SLOW_CALL_SECONDS="60").test_client().get("/customer/123")
    assert len(lines(log_stream, "slow_call")) == 1


def test_other_lines_name_the_request_they_belong_to(make_app, log_stream):
    app = make_app()
    app.add_url_rule("/warns", view_func=lambda: (logging.warning("look here"), "")[1])
    response = app.test_client().get("/warns")
    (warned,) = [json.loads(x) for x in log_stream.getvalue().splitlines() if "look here" in x]
    assert warned["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize("given", ["0af7651916cd43dd8448eb211c80319c", "Front-Door_1.2", "a"])
def test_a_valid_request_id_is_kept(make_app, given, log_stream):
    response = make_app().test_client().get("/nowhere", headers={"X-Request-ID": given})
    assert response.headers["X-Request-ID"] == given
    assert response.json["instance"] == f"urn:sql-procedures-api:request:{given}"
    assert lines(log_stream)[0]["request_id"] == given


@pytest.mark.parametrize("given", ["", " ", '"', 'a","admin":"yes', "a b", "é", "x" * 65, ".."])
def test_any_other_request_id_is_replaced(make_app, given):
    response = make_app().test_client().get("/nowhere", headers={"X-Request-ID": given})
    assert response.json["instance"] == f"urn:uuid:{response.headers['X-Request-ID']}"


def test_the_trace_of_the_caller_is_named_without_tracing_too(make_app, log_stream):
    client = make_app().test_client()
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for parent in (f"00-{trace}-00f067aa0ba902b7-01", f"00-{'0' * 32}-00f067aa0ba902b7-01", "no"):
        client.get("/health/live", headers={"traceparent": parent})
    assert [line.get("trace_id") for line in lines(log_stream)] == [trace, None, None]


class Terminal:
    def __init__(self, answer):
        self.written, self.isatty = [], lambda: answer
        self.write, self.flush = self.written.append, lambda: None


@pytest.fixture
def root_as_it_was():
    root, werkzeug = logging.getLogger(), logging.getLogger("werkzeug")
    before = root.handlers[:], root.level, werkzeug.filters[:]
    yield
    root.handlers[:], root.level, werkzeug.filters[:] = before


@pytest.mark.parametrize(
    ("form", "terminal", "is_json"),
    [("auto", True, False), ("auto", False, True), ("json", True, True), ("text", False, False)],
)
def test_a_terminal_gets_text_and_other_streams_json(
    make_app, root_as_it_was, form, terminal, is_json
):
    stream = Terminal(terminal)
    logs.configure(form, stream=stream)
    make_app().test_client().get("/health/live")
    last = "".join(stream.written).splitlines()[-1]
    assert last.startswith("{") is is_json
    assert "/health/live" in last
