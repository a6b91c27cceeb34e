"""Routes of catalog operations: which operation serves a path and method."""

from collections.abc import Iterable
from typing import NamedTuple

from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import Map, Rule

from catalog.operation import IN_BRACES, Operation


class Match(NamedTuple):
    """The operation of a request, and the texts of its path by parameter name."""

    operation: Operation
    path: dict[str, str]


class RouteTable:
    """Immutable; a changed catalog gets a new one."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        rules = [
            Rule(_rule(operation.route), endpoint=operation, methods=[operation.method])
            for operation in operations
        ]
        # A slash too many or a missing one is another path, as it is for Python resources.
        self._map = Map(rules, strict_slashes=False, merge_slashes=False)
        self._map.update()

    def match(self, path: str, method: str) -> Match:
        """Raises werkzeug's NotFound and MethodNotAllowed."""
        adapter = self._map.bind("")
        operation, texts = adapter.match(path, method="GET" if method == "HEAD" else method)
        return Match(operation, texts)

    def allowed(self, path: str) -> list[str]:
        """The methods of a path; none where it has no route."""
        try:
            self.match(path, "OPTIONS")
        except MethodNotAllowed as error:
            return sorted(error.valid_methods or ())
        except Exception:
            return []
        return []


def _rule(route: str) -> str:
    return IN_BRACES.sub(r"<\1>", route)
