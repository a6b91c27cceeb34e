"""The convention: from a procedure's name and parameters to methods and a route.

| verb | method and route |
|---|---|
| get, list, search | GET /order/{OrderID}, or GET /orders without a key |
| create, put, post, insert, add | POST and PUT /order |
| replace | PUT /order/{OrderID} |
| update, patch | PATCH /order/{OrderID} |
| delete, remove | DELETE /order/{OrderID} |
| any other | POST /order/{OrderID}/approve |
| none | POST /recalculate |
"""

import re
from typing import NamedTuple

from catalog.procedure import Parameter, Procedure
from catalog.types import Kind

READ = frozenset({"get", "list", "search"})
COLLECTION = frozenset({"list", "search"})
CREATE = frozenset({"create", "put", "post", "insert", "add"})
REPLACE = frozenset({"replace"})
UPDATE = frozenset({"update", "patch"})
DELETE = frozenset({"delete", "remove"})
_SEGMENT = re.compile(r"[\w.~-]+")


class Place(NamedTuple):
    """Methods on a route; `problem` is why there is none, "" where there is."""

    methods: tuple[str, ...]
    route: str
    problem: str = ""


class Status(NamedTuple):
    """HTTP statuses: of success, of a result set without a row, and without a result set."""

    success: int
    no_row: int
    no_result: int


def verb_and_noun(name: str) -> tuple[str, str]:
    """("get", "order") of get_order, in lower case; the noun is "" without an underscore."""
    verb, _, noun = name.strip("_").lower().partition("_")
    return verb, noun.strip("_")


def place(procedure: Procedure) -> Place:
    """Where the convention puts a procedure."""
    verb, noun = verb_and_noun(procedure.name)
    if not all(_SEGMENT.fullmatch(part) for part in (verb, noun or verb)):
        return Place(
            (), "", f"its name {procedure.name!r} can't be part of a URL; add an @route line"
        )
    if not noun:
        return Place(("POST",), f"/{verb}")
    key = None if verb in COLLECTION else key_of(procedure, noun)
    item = f"/{noun}/{{{key.name}}}" if key else f"/{noun}"
    if verb in READ:
        return Place(("GET",), item)
    if verb in CREATE:
        return Place(("POST", "PUT"), f"/{noun}")
    for verbs, method in ((REPLACE, "PUT"), (UPDATE, "PATCH"), (DELETE, "DELETE")):
        if verb in verbs:
            return Place((method,), item)
    return Place(("POST",), f"{item}/{verb}")


def key_of(procedure: Procedure, noun: str) -> Parameter | None:
    """The parameter that identifies one `noun`: <Noun>ID, <Noun>_id, ID or <Noun>; not optional.

    A parameter of which the catalog can't tell whether it is required counts too, so that the
    route does not depend on a right to see the source.
    """
    plain = noun.replace("_", "").casefold()
    for wanted in (f"{plain}id", "id", plain):
        for parameter in procedure.inputs:
            name = parameter.folded.replace("_", "")
            is_one = parameter.type.kind not in (Kind.ARRAY, Kind.TABLE)
            if name == wanted and is_one and parameter.required is not False:
                return parameter
    return None


def status(method: str, route: str, verb: str) -> Status:
    """The statuses of a method on a route, whether by convention or by @route."""
    is_item = route.endswith("}")
    if method == "GET":
        return Status(200, 404, 404) if is_item else Status(200, 200, 200)
    if method in ("POST", "PUT") and verb in CREATE:
        return Status(201, 201, 201)
    if method in ("PUT", "PATCH", "DELETE") and is_item:
        return Status(200, 404, 204)
    return Status(200, 200, 204)


def operation_id(name: str) -> str:
    """getOrder of get_order, getOrderLines of Get_order_lines."""
    words = [word for word in re.split(r"\W+|_", name) if word] or ["call"]
    first, *rest = words
    first = first.lower() if first.isupper() else first[0].lower() + first[1:]
    return first + "".join(word[0].upper() + word[1:] for word in rest)
