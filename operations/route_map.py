"""A map of routes that finds a plain path by looking its text up.

Werkzeug's matcher stays the authority. find() returns what it would return, and nothing for a path
that it has to judge: a redirect, a method that is not allowed, a rule with an unusual converter.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from werkzeug.routing import IntegerConverter, Map, Rule, RuleFactory, UnicodeConverter

# A segment that is one variable: <name> or <int:name>.
VARIABLE = re.compile(r"<(?:(int|string|default):)?([^<>:()]+)>")
CONVERTERS = {"int": IntegerConverter, "string": UnicodeConverter, "default": UnicodeConverter}


class Route(NamedTuple):
    """A plain rule. key: its path, with an empty text in each place of a variable.

    size: the number of segments. variables: (place, name, whether it is a number) of each.
    """

    rule: Rule
    key: str
    size: int
    variables: tuple[tuple[int, str, bool], ...]

    def values(self, segments: Sequence[str]) -> dict[str, Any] | None:
        """The values of the variables; None if a text has not the form of its variable.

        Raises ValueError for a number of thousands of digits.
        """
        values: dict[str, Any] = {}
        for place, name, is_number in self.variables:
            text = segments[place]
            if not text or (is_number and not text.isdecimal()):
                return None
            values[name] = int(text) if is_number else text
        return values


Methods = dict[str, Route | None]  # None: several routes, of which Werkzeug chooses
# The places of the variables, and the routes with these places by key.
Table = tuple[tuple[int, ...], dict[str, Methods]]


class Index:
    """The plain routes of a map.

    by_path: those without variables. by_size: those with variables, by the number of segments, in
    the order in which Werkzeug prefers them. complete: whether these are all routes of the map.
    """

    def __init__(self, source: Map) -> None:
        self.by_path: dict[str, Methods] = {}
        self.by_size: dict[int, list[Table]] = {}
        self.complete = True
        found = [(rule, _plain(rule, source)) for rule in source.iter_rules()]
        others = [rule for rule, route in found if route is None]
        for _, route in found:
            if route is None or any(_may_meet(route, other) for other in others):
                self.complete = False
            else:
                self._add(route)
        for size, tables in self.by_size.items():
            # Text before a variable, from the left.
            tables.sort(key=lambda table: [n in table[0] for n in range(size)])

    def _add(self, route: Route) -> None:
        methods = self._table(route).setdefault(route.key, {})
        for method in route.rule.methods or ():
            if methods.setdefault(method, route) is not route:
                methods[method] = None
                self.complete = False

    def _table(self, route: Route) -> dict[str, Methods]:
        if not route.variables:
            return self.by_path
        tables = self.by_size.setdefault(route.size, [])
        places = tuple(place for place, _, _ in route.variables)
        for known, table in tables:
            if known == places:
                return table
        tables.append((places, {}))
        return tables[-1][1]


class RouteMap(Map):
    """Werkzeug's map, with an index of its plain routes."""

    _index: Index | None = None

    def add(self, rulefactory: RuleFactory) -> None:
        super().add(rulefactory)
        self._index = None

    @property
    def index(self) -> Index:
        index = self._index
        if index is None:
            index = self._index = Index(self)
        return index

    def find(self, path: str, method: str) -> tuple[Rule, dict[str, Any]] | None:
        """The rule and its values, as MapAdapter.match() returns them; None if it must decide."""
        index = self._index or self.index
        methods = index.by_path.get(path)
        if methods is not None and method in methods:
            route = methods[method]
            return None if route is None else (route.rule, {})
        segments = path.split("/")
        for places, table in index.by_size.get(len(segments), ()):
            key = segments.copy()
            for place in places:
                key[place] = ""
            methods = table.get("/".join(key))
            if methods is None or method not in methods:
                continue
            route = methods[method]
            if route is None:
                return None
            try:
                values = route.values(segments)
            except ValueError:
                return None
            if values is not None:
                return route.rule, values
        return None

    def lacks(self, path: str) -> bool:
        """Whether a path for which find() has returned None has no route of this map."""
        return self.index.complete and not path.endswith("/") and "//" not in path


def _plain(rule: Rule, source: Map) -> Route | None:
    """The route of a rule that needs nothing but comparing texts; None for any other."""
    unusual = (
        *(rule.methods is None, rule.host, rule.subdomain, rule.websocket, rule.build_only),
        *(rule.redirect_to, rule.alias, "//" in rule.rule),
        rule.rule.endswith("/") and rule.rule != "/",
        any(other.defaults for other in source.iter_rules(rule.endpoint)),
    )
    if any(unusual):
        return None
    segments = rule.rule.split("/")
    variables = []
    for place, segment in enumerate(segments):
        if "<" in segment:
            found = VARIABLE.fullmatch(segment)
            kind = (found[1] or "default") if found else ""
            if found is None or source.converters.get(kind) is not CONVERTERS[kind]:
                return None
            variables.append((place, found[2], kind == "int"))
            segments[place] = ""
    return Route(rule, "/".join(segments), len(segments), tuple(variables))


def _may_meet(route: Route, other: Rule) -> bool:
    """Whether `other`, which is not plain, could serve a path of `route`."""
    text, variable, _ = other.rule.partition("<")
    if not route.variables:
        # Werkzeug prefers text to variables.
        return not variable and text.rstrip("/") == route.rule.rule.rstrip("/")
    places = [place for place, _, _ in route.variables]
    # The last one is the beginning of a segment.
    pairs = zip(route.key.split("/"), text.split("/")[:-1], strict=False)
    return all(n in places or mine == its for n, (mine, its) in enumerate(pairs))
