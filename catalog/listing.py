"""The catalog for people and programs: the table and the document of `flask procedures`."""

from collections.abc import Iterator
from typing import Any

from catalog.operation import Operation
from catalog.operations import Catalog
from catalog.procedure import Parameter

HEADINGS = ("METHOD", "ROUTE", "PROCEDURE", "PARAMETERS", "EXACTLY ONCE")


def table(catalog: Catalog) -> Iterator[str]:
    """Lines: a column each for method, route, procedure, parameters, exactly once; then what has
    no route, with the reason."""
    rows = [HEADINGS, *map(_row, catalog.operations)]
    widths = [max(len(row[number]) for row in rows) for number in range(len(HEADINGS))]
    for row in rows if catalog.operations else ():
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
    for refusal in catalog.refusals:
        procedure = refusal.procedure
        yield f"{procedure.database}: {procedure.qualified} has no route: {refusal.reason}"
    if not catalog.operations and not catalog.refusals:
        yield "There are no procedures in the schemas that EXPOSED_SCHEMAS names."


def document(catalog: Catalog) -> dict[str, Any]:
    """The same for JSON."""
    return {
        "operations": [_operation(o) for o in catalog.operations],
        "refused": [
            {
                "database": refusal.procedure.database,
                "procedure": refusal.procedure.qualified,
                "reason": refusal.reason,
            }
            for refusal in catalog.refusals
        ],
    }


def _row(operation: Operation) -> tuple[str, ...]:
    procedure = operation.called
    shown = ", ".join(_parameter(place, p) for place, p in operation.parameters)
    if operation.document is not None:
        shown = ", ".join(filter(None, (shown, "one JSON document")))
    return (
        operation.method,
        operation.route,
        f"{procedure.database}: {procedure.qualified}",
        shown or "none",
        _repetition(operation),
    )


def _parameter(place: str, parameter: Parameter) -> str:
    optional = "" if parameter.required else "?"
    return f"{parameter.name}{optional} {parameter.type.sql} ({place})"


def _repetition(operation: Operation) -> str:
    if operation.reads:
        return "a read"
    return "yes" if operation.exactly_once else f"no. {operation.why_not}"


def _operation(operation: Operation) -> dict[str, Any]:
    procedure = operation.called
    return {
        "method": operation.method,
        "route": operation.route,
        "operationId": operation.operation_id,
        "database": procedure.database,
        "procedure": procedure.qualified,
        "parameters": [
            {
                "name": p.name,
                "in": place,
                "type": p.type.sql,
                "required": p.required is True,
                "schema": p.type.json_schema(),
            }
            for place, p in operation.parameters
        ],
        "document": operation.document.name if operation.document else None,
        "status": operation.status,
        "reads": operation.reads,
        "exactlyOnce": operation.exactly_once,
        "whyNot": operation.why_not or None,
        "summary": operation.summary,
    }
