"""The operations of every database, kept up to date while requests are served.

A new map is built aside and swapped in; when a catalog can't be read, the old map stays. Only
requests for catalog routes cause reads, so that a serverless database without requests may pause.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from catalog import CatalogError, Query
from catalog.discovery import reader_of
from catalog.operations import Catalog, build
from catalog.procedure import Procedure

log = logging.getLogger(__name__)
# A start waits so long for the first read; a database that is slower is read in the background.
START_SECONDS = 5.0
# A failed call causes no read when the last one ended so recently.
RECENT_SECONDS = 0.2


class Source(NamedTuple):
    """One database to read.

    query, engine and keyed connect, and raise what the connection manager raises. engine is called
    after the first query; keyed: whether the key table is deployed.
    """

    name: str
    schemas: Sequence[str]
    query: Query
    engine: Callable[[], str]
    keyed: Callable[[], bool]


class LiveCatalog:
    """The catalog of `sources`, read again when it is older than `seconds` and in use.

    taken: as in catalog.operations.build. changed: called with each new Catalog, before it is
    visible as `current`.
    """

    def __init__(
        self,
        sources: Sequence[Source] = (),
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
        self._wanted = threading.Event()
        self._read_once = threading.Event()
        self._up_to_date = threading.Event()
        self._up_to_date.set()
        self._conflict: CatalogError | None = None
        self._closed = False
        self._read_at = float("-inf")
        self.current = Catalog()
        self.failures: dict[str, str] = {}

    @property
    def unread(self) -> list[str]:
        """The databases whose catalog has never been read."""
        return [s.name for s in self._sources if s.name not in self._procedures]

    def start(self) -> None:
        """Begin to read in a daemon thread, and wait up to START_SECONDS for the first read.

        Raises RouteConflict when it is known by then; later it is logged, and the old map stays.
        """
        if not self._sources:
            return
        self._wanted.set()
        weakref.finalize(self, self._wanted.set)
        threading.Thread(
            target=_keep_reading,
            args=(weakref.ref(self), self._wanted),
            name="catalog",
            daemon=True,
        ).start()
        self._read_once.wait(START_SECONDS)
        if self._conflict is not None:
            self.close()
            raise self._conflict

    def close(self) -> None:
        """End the thread. Safe to call twice."""
        self._closed = True
        self._wanted.set()

    def touch(self) -> None:
        """A request is about to use the catalog: read it in the background if it is old."""
        if self._sources and time.monotonic() - self._read_at >= self._seconds:
            self._up_to_date.clear()  # first, so that the read that follows sets it
            self._wanted.set()

    def wait_until_read(self, seconds: float) -> None:
        """Wait for the first read, if it has not ended."""
        if self._sources:
            self._read_once.wait(seconds)

    def wait_until_up_to_date(self, seconds: float) -> None:
        """Wait for the read that touch() began, if any."""
        self._up_to_date.wait(seconds)

    def refresh_after_failure(self) -> bool:
        """Read now, unless that has just been done; whether the catalog may be another one."""
        if time.monotonic() - self._read_at < RECENT_SECONDS:
            return True
        return self.refresh()

    def refresh(self) -> bool:
        """Read the catalogs that have changed; whether the operations may differ now."""
        with self._lock:
            changed = [self._read(source) for source in self._sources]
            self._read_at = time.monotonic()
            if not any(changed):
                return False
            try:
                made = build(
                    [p for found in self._procedures.values() for p in found],
                    taken=self._taken,
                    keyed=self._keyed,
                )
            except CatalogError as error:
                self._conflict = error
                log.error("the new catalog is not served: %s", error)
                return False
            self._conflict = None
            self._changed(made)
            self.current = made
            return True

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
            if self._closed:
                return False
            if self.failures.get(source.name) != str(error):
                log.warning("the catalog of %s can't be read: %s", source.name, error)
            self.failures[source.name] = str(error)
            return False
        self.failures.pop(source.name, None)
        self._states[source.name] = state
        (self._keyed.add if keyed else self._keyed.discard)(source.name)
        return True

    def _refresh_in_background(self) -> bool:
        """Whether there may be another time."""
        if self._closed:
            return False
        self._wanted.clear()
        try:
            self.refresh()
        except Exception:
            log.exception("the catalog could not be updated")
        self._read_once.set()
        self._up_to_date.set()
        return True


def _keep_reading(reference: weakref.ref[LiveCatalog], wanted: threading.Event) -> None:
    """Refresh whenever it is wanted. A waiting thread does not keep the catalog alive."""
    while wanted.wait() and (live := reference()) is not None and live._refresh_in_background():
        del live
