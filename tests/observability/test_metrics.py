"""What is counted, by which labels; and that what happens to connections is counted as it is."""

from __future__ import annotations

import threading
import time

import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families as parse

from connection_manager import ConnectionManager
from database.connect.tokens import CredentialToken
from database.deadline import Deadline
from database.errors import Unavailable
from database.events import (
    CircuitBreakerOpened,
    Connect,
    Retry,
    SharedRead,
    TokenRequested,
    Usage,
)
from database.pool import PoolTimeout
from observability.batched import BATCH, BatchedHistogram
from observability.metrics import Metrics
from observability.observer import Observer
from protocol.shared_reads import SharedReads
from testkit.cluster import fresh_cluster, socket_of
from testkit.proxy import Proxy


def numbers(text):
    """{(sample, *label values in the order of their names): value}"""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def scraped(client):
    return numbers(client.get("/metrics").get_data(as_text=True))


def test_requests_are_counted_by_method_template_and_status(make_app):
    client = make_app().test_client()
    for path in ("/customer/123", "/customer/124", "/customer/999999", "/no/such/route"):
        client.get(path).get_data()
    client.open("/customers", method="NOBODY").get_data()
    found = scraped(client)
    requests = {key[1:]: n for key, n in found.items() if key[0] == "http_requests_total"}
    assert requests == {
        ("GET", "/customer/<int:customer_id>", "200"): 2,
        ("GET", "/customer/<int:customer_id>", "404"): 1,
        ("GET", "unmatched", "404"): 1,
        ("OTHER", "unmatched", "405"): 1,
    }
    route = ("http_request_duration_seconds_count", "GET", "/customer/<int:customer_id>")
    assert found[route] == 3


def test_paths_do_not_make_series(make_app):
    client = make_app().test_client()

    def series():
        return len([key for key in scraped(client) if key[0].startswith("http_requests_total")])

    series()
    client.get("/taxidata/1").get_data()
    before = series()
    for number in range(200):
        client.get(f"/taxidata/{number}.5").get_data()
        client.get(f"/nowhere/{number}").get_data()
    assert series() == before + 1  # "unmatched"


def test_pool_metrics_match_the_pool(make_app):
    app = make_app(POOL_MAX_SIZE="3", EXPOSED_SCHEMAS="ELSEWHERE:api")
    client = app.test_client()
    client.get("/customer/123").get_data()
    found = scraped(client)
    states = ("idle", "in_use", "connecting")
    assert [found["db_pool_connections", "embedded", s] for s in states] == [1, 0, 0]
    assert found["db_pool_max_connections", "embedded"] == 3
    assert found["db_pool_connects_total", "embedded"] == 1
    assert found["db_pool_wait_seconds_count", "embedded"] == 1
    assert found["db_pool_usage_seconds_count", "embedded"] == 1
    app.extensions["databases"].manager("WWIF")._pool.invalidate()
    found = scraped(client)
    assert found["db_pool_connections", "embedded", "idle"] == 0
    assert found["db_pool_retired_total", "embedded", "invalidated"] == 1


def test_replays_and_final_failures_are_counted(make_app):
    client = make_app().test_client()
    taken = client.get("/customer/123").json[0]["CustomerName"]
    assert client.put("/customer", json={"CustomerName": taken}).status_code == 409
    for _ in range(2):
        client.delete("/customer/78", headers={"Idempotency-Key": "metrics-replay"})
    found = scraped(client)
    # A conflict is tried twice: a concurrent request with the same key may have been faster.
    assert found["db_call_failures_total", "embedded", "constraint"] == 2
    assert found["db_replays_total", "embedded"] == 1


def test_a_batched_histogram_equals_a_plain_one():
    registry = CollectorRegistry()
    bounds = (0.1, 0.5, 1.0)
    single = Histogram("single", "", registry=registry, buckets=bounds)
    batched = Histogram("batched", "", ["database"], registry=registry, buckets=bounds)
    batch = BatchedHistogram(batched)
    amounts = [0.0, 0.1, 0.1000001, 0.5, 0.75, 1.0, 1.5, 30.0] * (BATCH // 4)

    def observe_all() -> None:
        for amount in amounts:
            batch.pending.append(Usage("WWIF", amount))
            if len(batch.pending) > BATCH:
                batch.flush()

    threads = [threading.Thread(target=observe_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for amount in amounts * 4:
        single.observe(amount)
    for thread in threads:
        thread.join()
    batch.flush()
    found = {
        s.name + s.labels.get("le", ""): s.value for f in registry.collect() for s in f.samples
    }
    shown = {name.removeprefix("batched") for name in found if name.startswith("batched")}
    assert {"_count", "_bucket0.1", "_bucket+Inf"} <= shown
    for name in shown - {"_created"}:
        assert found["batched" + name] == pytest.approx(found["single" + name])


def test_open_metrics_where_it_is_accepted_else_the_text_format(make_app):
    client = make_app().test_client()
    assert client.get("/metrics").content_type.startswith("text/plain; version=")
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = client.get("/metrics", headers=accept)
    assert answer.content_type.startswith("application/openmetrics-text")
    assert answer.get_data(as_text=True).endswith("# EOF\n")


def test_the_build_is_named(make_app):
    assert [key for key in scraped(make_app().test_client()) if key[0] == "build_info"]


@pytest.fixture(scope="module")
def cluster():
    with fresh_cluster("observability") as running:
        yield running


def test_a_cut_is_a_retry_a_refusal_a_failed_connect_and_three_open_the_breaker(cluster):
    events = []
    with Proxy(socket_of(cluster)) as proxy:
        text = f"SERVER=127.0.0.1;PORT={proxy.port};DATABASE=app;UID=webapp"
        manager = ConnectionManager(
            text, family="postgresql", name="WWIF", observe=events.append, bypass_window=60
        )
        manager.call("web.get_customer", '{"CustomerID":1}')
        proxy.cut_all()
        manager.call("web.get_customer", '{"CustomerID":1}')
        assert [e.failure.sqlstate for e in events if isinstance(e, Retry)] == ["08S01"]
        assert [e.failure for e in events if isinstance(e, Connect)] == [None, None]
        events.clear()
        proxy.refuse()
        proxy.cut_all()
        with pytest.raises(Unavailable):
            manager.call("web.get_customer", '{"CustomerID":1}', deadline=Deadline(3))
        manager.close()
    assert events.count(CircuitBreakerOpened("WWIF")) == 1
    metrics = Metrics()
    observer = Observer(metrics)
    for event in events:
        observer.observe(event)
    found = numbers(metrics.exposition()[0].decode())
    failed = sum(isinstance(e, Connect) for e in events)
    assert failed >= 3
    assert found["db_pool_connect_failures_total", "WWIF", "unreachable"] == failed
    assert found["db_retries_total", "WWIF", "lost"] == 1
    retries = sum(isinstance(e, Retry) for e in events)
    assert found["db_retries_total", "WWIF", "unreachable"] == retries - 1 >= 2
    assert found["db_breaker_opened_total", "WWIF"] == 1


def test_waiters_that_time_out_and_are_rejected_are_counted(cluster):
    metrics = Metrics()
    manager = ConnectionManager(
        cluster.connection_string(),
        family="postgresql",
        name="WWIF",
        observe=Observer(metrics).observe,
        max_size=1,
        max_waiting=1,
    )
    metrics.watch(lambda: [("WWIF", manager.stats())])
    first = manager._pool.checkout()

    def wait() -> None:
        with pytest.raises(PoolTimeout):
            manager._pool.checkout(0.5)

    waiter = threading.Thread(target=wait)
    waiter.start()
    while not manager.stats().waiting:
        time.sleep(0.001)
    found = numbers(metrics.exposition()[0].decode())
    assert found["db_pool_waiting", "WWIF"] == 1
    assert found["db_pool_connections", "WWIF", "in_use"] == 1
    with pytest.raises(Unavailable):
        manager.call("web.get_customer")
    waiter.join()
    first.checkin()
    found = numbers(metrics.exposition()[0].decode())
    assert found["db_pool_timeouts_total", "WWIF"] == 1
    assert found["db_pool_rejected_total", "WWIF"] == 1
    assert manager.close()


class Issuer:
    """A credential that fails first."""

    def __init__(self):
        self.asked = 0

    def get_token(self, scope):
        self.asked += 1
        if self.asked == 1:
            raise ConnectionError("nobody there")
        return type("Answer", (), {"token": "t", "expires_on": time.time() + 3600})()


def test_token_requests_are_counted_by_outcome():
    metrics = Metrics()
    observer = Observer(metrics)
    source = CredentialToken(Issuer, name="issuer")
    issuer = Issuer()
    source._make_credential = lambda: issuer
    source.on_attempt(lambda failure: observer.observe(TokenRequested(failure)))
    with pytest.raises(Exception, match="no access token"):
        source.get(timeout=5)
    source.get(timeout=5)
    source.close()
    found = numbers(metrics.exposition()[0].decode())
    assert found["db_token_requests_total", "failed"] == 1
    assert found["db_token_requests_total", "ok"] == 1


def test_reads_are_counted_by_the_source_of_their_response(tmp_path):
    events = []
    reads = SharedReads(tmp_path, ttl=60, observe=events.append)
    for _ in range(2):
        reads.get("question", lambda: "[]", deadline=Deadline(5))
    assert events == [SharedRead("asked"), SharedRead("kept")]
    metrics = Metrics()
    for event in events:
        Observer(metrics).observe(event)
    found = numbers(metrics.exposition()[0].decode())
    assert found["shared_reads_total", "kept"] == 1
