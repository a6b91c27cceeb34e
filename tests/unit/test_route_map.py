"""The index of plain routes returns what Werkzeug's matcher returns, or leaves the path to it."""

import itertools
import random

import pytest
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, Rule

from operations.route_map import RouteMap
from testkit.routes import application

METHODS = ("GET", "HEAD", "POST", "DELETE", "BREW")
TEXTS = (
    *("a", "b", "c", "5", "05", "-5", "+5", "1_0", "5.0", "9" * 5000, "٣", "²", "é", "A", "a b"),
    *("", "a%2Fb", "a\nb", "5 "),
)


class Even(BaseConverter):
    regex = r"\d*[02468]"


def made(*rules: Rule, **options: bool) -> RouteMap:
    return RouteMap(rules, merge_slashes=False, converters={"even": Even}, **options)


def judged(routes: RouteMap, path: str, method: str) -> object:
    adapter = routes.bind("localhost")
    try:
        rule, values = adapter.match(path, method, return_rule=True)
    except HTTPException as error:
        return error
    return rule, dict(values)


def check(routes: RouteMap, paths: set[str]) -> int:
    """How many of the paths were found, each as Werkzeug finds it."""
    found = 0
    for path, method in itertools.product(sorted(paths), METHODS):
        answer, wanted = routes.find(path, method), judged(routes, path, method)
        if answer is not None:
            assert answer == wanted, (path, method)
            found += 1
        elif routes.lacks(path):
            assert isinstance(wanted, HTTPException), (path, method)
            assert wanted.code in (404, 405), (path, method)
    return found


def paths_of(*, most: int = 4) -> set[str]:
    chosen = random.Random(7)
    paths = {"/" + "/".join(texts) for n in (1, 2) for texts in itertools.product(TEXTS, repeat=n)}
    for size in range(3, most + 1):
        for _ in range(600):
            paths.add("/" + "/".join(chosen.choices(TEXTS[:6] + TEXTS[-3:], k=size)))
    return paths


def test_the_routes_of_the_sample_are_found_as_werkzeug_finds_them(tmp_path):
    with application(tmp_path) as app:
        routes = app.url_map
    bases = [rule.rule.partition("<")[0].rstrip("/") for rule in routes.iter_rules()]
    paths = {base + path for base in bases for path in ("/", *(f"/{t}" for t in TEXTS))}
    paths |= set(bases) - {""}
    assert check(routes, paths) > 100
    assert routes.index.complete


@pytest.mark.parametrize("strict", [True, False])
def test_overlapping_routes_are_found_as_werkzeug_finds_them(strict):
    routes = made(
        Rule("/a", endpoint=1, methods=["GET"]),
        Rule("/a/b", endpoint=2, methods=["GET"]),
        Rule("/a/<x>", endpoint=3, methods=["GET", "POST"]),
        Rule("/<x>/b", endpoint=4, methods=["GET", "DELETE"]),
        Rule("/<x>/<int:y>", endpoint=5, methods=["DELETE"]),
        Rule("/a/<x>/c", endpoint=6, methods=["POST"]),
        Rule("/<x>/<y>/c", endpoint=7, methods=["GET", "POST"]),
        Rule("/<x>/b/<z>", endpoint=8, methods=["GET"]),
        Rule("/a/<int:x>/<y>", endpoint=9, methods=["GET"]),
        Rule("/c", endpoint=3, methods=["GET"]),
        Rule("/c", endpoint=2, methods=["GET"]),
        Rule("/c/<y>", endpoint=4, methods=["GET"]),
        Rule("/c/<x>", endpoint=3, methods=["GET", "POST"]),
        strict_slashes=strict,
    )
    assert check(routes, paths_of()) > 100


@pytest.mark.parametrize(
    "odd",
    [
        Rule("/a/<path:rest>", endpoint=10, methods=["GET"]),
        Rule("/<path:rest>", endpoint=10, methods=["GET"]),
        Rule("/a/<even:x>", endpoint=10, methods=["GET"]),
        Rule("/a/<int:x>", endpoint=10, methods=["GET"]),
        Rule("/a/<int(max=5):x>", endpoint=10, methods=["GET"]),
        Rule("/a/<string(length=2):x>", endpoint=10, methods=["GET"]),
        Rule("/a/x<x>", endpoint=10, methods=["GET"]),
        Rule("/a/b/", endpoint=10, methods=["GET"]),
        Rule("/a/<x>/", endpoint=10, methods=["GET"]),
        Rule("/a/b", endpoint=10),
        Rule("/a/c", endpoint=10, methods=["GET"], redirect_to="/a"),
        Rule("/a/5", endpoint=3, methods=["GET"], defaults={"x": "5"}),
        Rule("/a/<x>", endpoint=10, methods=["GET"], websocket=True),
        Rule("/a/<x>", endpoint=10, methods=["GET"], subdomain="other"),
        Rule("/a/c", endpoint=10, methods=["GET"], build_only=True),
        Rule("/b/<x>", endpoint=3, methods=["GET"], alias=True),
        Rule("/a//b", endpoint=10, methods=["GET"]),
    ],
    ids=lambda rule: rule.rule,
)
@pytest.mark.parametrize("first", [True, False])
def test_an_unusual_route_is_left_to_werkzeug(odd, first):
    plain = [
        Rule("/a", endpoint=1, methods=["GET"]),
        Rule("/a/<x>", endpoint=3, methods=["GET"]),
        Rule("/c/<int:x>", endpoint=4, methods=["GET", "POST"]),
    ]
    rules = [odd.empty(), *plain] if first else [*plain, odd.empty()]
    check(made(*rules), paths_of(most=3))


def test_a_route_added_later_is_found():
    routes = made(Rule("/a", endpoint=1, methods=["GET"]))
    assert routes.find("/b", "GET") is None
    routes.add(Rule("/b", endpoint=2, methods=["GET"]))
    rule, values = routes.find("/b", "GET")
    assert (rule.endpoint, values) == (2, {})
