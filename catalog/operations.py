"""From procedures to operations: routes, parameters by place, conflicts, and reasons for none."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from catalog import CatalogError, convention
from catalog.operation import IN_BRACES, Operation, Refusal
from catalog.procedure import Parameter, Procedure
from catalog.types import BIGINT_MAX, Kind, ParameterType

WITHOUT_BODY = ("GET", "DELETE")
TEXT = ParameterType("nvarchar(max)", Kind.TEXT)
BIGINT = ParameterType("bigint", Kind.INTEGER, -BIGINT_MAX - 1, BIGINT_MAX)


class RouteConflict(CatalogError):
    """Two procedures have one route; the message names both."""


@dataclass(frozen=True)
class Catalog:
    """The operations of a set of databases in the order of routes, and the refused procedures."""

    operations: tuple[Operation, ...] = ()
    refusals: tuple[Refusal, ...] = ()


class _NotExposed(Exception):
    """The reason why a procedure has no route, without a final stop."""


def build(
    procedures: Iterable[Procedure],
    *,
    taken: Mapping[tuple[str, str], str] | None = None,
    keyed: Collection[str] | None = None,
) -> Catalog:
    """The operations of `procedures`.

    taken: the shapes (Operation.shape) that Python resources have, and the name of each.
    keyed: the databases whose key table is deployed; None: all.
    Raises RouteConflict.
    """
    made: dict[tuple[str, str], Operation] = {}
    refusals = []
    for procedure in sorted(procedures, key=lambda p: (p.database, p.schema, p.name)):
        try:
            found = [*_operations(procedure, taken or {}, keyed)]
        except _NotExposed as reason:
            refusals.append(Refusal(procedure, f"{reason}."))
            continue
        for operation in found:
            other = made.setdefault(operation.shape, operation)
            if other is not operation:
                raise RouteConflict(_conflict(other, operation))
    ordered = sorted(made.values(), key=lambda o: (o.route.lower(), o.method))
    return Catalog(tuple(_located(_with_unique_ids(ordered))), tuple(refusals))


def _operations(
    procedure: Procedure,
    taken: Mapping[tuple[str, str], str],
    keyed: Collection[str] | None,
) -> Iterator[Operation]:
    _refuse_unless_callable(procedure)
    document = document_of(procedure)
    if document is None:
        names = [parameter.folded for parameter in procedure.parameters]
        if len(set(names)) < len(names):
            raise _NotExposed("two of its parameters have names that differ in case only")
        for parameter in procedure.parameters:
            if not parameter.type.supported:
                raise _NotExposed(
                    f"{parameter.name or 'an unnamed parameter'} has the type"
                    f" {parameter.type.sql}, which no JSON value stands for"
                )
    verb, _ = convention.verb_and_noun(procedure.name)
    places = procedure.tags.routes
    if not places:
        place = convention.place(procedure)
        if place.problem:
            raise _NotExposed(place.problem)
        places = tuple((method, place.route) for method in place.methods)
    # put_order names its PUT, create_order its POST; any other place is named after its route.
    first = next((place for place in places if place[0].lower() == verb), places[0])
    for method, route in places:
        operation = _operation(procedure, method, route, document, verb)
        if operation.shape in taken:
            raise _NotExposed(
                f"{method} {operation.route} is served by {taken[operation.shape]},"
                " a Python resource, which comes first"
            )
        is_first = (method, route) == first
        name = procedure.name if is_first else f"{method.lower()}{IN_BRACES.sub('', route)}"
        named = replace(operation, operation_id=convention.operation_id(name))
        yield _repetition(procedure, named, keyed)


def _refuse_unless_callable(procedure: Procedure) -> None:
    if procedure.tags.private:
        raise _NotExposed("it is marked @private")
    if procedure.reason:
        raise _NotExposed(procedure.reason)
    if procedure.tags.faults:
        raise _NotExposed(procedure.tags.faults[0].rstrip("."))
    if not procedure.allowed:
        raise _NotExposed("the API's login may not execute it; grant EXECUTE")


def _operation(
    procedure: Procedure, method: str, route: str, document: Parameter | None, verb: str
) -> Operation:
    path, route = _path(procedure, route, document)
    statuses = convention.status(method, route, verb)
    rest = () if document else tuple(p for p in procedure.inputs if p not in path)
    in_query = method in WITHOUT_BODY
    for parameter in rest if in_query else ():
        if parameter.type.kind is Kind.TABLE:
            raise _NotExposed(
                f"{parameter.name} is a table, which {method} {route} has no body for;"
                " add an @route line with POST"
            )
    return Operation(
        method=method,
        route=route,
        operation_id="",
        procedure=procedure,
        path=path,
        query=rest if in_query else (),
        body=() if in_query else rest,
        document=document,
        status=statuses.success,
        no_row=statuses.no_row,
        no_result=statuses.no_result,
        summary=procedure.summary,
        description=procedure.description,
    )


def _path(
    procedure: Procedure, route: str, document: Parameter | None
) -> tuple[tuple[Parameter, ...], str]:
    """The parameters in the braces of a route, and the route with their declared names."""
    known = {p.folded: p for p in procedure.inputs}
    found: list[Parameter] = []
    for written in IN_BRACES.findall(route):
        name, _, kind = written.partition(":")
        parameter: Parameter | None
        if document is not None and kind in ("", "int"):
            parameter = Parameter(name, BIGINT if kind else TEXT)
        else:
            parameter = known.get(written.casefold())
        if not name or parameter is None or parameter in found:
            names = ", ".join(p.name for p in procedure.inputs) or "none"
            raise _NotExposed(f"the route {route} names {{{written}}}; its parameters: {names}")
        if parameter.type.kind in (Kind.ARRAY, Kind.TABLE):
            raise _NotExposed(f"{parameter.name} in the route {route} holds more than one value")
        found.append(parameter)
    texts = iter(found)
    # A path's part is there, or the route is another.
    required = tuple(replace(p, required=True) for p in found)
    return required, IN_BRACES.sub(lambda _: f"{{{next(texts).name}}}", route)


def document_of(procedure: Procedure) -> Parameter | None:
    """The one parameter that takes the whole request as a JSON document; None for typed ones.

    `@Json nvarchar(max)`; on PostgreSQL one json or jsonb, or one text named json or p_json.
    """
    if len(procedure.inputs) != 1:
        return None
    (only,) = procedure.inputs
    name = only.folded.strip("_").removeprefix("p_")
    if only.type.kind is Kind.JSON:
        return only if procedure.engine == "postgresql" or name == "json" else None
    is_long_text = only.type.kind is Kind.TEXT and only.type.length is None
    return only if is_long_text and name in ("json", "") else None


def _repetition(
    procedure: Procedure, operation: Operation, keyed: Collection[str] | None
) -> Operation:
    """`operation` with its `reads`, `exactly_once` and `why_not`."""
    if operation.method == "GET" or procedure.reads:
        return replace(operation, reads=True)
    if procedure.tags.nontransactional:
        why = "It is marked @nontransactional: it is never repeated after it may have run."
    elif keyed is not None and procedure.database not in keyed:
        why = (
            f"{procedure.database} lacks the key table:"
            f" flask sql deploy --target {procedure.database} --keys makes it."
        )
    else:
        return replace(operation, exactly_once=True)
    return replace(operation, why_not=why)


def _conflict(first: Operation, second: Operation) -> str:
    names = [f"{o.called.qualified} of {o.called.database}" for o in (first, second)]
    remedy = "give one of them an @route line of its own, or mark it @private"
    if first.called.qualified == second.called.qualified:
        schema = f"{first.called.database}:{first.called.schema}"
        remedy = f"limit the schema to one of them by EXPOSED_SCHEMAS={schema}"
    return f"{first.method} {first.route} is the route of {names[0]} and of {names[1]}: {remedy}."


def _with_unique_ids(operations: list[Operation]) -> list[Operation]:
    """Each with an operation_id that no other has: the schema, then a number, is added."""
    found: dict[str, Operation] = {}
    for operation in operations:
        name = operation.operation_id
        if name in found:
            procedure = operation.called
            name = convention.operation_id(f"{procedure.database}_{procedure.schema}_{name}")
        number = 2
        unique = name
        while unique in found:
            unique = f"{name}{number}"
            number += 1
        found[unique] = replace(operation, operation_id=unique)
    return [*found.values()]


def _located(operations: list[Operation]) -> Iterator[Operation]:
    """Creating operations get the route that reads one item of theirs, where there is one."""
    items = {
        o.route.rpartition("/")[0]: o.route
        for o in operations
        if o.no_row == 404 and o.method == "GET" and o.route.count("{") == 1
    }
    for operation in operations:
        route = items.get(operation.route) if operation.status == 201 else None
        yield replace(operation, location=route) if route else operation
