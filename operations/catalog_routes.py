"""Routes of catalog operations: which operation serves a path and method."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import Rule

from catalog.live import LiveCatalog, Source
from catalog.operation import Operation
from catalog.operations import Catalog
from catalog.statements import key_table_usable
from database.deadline import Deadline
from database.errors import Unavailable
from database.statement import Statement
from databases import Databases
from operations.route_map import RouteMap

# The endpoint of the routes that come from a catalog.
PROCEDURES = "procedures"
# The name of catalog queries in logs and metrics.
CATALOG = "catalog"
# Longest time for one catalog query: a start does not wait longer for a database that is down.
QUERY_SECONDS = 10.0
# A request waits so long for a catalog that is being read for the first time.
FIRST_READ_SECONDS = 2.0
# A request for an unknown path waits so long for a catalog that is being read again, because its
# procedure may have been created a moment ago.
NEXT_READ_SECONDS = 1.0


class Match(NamedTuple):
    """The operation of a request, and the texts of its path by parameter name; or why there is
    none, to be raised once the caller is known to be authorized."""

    operation: Operation | None = None
    path: Mapping[str, str] = {}
    failure: Exception | None = None

    @property
    def route(self) -> str | None:
        return self.operation.route if self.operation else None


class _Routes:
    """Werkzeug's routing of `operations`."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        # By number: Werkzeug keeps dictionaries by endpoint, and the hash of an operation is that
        # of all its parameters.
        rules = [
            Rule(o.rule, endpoint=number, methods=[o.method]) for number, o in enumerate(operations)
        ]
        self._map = RouteMap(
            rules, strict_slashes=False, merge_slashes=False, redirect_defaults=False
        )
        # Now, and not at the first request.
        self._map.update()
        self._map.index  # noqa: B018
        self._adapter = self._map.bind("")

    def find(self, path: str, method: str) -> tuple[Operation, Mapping[str, str]] | None:
        """As match(); None where Werkzeug must decide."""
        found = self._map.find(path, method)
        return None if found is None else (self._operations[found[0].endpoint], found[1])

    def match(self, path: str, method: str) -> tuple[Operation, Mapping[str, str]]:
        """The operation, and the values of its rule. Raises MethodNotAllowed and NotFound."""
        number, texts = self._adapter.match(path, method=method)
        return self._operations[number], texts


class CatalogRoutes:
    """The live catalog, and the routes that it makes; none before start().

    taken: the shapes of routes (Operation.shape) that Python resources serve, with their names.
    """

    def __init__(self, *, taken: Mapping[tuple[str, str], str]) -> None:
        self._routes = _Routes(())
        self._taken = taken
        self.live = LiveCatalog(taken=taken, seconds=math.inf, changed=self._changed)

    def start(self, databases: Databases, *, seconds: float) -> None:
        """Read the catalogs of `databases`, and again every `seconds`. Raises RouteConflict."""
        sources = [
            _source(databases, name, schemas)
            for name in databases.names()
            if (schemas := databases.schemas_of(name))
        ]
        self.live = LiveCatalog(sources, taken=self._taken, seconds=seconds, changed=self._changed)
        self.live.start()

    def close(self) -> None:
        self.live.close()

    @property
    def routes(self) -> set[str]:
        """The routes of all operations, such as /order/{OrderID}."""
        return {operation.route for operation in self.live.current.operations}

    def match_after_read(self, path: str, method: str) -> Match:
        """match(), after a due read of the catalog, for which it waits a moment."""
        self.live.touch()
        self.live.wait_until_read(FIRST_READ_SECONDS)
        self.live.wait_until_up_to_date(NEXT_READ_SECONDS)
        return self.match(path, method)

    def find(self, path: str, method: str) -> Match | None:
        """As match(), for a plain path that has an operation; else None."""
        found = self._routes.find(path, "GET" if method == "HEAD" else method)
        if found is None:
            return None
        operation, texts = found
        return Match(operation, operation.path_texts(texts))

    def match(self, path: str, method: str) -> Match:
        """failure: werkzeug's NotFound or MethodNotAllowed, Unavailable before the first read."""
        try:
            method = "GET" if method == "HEAD" else method
            operation, texts = self._routes.match(path, method)
        except MethodNotAllowed as failure:
            return Match(failure=MethodNotAllowed(self._with_options(failure)))
        except HTTPException as failure:
            unread = self.live.unread
            if unread and isinstance(failure, NotFound):
                return Match(failure=Unavailable(f"The catalog of {unread[0]} was never read."))
            return Match(failure=failure)
        return Match(operation, operation.path_texts(texts))

    def allowed(self, path: str) -> list[str]:
        """The methods of a path; none where it has no route."""
        try:
            self._routes.match(path, "OPTIONS")
        except MethodNotAllowed as error:
            return self._with_options(error)
        except NotFound:
            pass
        return []

    @staticmethod
    def _with_options(error: MethodNotAllowed) -> list[str]:
        return sorted({*(error.valid_methods or ()), "OPTIONS"})

    def _changed(self, catalog: Catalog) -> None:
        self._routes = _Routes(catalog.operations)


def _source(databases: Databases, name: str, schemas: tuple[str, ...]) -> Source:
    manager = databases.manager(name)

    def query(sql: str, *values: Any) -> list[Any]:
        statement = Statement(sql, values)
        deadline = Deadline(QUERY_SECONDS)
        return manager.execute_once(CATALOG, statement, deadline=deadline)[0].rows

    def keyed() -> bool:
        return bool(query(key_table_usable(manager.engine))[0][0])

    return Source(name, schemas, query, lambda: manager.engine, keyed)
