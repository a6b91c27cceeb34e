"""The operations of every database, kept up to date while requests are served.

A new map is built aside and swapped in; when a catalog can't be read, the old map stays.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from catalog import CatalogError, Query
from catalog.discovery import reader_of
from catalog.operations import Catalog, build
from catalog.procedure import Procedure

log = logging.getLogger(__name__)
# An update that a failed call asks for is not started more often than this.
LEAST_SECONDS = 0.2


class Source(NamedTuple):
    """One database to read. engine: called after the first query; keyed: whether the key table is
    deployed. query, engine and keyed raise what the connection manager raises."""

    name: str
    schemas: Sequence[str]
    query: Query
    engine: Callable[[], str]
    keyed: Callable[[], bool]


class LiveCatalog:
    """The catalog of `sources`, polled every `seconds` from a daemon thread after start().

    taken: as in catalog.operations.build. changed: called with each new Catalog, before it is
    visible as `current`. Raises RouteConflict from read() at start; later it is logged.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        taken: Mapping[tuple[str, str], str],
        seconds: float,
        changed: Callable[[Catalog], None],
    ) -> None:
        self._sources = sources
        self._taken = taken
        self._seconds = seconds
        self._changed = changed
        self._lock = threading.Lock()
        self._states: dict[str, str] = {}
        self._procedures: dict[str, list[Procedure]] = {}
        self._keyed: set[str] = set()
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._read_at = 0.0
        self.current = Catalog()
        self.failures: dict[str, str] = {}

    @property
    def unread(self) -> list[str]:
        """The databases whose catalog has never been read."""
        return [s.name for s in self._sources if s.name not in self._procedures]

    def start(self) -> None:
        """Read now, and poll from now on. Raises RouteConflict; a database that can't be reached
        is read later."""
        self.refresh(strict=True)
        if self._sources and self._thread is None:
            self._thread = threading.Thread(target=self._poll, name="catalog", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    def refresh(self, *, strict: bool = False) -> bool:
        """Read what has changed; whether anything had. strict: raise RouteConflict."""
        with self._lock:
            self._read_at = time.monotonic()
            changed = [self._read(source) for source in self._sources]
            if not any(changed):
                return False
            try:
                made = build(
                    [p for found in self._procedures.values() for p in found],
                    taken=self._taken,
                    keyed=self._keyed,
                )
            except CatalogError as error:
                if strict:
                    raise
                log.error("the new catalog is not served: %s", error)
                return False
            self._changed(made)
            self.current = made
            return True

    def refresh_after_failure(self) -> bool:
        """refresh(), unless another request has just done it; then whether it may have helped."""
        if time.monotonic() - self._read_at < LEAST_SECONDS:
            return True
        return self.refresh()

    def _read(self, source: Source) -> bool:
        """Whether the database's catalog has changed since the last time it could be read."""
        try:
            keyed = source.keyed()
            reader = reader_of(source.engine(), source.name, source.schemas)
            state = f"{keyed} {reader.changes(source.query)}"
            if self._states.get(source.name) == state:
                return False
            self._procedures[source.name] = reader.read(source.query)
        except Exception as error:
            if self.failures.get(source.name) != str(error):
                log.warning("the catalog of %s can't be read: %s", source.name, error)
            self.failures[source.name] = str(error)
            return False
        self.failures.pop(source.name, None)
        self._states[source.name] = state
        (self._keyed.add if keyed else self._keyed.discard)(source.name)
        return True

    def _poll(self) -> None:
        while not self._closed:
            self._wake.wait(self._seconds)
            if self._closed:
                return
            try:
                self.refresh()
            except Exception:
                log.exception("the catalog could not be updated")
