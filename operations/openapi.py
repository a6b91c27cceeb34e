"""The OpenAPI 3.1 document, made from what the routes declare and the problems there are."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from inspect import cleandoc, getmodule
from typing import Any

from flask import Flask
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from authentication.api_keys import HEADER as API_KEY_HEADER
from catalog.operation import shape_of
from operations.operation import Operation
from operations.response_models import Document, ProblemDetails
from protocol.authorization import group_of
from protocol.formats import JSON, NDJSON
from protocol.idempotency import IDEMPOTENCY_KEY
from protocol.problems import MEDIA_TYPE, PROBLEM_TYPES
from protocol.validation import FORM_FIELD, FORMS

TITLE = "SQL procedures API"
VERSION = "0.1.0"
METHODS = ("get", "put", "post", "patch", "delete")
WRITES = METHODS[1:]
BEARER = {"type": "http", "scheme": "bearer"}
# Of the methods that AUTH names.
SCHEMES = {
    "keys": {"type": "apiKey", "in": "header", "name": API_KEY_HEADER},
    "oidc": BEARER,
    "easyauth": BEARER,
}
DESCRIPTION = """\
JSON in, a stored procedure, JSON out. Every error is a problem (RFC 9457). A write with an
`Idempotency-Key` is done once, however often it is sent. HEAD works wherever GET does; ask
OPTIONS for what a route allows."""


def operations(app: Flask) -> Iterator[tuple[str, str, type, Operation]]:
    """(rule, method, resource, operation) of all routes, in the order of their registration."""
    for rule in app.url_map.iter_rules():
        resource = getattr(app.view_functions[rule.endpoint], "view_class", None)
        for method in METHODS:
            declared = getattr(getattr(resource, method, None), "operation", None)
            if declared is not None:
                yield rule.rule, method, resource, declared


def python_shapes(app: Flask) -> dict[tuple[str, str], str]:
    """The shapes of routes that Python resources serve, and the name of each resource."""
    return {
        (method.upper(), shape_of(rule)): resource.__name__
        for rule, method, resource, _ in operations(app)
    }


def document(app: Flask) -> Document:
    """The document of all that `app` serves by a declared operation."""
    found = list(operations(app))
    schemas = _Schemas(declared for _, _, _, declared in found)
    schemes = {name: SCHEMES[name] for name in app.extensions["authentication"].names}
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    tags = {}
    for rule, method, resource, declared in found:
        path = path_of(rule)
        closed = group_of(rule, method.upper()) is not None
        module = getmodule(resource)
        tag = module.__name__.rpartition(".")[2]
        tags[tag] = {"name": tag, "description": cleandoc(module.__doc__).splitlines()[0]}
        paths[path][method] = {
            "tags": [tag],
            "summary": declared.summary.rstrip("."),
            "operationId": "-".join([method, *re.findall(r"\w+", path)]),
            **({"security": [{name: []} for name in schemes]} if closed and schemes else {}),
            **_taken(method, declared, schemas),
            "responses": _given(method, resource, declared, schemas, closed=closed),
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": VERSION, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": list(tags.values()),
        "paths": dict(paths),
        "components": {"schemas": schemas.named, "securitySchemes": schemes},
    }


def path_of(rule: str) -> str:
    """A route's rule as OpenAPI writes it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def _taken(method: str, declared: Operation, schemas: "_Schemas") -> dict[str, Any]:
    """Parameters and body."""
    parameters = [_path_parameter(n, schemas.of(kind)) for n, kind in declared.path.items()]
    if declared.query is not None:
        parameters += _query_parameters(declared.query)
    parameters += [
        {"name": name, "in": "header", "description": text, "schema": schema}
        for name, (text, schema) in _headers_taken(method, declared).items()
    ]
    taken: dict[str, Any] = {"parameters": parameters} if parameters else {}
    if declared.body is not None:
        schema = schemas.of(declared.body)
        form = {
            "type": "object",
            "required": [FORM_FIELD],
            "properties": {FORM_FIELD: schema},
            "additionalProperties": False,
        }
        as_json = {FORM_FIELD: {"contentType": JSON}}
        content = {JSON: {"schema": schema}}
        content |= {kind: {"schema": form, "encoding": as_json} for kind in FORMS}
        taken["requestBody"] = {"required": True, "content": content}
    return taken


def _path_parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    parameter = {"name": name, "in": "path", "required": True, "schema": schema}
    if "examples" in schema:
        # Swagger UI fills in this one, and not the schema's.
        parameter["example"] = schema["examples"][0]
    return parameter


def _query_parameters(query: type[BaseModel]) -> Iterator[dict[str, Any]]:
    model = query.model_json_schema(schema_generator=_Plain)
    for name, schema in model["properties"].items():
        parameter = {"name": name, "in": "query", "schema": _without_null(schema)}
        if name in model.get("required", ()):
            parameter["required"] = True
        if "description" in parameter["schema"]:
            parameter["description"] = parameter["schema"].pop("description")
        if parameter["schema"].get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        yield parameter


def _headers_taken(method: str, declared: Operation) -> dict[str, tuple[str, dict[str, Any]]]:
    tag = {"type": "string", "pattern": r'^("[\x21\x23-\x7e]+"|\*)$'}
    headers: dict[str, tuple[str, dict[str, Any]]] = {}
    if method in WRITES:
        key = {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY.pattern}$"}
        headers["Idempotency-Key"] = ("The same key again is answered, not done, again.", key)
    if declared.tagged and declared.path:
        if method in WRITES:
            headers["If-Match"] = ("Only if this is still its ETag.", tag)
        else:
            headers["If-None-Match"] = ("304 if this is still its ETag.", {"type": "string"})
    headers["Request-Timeout"] = (
        "Seconds after which to give up; the server's own deadline may be sooner.",
        {"type": "number", "exclusiveMinimum": 0},
    )
    return headers


def _given(
    method: str, resource: type, declared: Operation, schemas: "_Schemas", *, closed: bool
) -> dict[str, dict[str, Any]]:
    """The responses, by status."""
    answer = {} if declared.answer is None else {"schema": schemas.of(declared.answer)}
    content = {
        kind: answer if kind == JSON else {"schema": {"type": "string"}}
        for kind in declared.media_types
    }
    responses = {str(declared.status): {"description": "Done", "content": content}}
    for status in declared.also:
        responses[str(status)] = {"description": "The same, with bad news", "content": content}
    sent = _headers_given(method, declared)
    if sent:
        responses[str(declared.status)]["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in sent.items()
        }
    if declared.tagged and method == "get":
        responses["304"] = {"description": "What the client has is current"}
    by_status = defaultdict(list)
    slugs = [*_problems(method, resource, declared), *declared.problems]
    slugs += ["unauthenticated", "forbidden", "too-many-requests"] if closed else []
    for slug in dict.fromkeys(slugs):
        by_status[PROBLEM_TYPES[slug].status].append(PROBLEM_TYPES[slug])
    problem = {MEDIA_TYPE: {"schema": schemas.of(ProblemDetails)}}
    for status, types in sorted(by_status.items()):
        text = "; ".join(f"`{t.slug}`: {t.meaning}" for t in types)
        responses[str(status)] = {"description": text, "content": problem}
    return responses


def _headers_given(method: str, declared: Operation) -> dict[str, str]:
    headers = {}
    if declared.tagged and method != "delete":
        headers["ETag"] = "For If-Match and If-None-Match."
    if declared.tagged and declared.status == 201:
        headers["Location"] = "Of what was made."
    if method in WRITES:
        headers["Idempotency-Replayed"] = "`true` where the key's first answer is given again."
    if "after" in getattr(declared.query, "model_fields", ()):
        headers["Link"] = 'The next page, `rel="next"`, where there is one.'
    return headers


def _problems(method: str, resource: type, declared: Operation) -> Iterable[str]:
    """What can go wrong, from what is taken and asked."""
    yield "invalid-header"
    if declared.path:
        yield "not-found"
        if any("pattern" in TypeAdapter(kind).json_schema() for kind in declared.path.values()):
            yield "invalid-path"
    if declared.query is not None:
        yield "invalid-query"
    if declared.body is not None:
        yield from ("invalid-json", "unsupported-media-type", "too-large", "invalid-body")
        yield "request-timeout"
    if NDJSON in declared.media_types:
        yield from ("not-acceptable", "busy")
    if hasattr(resource, "database"):
        yield from ("refused-value", "procedure-error", "internal")
        yield from ("unavailable", "not-configured", "deadline")
    if method in WRITES:
        yield "conflict"
        if declared.path and declared.tagged:
            yield from ("precondition-failed", "precondition-required")


class _Plain(GenerateJsonSchema):
    """Without the titles that only repeat a name, nor defaults that are never sent."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        made = super().default_schema(schema)
        if made.get("default", ...) is None:
            made.pop("default")
        return made


class _Schemas:
    """The JSON schemas of all declared types; models by name under components."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        kinds: list[Any] = [ProblemDetails]
        for declared in operations:
            kinds += [*declared.path.values(), declared.body, declared.answer]
        # By identity: a type such as Annotated[…] need not be hashable.
        inputs = [(id(k), "validation", TypeAdapter(k)) for k in kinds if k is not None]
        made, defined = TypeAdapter.json_schemas(
            inputs, ref_template="#/components/schemas/{model}", schema_generator=_Plain
        )
        self._made = {key: schema for (key, _), schema in made.items()}
        self.named = {
            name: {k: v for k, v in schema.items() if k != "title"}
            for name, schema in defined.get("$defs", {}).items()
        }

    def of(self, kind: Any) -> dict[str, Any]:
        return self._made[id(kind)]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """What a query can say: a parameter is there or not, never null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {k: v for k, v in schema.items() if k != "anyOf"}
    return {**rest, **kinds[0]} if len(kinds) == 1 else dict(schema)
