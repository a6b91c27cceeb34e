"""An operation: one method of one route. Documents, tools and clients are made from these."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from catalog.procedure import Parameter, Procedure

IN_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Operation:
    """`method` on `route`, such as GET on /order/{OrderID}.

    procedure: the procedure that it calls; None for a Python resource, whose parameters are
    described here all the same.
    path, query, body: parameters by their place in a request; `path` is in the route's order.
    document: the one parameter that takes path, query and body together as one JSON document.
    status: of success. no_row: when a result set has no row; no_result: without a result set.
    location: the path of the operation that reads what this one made, where it has one.
    reads: safe to repeat without a key. exactly_once: an Idempotency-Key is kept; else `why_not`
    says in one sentence why it isn't, for a write.
    """

    method: str
    route: str
    operation_id: str
    procedure: Procedure | None = None
    path: tuple[Parameter, ...] = ()
    query: tuple[Parameter, ...] = ()
    body: tuple[Parameter, ...] = ()
    document: Parameter | None = None
    status: int = 200
    no_row: int = 200
    no_result: int = 204
    location: str = ""
    reads: bool = False
    exactly_once: bool = False
    why_not: str = ""
    summary: str = ""
    description: str = ""

    @property
    def called(self) -> Procedure:
        """The procedure of an operation that comes from a catalog."""
        assert self.procedure is not None
        return self.procedure

    @property
    def shape(self) -> tuple[str, str]:
        """Method and route without parameter names; no two operations share them."""
        return self.method, shape_of(self.route)

    @property
    def parameters(self) -> tuple[tuple[str, Parameter], ...]:
        """(place, parameter) of each, where place is path, query or body."""
        places = (("path", self.path), ("query", self.query), ("body", self.body))
        return tuple((place, p) for place, found in places for p in found)

    @property
    def rule(self) -> str:
        """The route for Werkzeug, whose own names are ASCII: /order/<p0>."""
        number = itertools.count()
        return IN_BRACES.sub(lambda _: f"<p{next(number)}>", self.route)

    def path_texts(self, arguments: Mapping[str, str]) -> dict[str, str]:
        """The texts of a matched `rule` by the parameters' names, as bind() takes them."""
        return {p.name: arguments[f"p{number}"] for number, p in enumerate(self.path)}

    @property
    def idempotent(self) -> bool:
        return self.reads or self.exactly_once


@dataclass(frozen=True)
class Refusal:
    """A candidate that has no route, and the one sentence that says why."""

    procedure: Procedure
    reason: str


def object_schema(parameters: Iterable[Parameter], *, nullable: bool = True) -> dict[str, Any]:
    """The JSON Schema of an object with `parameters`, of a body or of a tool's arguments."""
    listed = tuple(parameters)
    described = ((p, {"description": p.description} if p.description else {}) for p in listed)
    return {
        "type": "object",
        "properties": {p.name: p.type.json_schema(nullable=nullable) | d for p, d in described},
        "required": [p.name for p in listed if p.required],
        "additionalProperties": False,
    }


def shape_of(route: str) -> str:
    """`/order/{}` for `/order/{OrderID}` and for Flask's `/order/<int:order_id>`."""
    return re.sub(r"<[^<>]*>", "{}", IN_BRACES.sub("{}", route)).rstrip("/").lower() or "/"
