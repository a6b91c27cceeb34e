"""A request's values as a procedure's parameters: all of them, or every fault at once."""

from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from catalog.operation import Operation
from catalog.procedure import Parameter
from catalog.values import ValueFault, from_json, from_text, written

MOST_FAULTS = 20
# The body of a request that has none, which is not the same as null.
NO_BODY: Any = object()


class Fault(NamedTuple):
    """One mistake: place is path, query or body; name as the client wrote it, "" for the whole."""

    place: str
    name: str
    sentence: str


class Binding(NamedTuple):
    """values: by the declared name of each parameter that was given, in the declared order; not to
    be used where there are faults, at most MOST_FAULTS of them."""

    values: dict[str, Any]
    faults: tuple[Fault, ...] = ()


def bind(
    operation: Operation,
    path: Mapping[str, str],
    query: Iterable[tuple[str, str]] = (),
    body: Any = NO_BODY,
) -> Binding:
    """Bind a request to the parameters of `operation`.

    path: the texts by the names in the route; query: (name, text) in order, decoded; body: as
    json.loads made it, NO_BODY for none. What is left out stays out, for the database's default.
    """
    if operation.document is not None:
        return _document(operation, path, query, body)
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    texts = {name: [text] for name, text in path.items()}
    _read_texts("path", operation.path, texts, values, faults)
    by_name: dict[str, list[str]] = {}
    for name, text in query:
        by_name.setdefault(name, []).append(text)
    _read_texts("query", operation.query, by_name, values, faults)
    _read_body(operation.body, body, values, faults)
    procedure = operation.procedure
    declared = procedure.inputs if procedure else [p for _, p in operation.parameters]
    ordered = {p.name: values[p.folded] for p in declared if p.folded in values}
    return Binding(ordered, tuple(faults[:MOST_FAULTS]))


def _read_texts(
    place: str,
    parameters: tuple[Parameter, ...],
    given: Mapping[str, list[str]],
    values: dict[str, Any],
    faults: list[Fault],
) -> None:
    if not parameters and not given:
        return
    known = _known(place, parameters, given, faults)
    for name, parameter in known:
        try:
            values[parameter.folded] = from_text(parameter.type, given[name])
        except ValueFault as fault:
            faults.append(Fault(place, name, f"{name} {fault}."))
    if len(known) < len(parameters):
        _missing(place, parameters, given, faults)


def _read_body(
    parameters: tuple[Parameter, ...], body: Any, values: dict[str, Any], faults: list[Fault]
) -> None:
    given = {} if body is NO_BODY else body
    if not isinstance(given, dict):
        faults.append(Fault("body", "", "The body must be a JSON object."))
        return
    if not parameters and not given:
        return
    known = _known("body", parameters, given, faults)
    for name, parameter in known:
        try:
            values[parameter.folded] = from_json(parameter.type, given[name])
        except ValueFault as fault:
            faults.append(Fault("body", name, f"{name} {fault}."))
    if len(known) < len(parameters):
        _missing("body", parameters, given, faults)


def _known(
    place: str, parameters: tuple[Parameter, ...], given: Iterable[str], faults: list[Fault]
) -> list[tuple[str, Parameter]]:
    """(name, parameter) of each name that is known; a fault for each that isn't, or is twice."""
    by_name = {parameter.folded: parameter for parameter in parameters}
    folded = [name.casefold() for name in given]
    # Counter's constructor is slow, and few requests give a name in two spellings.
    times: Mapping[str, int] = Counter(folded) if len(set(folded)) < len(folded) else {}
    found = []
    for name, key in zip(given, folded, strict=True):
        parameter = by_name.get(key)
        if parameter is None:
            faults.append(Fault(place, name, _unknown(name, parameters)))
        elif times and times[key] > 1:
            faults.append(Fault(place, name, f"{name} is given {times[key]} times."))
        else:
            found.append((name, parameter))
    return found


def _missing(
    place: str, parameters: tuple[Parameter, ...], given: Iterable[str], faults: list[Fault]
) -> None:
    names = {name.casefold() for name in given}
    for parameter in parameters:
        if parameter.required and parameter.folded not in names:
            faults.append(Fault(place, parameter.name, f"{parameter.name} is required."))


def _unknown(name: str, parameters: tuple[Parameter, ...]) -> str:
    shown = name if len(name) <= 40 else f"{name[:40]}…"
    known = {parameter.folded: parameter.name for parameter in parameters}
    near = get_close_matches(name.casefold()[:128], known, n=1)
    if near:
        return f"{shown} is unknown; {known[near[0]]} is known."
    names = ", ".join(sorted(known.values())) or "none"
    return f"{shown} is unknown; known: {names}."


def _document(
    operation: Operation, path: Mapping[str, str], query: Iterable[tuple[str, str]], body: Any
) -> Binding:
    """Path, query and body as one JSON document; the path wins over the rest."""
    document = operation.document
    assert document is not None
    faults: list[Fault] = []
    read: dict[str, Any] = {}
    _read_texts("path", operation.path, {k: [text] for k, text in path.items()}, read, faults)
    if body is not NO_BODY and not isinstance(body, dict):
        faults.append(Fault("body", "", "The body must be a JSON object."))
    members: dict[str, Any] = {}
    for name, text in query:
        # Given several times, it is a list.
        earlier = members.get(name)
        members[name] = text if earlier is None else [*_listed(earlier), text]
    members |= body if isinstance(body, dict) else {}
    members |= {p.name: read[p.folded] for p in operation.path if p.folded in read}
    if faults:
        return Binding({}, tuple(faults[:MOST_FAULTS]))
    try:
        text = from_json(document.type, written(members))
    except ValueFault as fault:
        return Binding({}, (Fault("body", "", f"The document {fault}."),))
    return Binding({document.name: text})


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
