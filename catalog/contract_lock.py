"""The contract in a file, and the changes of a later catalog that break clients."""

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from catalog import CatalogError
from catalog.operation import Operation
from catalog.procedure import Parameter
from catalog.types import Column, Kind, ParameterType

VERSION = 1
# Kinds that accept every value of another kind, within its limits.
WIDER = {
    Kind.INTEGER: (Kind.DECIMAL, Kind.FLOAT, Kind.JSON),
    Kind.DECIMAL: (Kind.FLOAT, Kind.JSON),
    Kind.FLOAT: (Kind.JSON,),
    Kind.BOOLEAN: (Kind.JSON,),
    Kind.UUID: (Kind.TEXT,),
    Kind.DATE: (Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.TEXT),
    Kind.TIME: (Kind.TEXT,),
    Kind.TIMESTAMP: (Kind.TIMESTAMPTZ, Kind.TEXT),
    Kind.TIMESTAMPTZ: (Kind.TEXT,),
    Kind.XML: (Kind.TEXT,),
}
NUMBERS = (Kind.INTEGER, Kind.DECIMAL)


def lock(operations: Iterable[Operation]) -> str:
    """The contract of `operations` as the text of a lock file."""
    found = {_key(o): _operation(o) for o in operations}
    document = {"version": VERSION, "operations": dict(sorted(found.items()))}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def breaking_changes(
    locked: str, operations: Iterable[Operation], *, databases: Collection[str] | None = None
) -> list[str]:
    """A sentence for each change since `locked` that a client of then would notice.

    databases: those that `operations` are of; None: all. The contract of others is left alone.
    Columns that the catalog does not show, as those of dynamic SQL, are no change.
    Raises CatalogError for a text that is no lock file.
    """
    try:
        before = json.loads(locked)
        if before["version"] != VERSION:
            raise ValueError
        then = dict(before["operations"])
    except (ValueError, KeyError, TypeError):
        raise CatalogError(
            "The lock file is of another version or damaged: write it with flask procedures --lock."
        ) from None
    now = {_key(o): _operation(o) for o in operations}
    sentences: list[str] = []
    for key, old in then.items():
        if databases is not None and old["database"] not in databases:
            continue
        new = now.get(key)
        if new is None:
            sentences.append(f"{old['route']}: the route is removed.")
        else:
            sentences += [f"{old['route']}: {change}." for change in _changes(old, new)]
    return sentences


def _key(operation: Operation) -> str:
    """The same whatever the parameters of the path are called."""
    return " ".join(operation.shape)


def _operation(operation: Operation) -> dict[str, Any]:
    procedure = operation.procedure
    result = procedure.result if procedure else None
    columns = result.columns if result else None
    return {
        "route": f"{operation.method} {operation.route}",
        "database": procedure.database if procedure else None,
        "procedure": procedure.qualified if procedure else None,
        "document": operation.document is not None,
        "status": operation.status,
        "path": [_parameter(p) for p in operation.path],
        "query": {p.folded: _parameter(p) for p in operation.query},
        "body": {p.folded: _parameter(p) for p in operation.body},
        "columns": None if columns is None else {c.name: _type(c.type) for c in columns},
        "outputs": [p.name for p in procedure.outputs] if procedure else [],
        "results": "many" if result and result.many else "one",
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "required": parameter.required is True,
        **_type(parameter.type),
    }


def _type(kind: ParameterType) -> dict[str, Any]:
    found: dict[str, Any] = {"type": kind.sql, "kind": kind.kind.name}
    for name in ("least", "most"):
        value = getattr(kind, name)
        if value is not None:
            found[name] = value if isinstance(value, int) else str(value)
    if kind.length is not None:
        found["length"] = kind.length
    if kind.scale is not None:
        found["scale"] = kind.scale
    if kind.element is not None:
        found["element"] = _type(kind.element)
    if kind.columns:
        found["columns"] = {c.name.casefold(): _column(c) for c in kind.columns}
    return found


def _column(column: Column) -> dict[str, Any]:
    return {"name": column.name, "required": not column.nullable, **_type(column.type)}


def _changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for number, (before, after) in enumerate(zip(old["path"], new["path"], strict=True), 1):
        for change in _narrowed(before, after):
            yield f"part {number} of the path, {after['name']}, {change}"
    if old["document"] != new["document"]:
        yield (
            "it no longer takes one JSON document"
            if old["document"]
            else ("it takes one JSON document now")
        )
    else:
        for place in ("query", "body"):
            yield from _parameter_changes(place, old[place], new[place])
    if old["status"] != new["status"]:
        yield f"success is {new['status']}, not {old['status']}"
    if old["results"] != new["results"]:
        yield f"it returns {new['results']} result set{'s' if new['results'] == 'many' else ''}"
    yield from (
        f"output {name} is removed" for name in old["outputs"] if name not in new["outputs"]
    )
    if old["columns"] is not None and new["columns"] is not None:
        for name, before in old["columns"].items():
            after = new["columns"].get(name)
            if after is None:
                yield f"column {name} is removed"
            elif after["kind"] != before["kind"]:
                yield f"column {name} is {after['type']}, not {before['type']}"


def _parameter_changes(place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for folded, before in old.items():
        after = new.get(folded)
        if after is None:
            yield f"{place} parameter {before['name']} is removed"
            continue
        if after["required"] and not before["required"]:
            yield f"{place} parameter {after['name']} is required now"
        for change in _narrowed(before, after):
            yield f"{place} parameter {after['name']} {change}"
    for folded, after in new.items():
        if folded not in old and after["required"]:
            yield f"{place} parameter {after['name']} is new and required"


def _narrowed(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Why a value that was accepted may be refused now."""
    before, after = Kind[old["kind"]], Kind[new["kind"]]
    change = f"is narrowed from {old['type']} to {new['type']}"
    if before is not after and after not in WIDER.get(before, ()):
        yield f"is changed from {old['type']} to {new['type']}"
        return
    if before is Kind.TABLE:
        for inner in _parameter_changes("column of", old["columns"], new["columns"]):
            yield f"is narrowed: {inner.replace('column of parameter', 'column')}"
    elif before is Kind.ARRAY:
        if any(_narrowed(old["element"], new["element"])):
            yield change
    elif _is_less(old, new, before, after):
        yield change


def _is_less(old: dict[str, Any], new: dict[str, Any], before: Kind, after: Kind) -> bool:
    if "length" in new and not ("length" in old and old["length"] <= new["length"]):
        return True
    # The fraction of an integer has no digits; a double's are not counted.
    scale = 0 if before is Kind.INTEGER else old.get("scale")
    if (
        "scale" in new
        and after not in (Kind.FLOAT, Kind.TEXT)
        and (scale is None or scale > new["scale"])
        and before is not Kind.DATE
    ):
        return True
    return _is_beyond(old, new, "least", -1, before) or _is_beyond(old, new, "most", 1, before)


def _is_beyond(old: dict[str, Any], new: dict[str, Any], name: str, sign: int, kind: Kind) -> bool:
    """Whether the old limit lies outside the new one; dates compare as texts."""
    if name not in new:
        return False
    if name not in old:
        return True
    if kind in (*NUMBERS, Kind.FLOAT):
        return sign * float(old[name]) > sign * float(new[name])
    return bool(old[name] > new[name] if sign > 0 else old[name] < new[name])
