"""The configured databases, with one ConnectionManager each; or the embedded default."""

import hashlib
import logging
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from connection_manager import ConnectionManager
from database.connect.connection_string import ConnectionString, ConnectionStringError
from database.connect.drivers import DriverMissing, server_of
from database.connect.tokens import from_environment
from database.errors import NotConfigured
from database.events import Observe, unobserved
from database.pool.state import PoolStats
from embedded.cluster import API_ROLE, EmbeddedCluster
from embedded.sample import SCRIPTS, deploy_and_fill
from replicas.lag import History
from replicas.reads import ReplicatedDatabase
from replicas.replica import Replica
from replicas.watch import PROBE_SECONDS, Watch
from settings import ROOT, TARGETS, Settings, Target, unusable_local_dir, variable_names

log = logging.getLogger(__name__)
# The name of the embedded default, which serves both databases of the sample.
EMBEDDED = "embedded"
# A read does not wait longer for a replica's connection, because the primary can serve it.
REPLICA_ACQUIRE_SECONDS = 2.0
REPLICA_LOGIN_SECONDS = 5.0


class Databases:
    """The managers by database, each made at its first use; `open()` makes all of them at once."""

    def __init__(
        self,
        settings: Settings,
        *,
        report: Callable[[str], None] = log.info,
        observe: Observe = unobserved,
    ) -> None:
        self._settings = settings
        self._report = report
        self._observe = observe
        self._lock = threading.RLock()
        self._managers: dict[str, ConnectionManager] = {}
        self._replicated: dict[str, ReplicatedDatabase] = {}
        self._cluster: EmbeddedCluster | None = None
        self._clusters: list[EmbeddedCluster] = []
        # Runs at a normal exit of the process, and when the app is garbage-collected.
        self._closing = weakref.finalize(
            self, _close, self._managers, self._replicated, self._clusters
        )

    def open(self) -> None:
        """Start the embedded default if it serves, and make every manager; connect to none."""
        for name in self.names():
            self.manager(name)
            replicated = self.replicated(name)
            if replicated is not None:
                replicated.start()

    def names(self) -> tuple[str, ...]:
        """Every database that is served; the embedded default is one database, EMBEDDED."""
        return (EMBEDDED,) if self._settings.embedded else tuple(self._settings.targets)

    def reported_names(self) -> tuple[str, ...]:
        """The names in readiness reports: the sample's two if it is served, then all others."""
        return self._settings.database_names

    def schemas_of(self, name: str) -> tuple[str, ...]:
        """The schemas of a database whose procedures are exposed."""
        names = (EMBEDDED, *TARGETS) if name == EMBEDDED else (name,)
        return tuple(dict.fromkeys(s for n in names for s in self._settings.schemas_of(n)))

    def manager(self, name: str) -> ConnectionManager:
        """The manager of a database. Raises NotConfigured with the missing variable."""
        manager = self._managers.get(name)
        if manager is not None:
            return manager
        with self._lock:
            if name not in self._managers:
                self._make(name)
            return self._managers[name]

    def replicated(self, name: str) -> ReplicatedDatabase | None:
        """A database with its replicas; None if it has none. Raises as manager() does."""
        if name not in self._managers and self.has_replicas(name):
            self.manager(name)
        return self._replicated.get(name)

    def has_replicas(self, name: str) -> bool:
        target = self._settings.targets.get(name)
        return target is not None and bool(target.replicas)

    def cluster(self) -> EmbeddedCluster:
        """The embedded default, started. Raises NotConfigured if another database serves."""
        if not self._settings.embedded:
            raise NotConfigured(
                "A connection string is set, so the embedded default is not in use."
            )
        with self._lock:
            if self._cluster is None:
                try:
                    cluster = EmbeddedCluster(
                        self._settings.local_dir / "postgresql",
                        prepare=deploy_and_fill,
                        fingerprint=fingerprint(*SCRIPTS, ROOT / "data"),
                        report=self._report,
                    )
                    cluster.start()
                except OSError as error:
                    raise unusable_local_dir(self._settings, error) from error
                self._clusters.append(cluster)
                cluster.watch()
                self._cluster = cluster
            return self._cluster

    def sources(self, *, with_place: bool) -> dict[str, str]:
        """Settings.source() of each reported database."""
        return {
            name: self._settings.source(name, with_place=with_place)
            for name in self.reported_names()
        }

    def pools(self) -> list[tuple[str, PoolStats]]:
        """The name and pool statistics of each manager made so far."""
        managers = {*self._managers.values()}
        for replicated in list(self._replicated.values()):
            managers |= {replica.manager for replica in replicated.replicas}
        return [(manager.name, manager.stats()) for manager in managers]

    def close(self, timeout: float = 0.0) -> None:
        """Close every manager, and stop using the embedded default. Idempotent.

        timeout: seconds to wait for connections that are in use.
        """
        for replicated in self._replicated.values():
            replicated.close(timeout)
        for manager in set(self._managers.values()):
            manager.close(timeout)
        self._closing()

    def _make(self, name: str) -> None:
        if self._settings.embedded and name in (EMBEDDED, *TARGETS):
            text = self.cluster().connection_string(role=API_ROLE)
            manager = self._connect(Target(EMBEDDED, "", text, "postgresql"))
            self._managers.update(dict.fromkeys((EMBEDDED, *TARGETS), manager))
            return
        target = self._settings.targets.get(name)
        if target is None:
            raise NotConfigured(
                f"No connection string for {name} is set: set {', '.join(variable_names(name))}"
                " (one of them)."
            )
        primary = self._connected(target)
        if target.replicas:
            self._replicated[name] = self._with_replicas(primary, target)
        self._managers[name] = primary

    def _with_replicas(self, primary: ConnectionManager, target: Target) -> ReplicatedDatabase:
        s = self._settings
        history = History(seconds=s.replica_max_lag_seconds, interval=PROBE_SECONDS)
        acquire = min(s.pool_acquire_timeout_seconds, REPLICA_ACQUIRE_SECONDS)
        login = min(s.login_timeout_seconds, REPLICA_LOGIN_SECONDS)
        replicas = [
            Replica(
                self._connected(
                    replica, retries=False, acquire_timeout=acquire, login_timeout=login
                ),
                place=replica.place,
                history=history,
                most_lag=s.replica_max_lag_seconds,
                observe=self._observe,
            )
            for replica in target.replicas
        ]
        return ReplicatedDatabase(
            primary,
            replicas,
            Watch(primary, replicas, history),
            wait_seconds=s.replica_wait_seconds,
            observe=self._observe,
        )

    def _connected(self, target: Target, **options: Any) -> ConnectionManager:
        try:
            return self._connect(target, **options)
        except (ConnectionStringError, DriverMissing) as error:
            raise type(error)(f"{target.variable}: {error}") from None

    def _connect(self, target: Target, **options: Any) -> ConnectionManager:
        s = self._settings
        given = {
            "login_timeout": s.login_timeout_seconds,
            "acquire_timeout": s.pool_acquire_timeout_seconds,
            **options,
        }
        return ConnectionManager(
            target.connection_string,
            family=target.driver_family,
            name=target.name,
            observe=self._observe,
            tokens=from_environment(
                s.identity, server=server_of(ConnectionString(target.connection_string))
            ),
            deadline_seconds=s.request_deadline_seconds,
            min_size=s.pool_min_size,
            max_size=s.pool_max_size,
            max_waiting=s.pool_max_waiting,
            max_lifetime=s.pool_max_lifetime_seconds,
            max_idle=s.pool_max_idle_seconds,
            leak_threshold=s.pool_leak_seconds or None,
            **given,
        )


def fingerprint(*folders: Path) -> str:
    """SHA-256 over names and contents; differs if the scripts or the sample have changed."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(f for f in folder.iterdir() if f.is_file()):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _close(
    managers: dict[str, ConnectionManager],
    replicated: dict[str, ReplicatedDatabase],
    clusters: list[EmbeddedCluster],
) -> None:
    for database in replicated.values():
        database.close()
    replicated.clear()
    for manager in set(managers.values()):
        manager.close()
    managers.clear()
    while clusters:
        clusters.pop().stop()
