"""A cluster for the chaos tests, and the API on it with a proxy in between."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from connection_manager import ConnectionManager
from embedded.cluster import EmbeddedCluster
from testkit.cluster import fresh_cluster, socket_of
from testkit.cuts import Lane, answered, open_lane
from testkit.load_client import Reply, ask, serve
from testkit.proxy import Proxy

Manage = Callable[..., ConnectionManager]


@dataclass(frozen=True)
class Served:
    """The API on 127.0.0.1:`port`, whose database connections all go through `proxy`."""

    port: int
    proxy: Proxy

    def ask(self, method: str, path: str, document: dict | None = None, **options) -> Reply:
        return ask(self.port, method, path, document, **options)

    def settle(self) -> None:
        """Forward again, and wait until the API answers again."""
        self.proxy.disarm()
        self.proxy.delay(0)
        self.proxy.thaw()
        self.proxy.accept()
        assert answered(lambda: self.ask("GET", "/customer/123")).status == 200


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedCluster]:
    # One for each pytest-xdist process, so that they do not restart each other's.
    with fresh_cluster(f"chaos-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}") as fresh:
        yield fresh


@pytest.fixture(scope="session")
def lane(cluster: EmbeddedCluster) -> Iterator[Lane]:
    with open_lane(cluster) as opened:
        yield opened


@pytest.fixture(scope="session")
def _served(cluster: EmbeddedCluster) -> Iterator[Served]:
    with Proxy(socket_of(cluster)) as proxy:
        text = f"SERVER=127.0.0.1;PORT={proxy.port};DATABASE=app;UID=webapp"
        with serve(text) as port:
            yield Served(port, proxy)


@pytest.fixture
def served(_served: Served) -> Iterator[Served]:
    _served.settle()
    yield _served
    _served.settle()


@pytest.fixture
def manage(cluster: EmbeddedCluster) -> Iterator[Manage]:
    """Make managers on the cluster's own socket; at the end, no connection may be in use."""
    made: list[ConnectionManager] = []

    def make(**options) -> ConnectionManager:
        made.append(ConnectionManager(cluster.connection_string(), family="postgresql", **options))
        return made[-1]

    yield make
    for manager in made:
        stats = manager.stats()
        assert (stats.in_use, stats.connecting, stats.waiting) == (0, 0, 0)
        assert manager.close(timeout=5.0)
