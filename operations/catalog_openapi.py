"""Catalog operations in OpenAPI: what a procedure's declaration says of requests and responses."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from catalog.operation import Operation, object_schema
from catalog.procedure import HTTP_OUTPUTS, Parameter, Procedure
from catalog.types import Column, Kind, ParameterType
from operations.names import component_name
from operations.openapi_parts import (
    CLOSED_PROBLEMS,
    Json,
    content_of,
    header,
    idempotency_key_header,
    problem_response,
    problem_responses,
    request_timeout_header,
    response_headers,
)
from protocol.formats import FORMATS, JSON, MEDIA_TYPES

# Faults in parameters are 400 in every place of a request.
STATUSES = {"invalid-body": 400}
ANY_OBJECT: Json = {"type": "object"}
# A query parameter's text is JSON; generic tools ignore the format.
JSON_TEXT: Json = {"type": "string", "format": "json"}
# A value of each kind for the example of a body.
SAMPLES: Mapping[Kind, Any] = {
    Kind.INTEGER: 1,
    Kind.DECIMAL: 1,
    Kind.FLOAT: 1.5,
    Kind.BOOLEAN: True,
    Kind.TEXT: "text",
    Kind.UUID: "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    Kind.DATE: "2026-01-31",
    Kind.TIME: "13:45:00",
    Kind.TIMESTAMP: "2026-01-31T13:45:00",
    Kind.TIMESTAMPTZ: "2026-01-31T13:45:00Z",
    Kind.BINARY: "",
    Kind.JSON: {},
    Kind.XML: "<a/>",
}


def streams(operation: Operation) -> bool:
    """Whether a list can be NDJSON, CSV and Arrow too."""
    procedure = _procedure(operation)
    result = procedure.result
    return (
        operation.method == "GET"
        and not operation.route.endswith("}")
        and not (procedure.outputs or result.many or result.empty or result.passes_text)
        and (procedure.is_function or procedure.engine == "sqlserver")
    )


def described(operation: Operation, operation_id: str, schemas: Json, *, closed: bool) -> Json:
    """Description, parameters, body and responses; their schemas are added to `schemas` by name.

    closed: whether the route requires a credential.
    """
    texts = (operation.description or _results(operation), _repetition(operation))
    return {
        "description": "\n\n".join(filter(None, texts)),
        "parameters": [*_parameters(operation)],
        **_body(operation, operation_id, schemas),
        "responses": _responses(operation, operation_id, schemas, closed=closed),
    }


def summary_of(operation: Operation) -> str:
    """The procedure's own summary, else the words of its operation id: "Get order lines"."""
    words = re.sub(r"(?<=[^A-Z])(?=[A-Z])", " ", operation.operation_id).lower()
    return operation.summary.rstrip(".") or words[:1].upper() + words[1:]


def tagged(
    operations: Collection[Operation],
) -> Iterator[tuple[Operation, tuple[str, ...], str]]:
    """Each operation, the other routes of the same procedure, and the operation's tag.

    The tag is the first segment of the route, in the singular where both the singular and the
    plural are segments.
    """
    segments = {_segment(operation) for operation in operations}
    routes: dict[Any, list[Operation]] = defaultdict(list)
    for operation in operations:
        names = tuple(p.name for p in operation.path)
        routes[id(operation.procedure), operation.method, names].append(operation)
    for first, *others in routes.values():
        segment = _segment(first)
        tag = next((s for s in _singulars(segment) if s in segments), segment)
        yield first, tuple(other.route for other in others), tag


def _segment(operation: Operation) -> str:
    return operation.route.strip("/").partition("/")[0]


def _singulars(noun: str) -> Iterator[str]:
    for ending, replacement in (("ies", "y"), ("es", ""), ("s", "")):
        if noun.endswith(ending):
            yield noun.removesuffix(ending) + replacement


def _procedure(operation: Operation) -> Procedure:
    assert operation.procedure is not None, "a catalog operation has a procedure"
    return operation.procedure


def _results(operation: Operation) -> str:
    """What a read returns, in one sentence."""
    if not operation.reads:
        return ""
    if streams(operation):
        return "Returns the rows as JSON, NDJSON, CSV or Arrow; `format` or `Accept` chooses."
    if operation.no_row == 404:
        return "Returns the row, or 404 if there is none."
    return "Returns the result as JSON."


def _repetition(operation: Operation) -> str:
    if operation.reads:
        return ""
    if operation.exactly_once:
        return "With an `Idempotency-Key` the write is done once, however often it is sent."
    return f"`Idempotency-Key` is not accepted here. {operation.why_not}"


def _parameters(operation: Operation) -> Iterator[Json]:
    for parameter in operation.path:
        schema = _text_schema(parameter.type)
        if schema.get("type") == "string" and "format" not in schema:
            schema["minLength"] = 1
        described = _described(parameter)
        yield {
            "name": parameter.name,
            "in": "path",
            "required": True,
            **described,
            "schema": schema,
        }
    for parameter in operation.query:
        repeats = {"style": "form", "explode": True} if parameter.type.repeats else {}
        yield {
            "name": parameter.name,
            "in": "query",
            **({"required": True} if parameter.required else {}),
            **_described(parameter),
            **repeats,
            "schema": _text_schema(parameter.type),
        }
    if streams(operation) and not any(p.folded == "format" for p in operation.query):
        yield {
            "name": "format",
            "in": "query",
            "description": "Format of the rows; otherwise chosen by Accept.",
            "schema": {"type": "string", "enum": [*FORMATS]},
        }
    if operation.exactly_once:
        yield idempotency_key_header()
    if operation.method == "GET" and _has_output(operation, "etag"):
        yield header("If-None-Match", "304 if this is still its ETag.", {"type": "string"})
    yield request_timeout_header()


def _described(parameter: Parameter) -> Json:
    text = parameter.description.rstrip(". ")
    default = parameter.default
    if default is not None and not default.upper().startswith("NULL"):
        text += f"{'. ' if text else ''}Default: {default}"
    return {"description": text} if text else {}


def _text_schema(kind: ParameterType) -> Json:
    """The schema of a value in a path or query."""
    if kind.kind is Kind.JSON:
        return dict(JSON_TEXT)
    if kind.kind is Kind.ARRAY and kind.element is not None:
        return {"type": "array", "items": _text_schema(kind.element)}
    return kind.json_schema()


def _body(operation: Operation, operation_id: str, schemas: Json) -> Json:
    if operation.method in ("GET", "DELETE"):
        return {}
    if operation.document is not None:
        schema, required = ANY_OBJECT, False
    elif operation.body:
        made = object_schema(operation.body)
        for parameter in operation.body:
            made["properties"][parameter.name] |= _described(parameter)
        made["examples"] = [{p.name: _sample(p.type) for p in operation.body}]
        schema, required = _named(made, operation_id, "Body", schemas), bool(made["required"])
    else:
        return {}
    return {"requestBody": {"required": required, "content": {JSON: {"schema": schema}}}}


def _sample(kind: ParameterType) -> Any:
    if kind.kind is Kind.ARRAY and kind.element is not None:
        return [_sample(kind.element)]
    if kind.kind is Kind.TABLE:
        return [{column.name: _sample(column.type) for column in kind.columns}]
    found = SAMPLES[kind.kind]
    if kind.kind in (Kind.INTEGER, Kind.DECIMAL) and kind.most is not None:
        return found if kind.most >= found else 0
    return found[: kind.length] if kind.kind is Kind.TEXT else found


def _named(schema: Json, operation_id: str, what: str, schemas: Json) -> Json:
    name = component_name(operation_id, what, schemas)
    schemas[name] = schema
    return {"$ref": f"#/components/schemas/{name}"}


def _responses(operation: Operation, operation_id: str, schemas: Json, *, closed: bool) -> Json:
    procedure = _procedure(operation)
    found: Json = {}
    declared = [p for p in procedure.outputs if p.folded not in HTTP_OUTPUTS]
    is_empty = procedure.result.empty and not procedure.result.many and not declared
    if not is_empty:
        shape = _shape(operation, operation_id, declared, schemas)
        content = content_of(MEDIA_TYPES if streams(operation) else (JSON,), {"schema": shape})
        found[str(operation.status)] = {"description": "Done", "content": content}
    may_be_empty = is_empty or (procedure.result.columns is None and not procedure.result.many)
    if may_be_empty and not declared and operation.no_result != 404:
        empty = {"description": "Done; the procedure returns no rows"}
        found.setdefault(str(operation.no_result), empty)
    sent = response_headers(_headers(operation))
    found = {status: response | sent for status, response in found.items()}
    if operation.method == "GET" and _has_output(operation, "etag"):
        found["304"] = {"description": "The client's copy is current"}
    if _has_output(operation, "statuscode"):
        found["2XX"] = {
            "description": "The procedure chooses the status by its output StatusCode",
            "content": {JSON: {"schema": {}}},
        }
    slugs = [*_problems(operation), *(CLOSED_PROBLEMS if closed else ())]
    found |= problem_responses(slugs, STATUSES)
    found["4XX"] = problem_response("The procedure refuses the request; see `detail`.")
    return found


def _headers(operation: Operation) -> Mapping[str, str]:
    found = {}
    if _has_output(operation, "etag"):
        found["ETag"] = "Version of the row."
    if _has_output(operation, "next"):
        found["Link"] = 'URL of the next page, `rel="next"`, where there is one.'
    if operation.location:
        found["Location"] = "URL of the new row, where the result has its key."
    if operation.exactly_once:
        found["Idempotency-Replayed"] = (
            "`true` where the key was used before. The body is that of the first response; where"
            ' that was not kept, `{"detail": "…"}`.'
        )
    return found


def _problems(operation: Operation) -> Iterator[str]:
    yield "invalid-header"
    if operation.path:
        yield from ("invalid-path", "not-found")
    if operation.no_row == 404:
        yield "not-found"
    if operation.method in ("GET", "DELETE"):
        yield "invalid-query"
    else:
        yield from ("invalid-query", "invalid-json", "invalid-body", "request-timeout")
        yield from ("too-large", "unsupported-media-type")
    if operation.method == "GET":
        yield "not-acceptable"
    if streams(operation):
        yield from ("not-installed", "busy")
    if not operation.reads:
        yield "conflict"
    yield from ("refused-value", "procedure-error", "internal", "unavailable", "deadline")


def _has_output(operation: Operation, name: str) -> bool:
    return any(p.folded == name for p in _procedure(operation).outputs)


def _shape(
    operation: Operation, operation_id: str, declared: list[Parameter], schemas: Json
) -> Json:
    """The schema of the body, by the procedure's declaration."""
    result = _procedure(operation).result
    if result.passes_text:
        rows: Json = {}
    else:
        rows = {"type": "array", "items": _row(result.columns, operation_id, schemas)}
    if not (declared or result.many):
        return rows
    shape: Json = {"items": rows}
    if result.many:
        shape = {"results": {"type": "array", "items": {"type": "array", "items": ANY_OBJECT}}}
    if declared:
        columns = tuple(Column(p.name, p.type) for p in declared)
        shape["outputs"] = row_of(columns)
    made = {"type": "object", "properties": shape, "required": [*shape]}
    return _named(made, operation_id, "Result", schemas)


def _row(columns: tuple[Column, ...] | None, operation_id: str, schemas: Json) -> Json:
    if not columns:
        return ANY_OBJECT
    return _named(row_of(columns), operation_id, "Row", schemas)


def row_of(columns: tuple[Column, ...]) -> Json:
    """The schema of one row of a response: every column is there."""
    return {
        "type": "object",
        "properties": {c.name: _value(c.type, nullable=c.nullable) for c in columns},
        "required": [c.name for c in columns],
        "additionalProperties": False,
    }


def _value(kind: ParameterType, *, nullable: bool) -> Any:
    """The schema of a column's value: its type and format, without the limits of requests."""
    if kind.kind in (Kind.JSON, Kind.UNSUPPORTED, Kind.TABLE):
        return {}
    if kind.kind is Kind.ARRAY and kind.element is not None:
        schema: Json = {"type": "array", "items": _value(kind.element, nullable=True)}
    else:
        full = kind.json_schema()
        kept = ("type", "format", "contentEncoding")
        schema = {name: full[name] for name in kept if name in full}
    return {**schema, "type": [schema["type"], "null"]} if nullable else schema
