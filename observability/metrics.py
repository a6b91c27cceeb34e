"""Metrics for Prometheus, correct with several workers too.

With several workers (gunicorn.conf.py sets PROMETHEUS_MULTIPROC_DIR before they start), each worker
keeps its numbers in a file of that folder, and the worker that serves /metrics adds them up.
"""

from __future__ import annotations

import math
import os
import platform
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from database.events import (
    Call,
    Checkout,
    CircuitBreakerOpened,
    Connect,
    ReplicaProbed,
    Retry,
    RoutedRead,
    SharedRead,
    TokenRequested,
    ToolCall,
    Usage,
    kind_of,
)
from database.pool.state import PoolStats
from observability.batched import BATCH, BatchedHistogram
from observability.numbers import MANY_PROCESSES, TimedCount
from observability.observer import Subscriber
from observability.request import RequestRecord

SAMPLE_SECONDS = 1.0  # between readings of the pools, with several workers
REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
POOL_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)
# Why a pool closed connections; each is a total of PoolStats.
RETIRED = ("evicted", "lost", "expired", "validation_failures", "invalidated", "closed")
assert {f"{reason}_total" for reason in RETIRED} < {field.name for field in fields(PoolStats)}

Pools = Callable[[], Iterable[tuple[str, PoolStats]]]
_Mode = Literal["livesum", "livemin", "livemax", "max"]
_Labels = TypeVar("_Labels")
_Child = TypeVar("_Child")


class _Children(dict[_Labels, _Child]):
    """What `make` makes for labels, made once: a metric's labels() costs more than counting."""

    def __init__(self, make: Callable[[_Labels], _Child]) -> None:
        self._make = make

    def __missing__(self, labels: _Labels) -> _Child:
        # setdefault: two threads that get here at once share one.
        return self.setdefault(labels, self._make(labels))


class Metrics(Subscriber):
    """Turns events into counters, gauges and histograms; make one for each app.

    After watch() they include the pools' state. With several workers, figures of the pools can be
    SAMPLE_SECONDS old; requests and everything else are counted immediately.
    """

    def __init__(self, *, version: str = "") -> None:
        self.registry = CollectorRegistry()
        self._last: dict[str, PoolStats] = {}
        self._pools: Pools = lambda: ()
        self._sampling = threading.Lock()
        self._closed = threading.Event()
        requests = self._counter("http_requests", "Requests served.", "route", "method", "status")
        durations = self._histogram(
            "http_request_duration_seconds",
            "Time from a request's arrival until the last part of its response is ready.",
            *("route", "method"),
            buckets=REQUEST_BUCKETS,
        )
        # By (route, method, status).
        self._requests: _Children[tuple[str, str, int], TimedCount] = _Children(
            lambda key: TimedCount(requests.labels(*key), durations.labels(*key[:2]))
        )
        self._incomplete = self._counter(
            "http_responses_incomplete", "Responses that ended before their last byte.", "route"
        )
        waits = self._histogram(
            "db_pool_wait_seconds", "Wait for a connection, including connecting.", "database"
        )
        usages = self._histogram(
            "db_pool_usage_seconds", "How long a connection was checked out.", "database"
        )
        self._waits, self._usages = BatchedHistogram(waits), BatchedHistogram(usages)
        self._connects = self._counter("db_pool_connects", "Connections opened.", "database")
        self._connect_failures = self._counter(
            "db_pool_connect_failures", "Failed connects.", "database", "kind"
        )
        self._timeouts = self._counter(
            "db_pool_timeouts", "Requests that got no connection in time.", "database"
        )
        self._rejected = self._counter(
            "db_pool_rejected", "Requests rejected because the queue was full.", "database"
        )
        self._retired = self._counter(
            "db_pool_retired", "Connections closed.", "database", "reason"
        )
        self._connections = self._gauge(
            "db_pool_connections", "Connections by state.", "database", "state"
        )
        self._most = self._gauge(
            "db_pool_max_connections", "Connections that may be open at once.", "database"
        )
        self._waiting = self._gauge(
            "db_pool_waiting", "Requests waiting for a connection.", "database"
        )
        self._retries = self._counter(
            "db_retries", "Attempts after a transient failure.", "database", "kind"
        )
        self._failures = self._counter(
            "db_call_failures", "Calls that failed after all attempts.", "database", "kind"
        )
        self._replays = self._counter(
            "db_replays", "Stored responses returned for a repeated Idempotency-Key.", "database"
        )
        self._breaker = self._counter(
            "db_breaker_opened", "Times that the circuit breaker opened.", "database"
        )
        self._tokens = self._counter(
            "db_token_requests", "Access tokens requested, by outcome.", "outcome"
        )
        shared = self._counter("shared_reads", "Reads by the source of their response.", "outcome")
        self._shared: _Children[SharedRead, Counter] = _Children(lambda read: shared.labels(*read))
        tools = self._counter(
            "mcp_tool_calls", "Calls of tools, by their operation's status.", "tool", "status"
        )
        self._tools: _Children[ToolCall, Counter] = _Children(lambda call: tools.labels(*call))
        routed = self._counter(
            "db_routed_reads",
            "Reads of databases with replicas, by where and why.",
            *("database", "served_by", "reason"),
        )
        self._routed: _Children[RoutedRead, Counter] = _Children(lambda read: routed.labels(*read))
        self._replica_ready = self._gauge(
            "db_replica_ready", "1 if the replica serves reads, else 0.", "replica", mode="livemin"
        )
        self._replica_lag = self._gauge(
            "db_replica_lag_seconds",
            "Seconds that the replica is behind at most; NaN where unknown.",
            "replica",
            mode="livemax",
        )
        self._gauge("build_info", "Always 1.", "version", "python", mode="max").labels(
            version or "unknown", platform.python_version()
        ).set(1)
        self.handlers: dict[type, Callable[[Any], None]] = {
            Checkout: self._waits.pending.append,
            Usage: self._usages.pending.append,
            Connect: self._connect,
            Retry: lambda e: self._retries.labels(e.database, kind_of(e.failure)).inc(),
            Call: self._call,
            CircuitBreakerOpened: lambda e: self._breaker.labels(e.database).inc(),
            TokenRequested: lambda e: self._tokens.labels("failed" if e.failure else "ok").inc(),
            ToolCall: lambda e: self._tools[e].inc(),
            SharedRead: lambda e: self._shared[e].inc(),
            RoutedRead: lambda e: self._routed[e].inc(),
            ReplicaProbed: self._probed,
        }

    @property
    def many_processes(self) -> bool:
        """Whether the numbers of several workers are added up."""
        return MANY_PROCESSES

    def finished(self, request: RequestRecord) -> None:
        self._requests[request.route, request.method, request.status].observe(request.seconds)
        if not request.complete:
            self._incomplete.labels(request.route).inc()
        if len(self._waits.pending) >= BATCH:
            self._waits.flush()
            self._usages.flush()

    def watch(self, pools: Pools) -> None:
        """Include the state of these pools from now on. pools: returns (name, stats) of each."""
        self._pools = pools
        if self.many_processes:
            # The worker that serves /metrics can't read another worker's pools.
            threading.Thread(
                target=_sample_until_closed,
                args=(weakref.ref(self), self._closed),
                name="metrics",
                daemon=True,
            ).start()

    def sample(self) -> None:
        """Read the pools now, and add the growth of their totals to the counters."""
        with self._sampling:
            self._waits.flush()
            self._usages.flush()
            for name, now in self._pools():
                last = self._last.get(name)
                for state in ("idle", "in_use", "connecting"):
                    self._connections.labels(name, state).set(getattr(now, state))
                self._most.labels(name).set(now.max_size)
                self._waiting.labels(name).set(now.waiting)
                self._add(self._timeouts.labels(name), last, now, "timeouts_total")
                self._add(self._rejected.labels(name), last, now, "rejected_total")
                for reason in RETIRED:
                    self._add(self._retired.labels(name, reason), last, now, f"{reason}_total")
                self._last[name] = now

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """(text, content type) in the format that `accept`, a header, prefers; else text 0.0.4."""
        self.sample()
        encode, content_type = choose_encoder(accept)
        return encode(self._of_all_workers()), content_type

    def families(self) -> Iterable[Metric]:
        """The metrics of all workers, as prometheus_client has them."""
        self.sample()
        return self._of_all_workers().collect()

    def folder(self) -> Path | None:
        """The folder that the workers share; None without workers."""
        return Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]) if self.many_processes else None

    def close(self) -> None:
        """Read the pools for the last time; numbers in the shared folder outlive the process."""
        self._closed.set()
        self.sample()

    def _of_all_workers(self) -> CollectorRegistry:
        if not self.many_processes:
            return self.registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry

    def _connect(self, event: Connect) -> None:
        if event.failure is None:
            self._connects.labels(event.database).inc()
        else:
            self._connect_failures.labels(event.database, kind_of(event.failure)).inc()

    def _call(self, event: Call) -> None:
        if event.failure is not None:
            self._failures.labels(event.database, kind_of(event.failure)).inc()
        elif event.replayed:
            self._replays.labels(event.database).inc()

    def _probed(self, event: ReplicaProbed) -> None:
        self._replica_ready.labels(event.replica).set(event.ready)
        self._replica_lag.labels(event.replica).set(math.nan if event.lag is None else event.lag)

    @staticmethod
    def _add(counter: Counter, last: PoolStats | None, now: PoolStats, total: str) -> None:
        # A new pool of the same name starts at zero.
        before = getattr(last, total) if last else 0
        if (grown := getattr(now, total) - before) > 0:
            counter.inc(grown)

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(name, help, labels, registry=self.registry)

    def _gauge(self, name: str, help: str, *labels: str, mode: _Mode = "livesum") -> Gauge:
        return Gauge(name, help, labels, registry=self.registry, multiprocess_mode=mode)

    def _histogram(
        self, name: str, help: str, *labels: str, buckets: tuple[float, ...] = POOL_BUCKETS
    ) -> Histogram:
        return Histogram(name, help, labels, registry=self.registry, buckets=buckets)


def _sample_until_closed(reference: weakref.ref[Metrics], closed: threading.Event) -> None:
    while not closed.wait(SAMPLE_SECONDS):
        metrics = reference()
        if metrics is None:
            return
        metrics.sample()
        del metrics
