"""The last 15 minutes: figures are those of the requests in them, problems carry their id."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest

from observability import figures
from observability.metrics import REQUEST_BUCKETS, Metrics
from observability.recent import MOST_PROBLEMS, STEP_SECONDS, WINDOW_SECONDS, Recent
from observability.request import RequestRecord
from observability.shared_file import SharedValue
from testkit.observed_server import serve

CUSTOMER = "/customer/<int:customer_id>"


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def recent(metrics, clock):
    made = Recent(metrics, clock=clock)
    made.keep_up()
    return made


def serve_one(metrics, recent, *, status=200, seconds=0.01, route="/x", complete=True, name=""):
    request = RequestRecord({"REQUEST_METHOD": "GET", "HTTP_X_REQUEST_ID": name or "request-1"})
    request.route, request.status, request.seconds = route, status, seconds
    request.complete = complete
    metrics.finished(request)
    recent.finished(request)


def advance(clock, recent, seconds):
    for _ in range(int(seconds / STEP_SECONDS)):
        clock.now += STEP_SECONDS
        recent.keep_up()


def test_rates_and_errors_are_those_of_the_requests(metrics, recent, clock):
    for status in (200, 200, 200, 404, 500):
        serve_one(metrics, recent, status=status)
    clock.now += 10
    found = recent.summary()
    assert (found["requests"], found["server_errors"], found["client_errors"]) == (5, 1, 1)
    assert (found["requests_per_second"], found["error_rate"]) == (0.5, 0.2)
    assert [(one["route"], one["requests"]) for one in found["routes"]] == [("/x", 5)]


def test_what_is_older_than_15_minutes_is_left_out(metrics, recent, clock):
    serve_one(metrics, recent)
    advance(clock, recent, WINDOW_SECONDS - STEP_SECONDS)
    assert recent.summary()["requests"] == 1
    serve_one(metrics, recent, route="/y")
    advance(clock, recent, 4 * STEP_SECONDS)
    found = recent.summary()
    assert [one["route"] for one in found["routes"]] == ["/y"]
    assert found["seconds"] <= WINDOW_SECONDS
    assert sum(point["requests_per_second"] for point in found["series"]) > 0


def test_a_latency_is_between_the_bounds_of_the_histogram(metrics, recent):
    for seconds in [0.004] * 98 + [0.3, 0.4]:
        serve_one(metrics, recent, seconds=seconds)
    found = recent.summary()
    assert 2.5 <= found["p50_ms"] <= found["p95_ms"] <= 5
    assert 250 <= found["p99_ms"] <= 500


def test_a_latency_beyond_the_last_bound_is_that_bound():
    assert figures.quantile(0.5, [0] * len(REQUEST_BUCKETS) + [3]) == 1000 * REQUEST_BUCKETS[-1]
    assert figures.quantile(0.5, ()) is None


def test_without_requests_there_is_no_latency_and_no_error(recent):
    found = recent.summary()
    assert (found["requests"], found["error_rate"], found["p95_ms"]) == (0, 0.0, None)


def test_a_clock_that_is_set_back_does_not_stop_the_readings(metrics, recent, clock):
    clock.now -= 3600
    recent.keep_up()
    serve_one(metrics, recent)
    advance(clock, recent, 2 * STEP_SECONDS)
    assert recent.summary()["requests"] == 1


def test_a_problem_is_found_by_the_requests_id_the_newest_first(metrics, recent, clock):
    serve_one(metrics, recent, status=404, name="first", route=CUSTOMER)
    clock.now += 1
    serve_one(metrics, recent, status=503, name="second")
    serve_one(metrics, recent)
    clock.now += 1
    serve_one(metrics, recent, complete=False, name="third")
    problems = recent.summary()["problems"]
    assert [one["request_id"] for one in problems] == ["third", "second", "first"]
    assert (problems[2]["route"], problems[2]["status"]) == (CUSTOMER, 404)


def test_a_flood_of_refused_requests_does_not_push_out_the_servers_errors(metrics, recent):
    serve_one(metrics, recent, status=500, name="internal")
    for _ in range(20 * MOST_PROBLEMS):
        serve_one(metrics, recent, status=401)
        recent.keep_up()
    found = Counter(one["status"] for one in recent.summary()["problems"])
    assert found == {500: 1, 401: MOST_PROBLEMS}


def test_a_damaged_file_is_an_empty_one(tmp_path):
    value = SharedValue(tmp_path / "history.json")
    value.change(lambda _: {"at": 1})
    assert value.read() == {"at": 1}
    (tmp_path / "history.json").write_text('{"at"')
    assert value.read() == {}


@pytest.fixture(scope="module")
def served(run_folder, worker_id):
    with serve(run_folder / f"recent-{worker_id}.log", run_folder / "postgresql") as running:
        yield running


def test_figures_and_problems_are_those_of_all_workers(served):
    before = json.loads(served.ask("/status.json")[1])["requests"]
    sent = [f"missing-{number}" for number in range(20)]
    for name in sent:
        assert served.ask("/customer/999999", **{"X-Request-ID": name})[0] == 404
    # Another worker's problems arrive within a second or two.
    for _ in range(200):
        found = json.loads(served.ask("/status.json")[1])
        if set(sent) <= {one["request_id"] for one in found["problems"]}:
            break
        time.sleep(0.05)
    assert set(sent) <= {one["request_id"] for one in found["problems"]}
    assert found["requests"] >= before + len(sent)
    routes = {one["route"]: one for one in found["routes"]}
    assert routes[CUSTOMER]["client_errors"] == len(sent)
    (database,) = found["databases"]
    assert database["name"] == "embedded"
    assert database["max_size"] > 0
