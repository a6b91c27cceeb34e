"""The OpenAPI 3.1 document of every operation: those of Python resources, then the catalog's."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from inspect import cleandoc, getmodule
from typing import Any, Literal, NamedTuple, get_origin

from flask import Flask
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from authentication.api_keys import HEADER as API_KEY_HEADER
from catalog.operation import Operation as CatalogOperation
from operations import catalog_openapi
from operations.names import operation_id, unique
from operations.openapi_parts import (
    CLOSED_PROBLEMS,
    CONSISTENCY_TOKEN_GIVEN,
    IF_MATCH,
    Json,
    consistency_headers,
    content_of,
    header,
    idempotency_key_header,
    problem_responses,
    request_timeout_header,
    response_headers,
)
from operations.operation import Operation
from operations.response_models import Document, ProblemDetails
from protocol.authorization import group_of
from protocol.consistency import CONSISTENCY_TOKEN
from protocol.formats import JSON, NDJSON
from protocol.request_body import FORM_FIELD, FORMS

TITLE = "SQL procedures API"
VERSION = "0.1.0"
# The group of the routes about the server itself, which comes last, and the modules that have them.
SERVER = "server"
SERVER_DESCRIPTION = "Health, metrics and status of the server, and this document."
SERVER_MODULES = ("health", "metrics", "pages", "status")
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
Stored procedures as a JSON API. Every error is a problem (RFC 9457). Where a write takes an
`Idempotency-Key`, repeating it with the same key does nothing a second time. HEAD works wherever
GET does; OPTIONS lists the methods of a route."""


class Declared(NamedTuple):
    """An operation of a Python resource, with the rule and method that it serves.

    aliases: further rules with the same response.
    """

    rule: str
    aliases: tuple[str, ...]
    method: str
    resource: type
    operation: Operation


class Listed(NamedTuple):
    """One operation, from Python or the catalog, under the names that every document uses.

    aliases: further paths with the same response.
    """

    method: str
    path: str
    aliases: tuple[str, ...]
    operation_id: str
    tag: str
    summary: str
    source: Declared | CatalogOperation


def python_operations(app: Flask) -> Iterator[Declared]:
    """The documented operations of Python resources, in the order of their registration."""
    rules: dict[str, list[str]] = defaultdict(list)
    for rule in app.url_map.iter_rules():
        rules[rule.endpoint].append(rule.rule)
    for endpoint, (first, *aliases) in rules.items():
        resource = getattr(app.view_functions[endpoint], "view_class", None)
        for method in METHODS:
            declared = getattr(getattr(resource, method, None), "operation", None)
            if resource is not None and declared is not None and declared.documented:
                yield Declared(first, tuple(aliases), method, resource, declared)


def listed(app: Flask, catalog: Collection[CatalogOperation] = ()) -> list[Listed]:
    """Every operation; those of `catalog` come after the Python resources' own."""
    found: list[Listed] = []
    for declared in python_operations(app):
        path = path_of(declared.rule)
        is_list = get_origin(declared.operation.answer) is list
        name = operation_id(declared.method, path, is_list=is_list)
        summary = declared.operation.summary.rstrip(".")
        tag = _tag_of(declared.resource)[0]
        aliases = tuple(map(path_of, declared.aliases))
        found.append(Listed(declared.method, path, aliases, name, tag, summary, declared))
    taken = {one.operation_id for one in found}
    for operation, aliases, tag in catalog_openapi.tagged(catalog):
        name = unique(operation.operation_id, taken)
        taken.add(name)
        summary = catalog_openapi.summary_of(operation)
        method = operation.method.lower()
        found.append(Listed(method, operation.route, aliases, name, tag, summary, operation))
    return sorted(found, key=lambda one: one.tag == SERVER)


def document(app: Flask, catalog: Collection[CatalogOperation] = ()) -> Document:
    """The document of all operations that `app` serves, with those of `catalog`."""
    found = listed(app, catalog)
    has_replicas = app.extensions["databases"].has_replicas
    schemas = _Schemas(one.source.operation for one in found if isinstance(one.source, Declared))
    schemes = {name: SCHEMES[name] for name in app.extensions["authentication"].names}
    paths: dict[str, Json] = defaultdict(dict)
    tags: dict[str, Json] = {}
    for one in found:
        source = one.source
        rule = source.rule if isinstance(source, Declared) else source.route
        closed = group_of(rule, one.method.upper()) is not None
        tag: Json = {"name": one.tag}
        if isinstance(source, Declared):
            tag["description"] = _tag_of(source.resource)[1]
            replicated = has_replicas(getattr(source.resource, "database", ""))
            described = {
                "description": source.operation.description,
                **_taken(one.method, source.operation, schemas),
                "responses": _given(source, schemas, closed=closed),
            }
            if replicated:
                _add_consistency(described, reads=one.method == "get")
        else:
            described = catalog_openapi.described(
                source, one.operation_id, schemas.named, closed=closed
            )
            if has_replicas(source.called.database) and source.idempotent:
                _add_consistency(described, reads=source.reads)
        described["description"] = _with_aliases(described["description"], one.aliases)
        tags.setdefault(one.tag, tag)
        paths[one.path][one.method] = {
            "tags": [one.tag],
            "summary": one.summary,
            "operationId": one.operation_id,
            # [] says that no credential is required, where linters want a statement.
            "security": [{name: []} for name in schemes] if closed else [],
            **described,
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": VERSION, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": list(tags.values()),
        "paths": dict(paths),
        # An empty object would make Swagger UI offer to authorize.
        "components": {
            "schemas": schemas.named,
            **({"securitySchemes": schemes} if schemes else {}),
        },
    }


def _add_consistency(described: Json, *, reads: bool) -> None:
    """The headers of consistency, for an operation of a database that has replicas."""
    if reads:
        described.setdefault("parameters", []).extend(consistency_headers())
        return
    sent = response_headers({CONSISTENCY_TOKEN: CONSISTENCY_TOKEN_GIVEN})["headers"]
    for status, response in described["responses"].items():
        if status.startswith("2"):
            response["headers"] = {**response.get("headers", {}), **sent}


def path_of(rule: str) -> str:
    """A route's rule as OpenAPI writes it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def _with_aliases(description: str, aliases: Collection[str]) -> str:
    if not aliases:
        return description
    paths = ", ".join(f"`{path}`" for path in aliases)
    return f"{description}\n\nThe same response at {paths}.".lstrip()


def _tag_of(resource: type) -> tuple[str, str]:
    """Name and description: the resource's module, and the first line of the module's docstring."""
    module = getmodule(resource)
    assert module is not None, f"{resource} is in a module"
    name = module.__name__.rpartition(".")[2]
    if name in SERVER_MODULES:
        return SERVER, SERVER_DESCRIPTION
    return name, cleandoc(module.__doc__ or "").partition("\n")[0]


def _taken(method: str, declared: Operation, schemas: "_Schemas") -> Json:
    """Parameters and body."""
    parameters = [_path_parameter(n, schemas.of(k), method) for n, k in declared.path.items()]
    if declared.query is not None:
        parameters += _query_parameters(declared.query)
    parameters += _headers_taken(method, declared)
    taken: Json = {"parameters": parameters} if parameters else {}
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


def _path_parameter(name: str, schema: Json, method: str) -> Json:
    parameter = {"name": name, "in": "path", "required": True, "schema": schema}
    if method in WRITES:
        # No example: trying a write out would change or remove the example's row.
        parameter["schema"] = {k: v for k, v in schema.items() if k != "examples"}
    elif "examples" in schema:
        # Swagger UI fills in this one, and not the schema's.
        parameter["example"] = schema["examples"][0]
    return parameter


def _query_parameters(query: type[BaseModel]) -> Iterator[Json]:
    model = query.model_json_schema(schema_generator=_Plain)
    for name, schema in model["properties"].items():
        parameter = {"name": name, "in": "query", "schema": _without_null(schema)}
        if name in model.get("required", ()):
            parameter["required"] = True
        if "description" in parameter["schema"]:
            parameter["description"] = parameter["schema"].pop("description")
        if "default" in parameter["schema"] and "examples" in parameter["schema"]:
            # Swagger UI would send the default. Without a default it should send nothing.
            parameter["example"] = parameter["schema"].pop("examples")[0]
        if parameter["schema"].get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        yield parameter


def _headers_taken(method: str, declared: Operation) -> Iterator[Json]:
    if method in WRITES:
        yield idempotency_key_header()
    if declared.tagged and declared.path:
        if method in WRITES:
            yield header("If-Match", "Only if this is still its ETag.", IF_MATCH)
        else:
            yield header("If-None-Match", "304 if this is still its ETag.", {"type": "string"})
    yield request_timeout_header()


def _given(declared: Declared, schemas: "_Schemas", *, closed: bool) -> Json:
    """The responses, by status."""
    method, operation = declared.method, declared.operation
    body = {} if operation.answer is None else {"schema": schemas.of(operation.answer)}
    content = content_of(operation.media_types, body)
    responses: Json = {str(operation.status): {"description": "Done", "content": content}}
    for status in operation.also:
        responses[str(status)] = {"description": "Not ready; same body as 200", "content": content}
    responses[str(operation.status)] |= response_headers(_headers_given(method, operation))
    if operation.tagged and method == "get":
        responses["304"] = {"description": "The client's copy is current"}
    slugs = [*_problems(declared), *operation.problems, *(CLOSED_PROBLEMS if closed else ())]
    return responses | problem_responses(slugs)


def _headers_given(method: str, declared: Operation) -> dict[str, str]:
    headers: dict[str, str] = {}
    if declared.tagged and method != "delete":
        headers["ETag"] = "Version of the row, for If-Match and If-None-Match."
    if declared.tagged and declared.status == 201:
        headers["Location"] = "URL of the new row."
    if method in WRITES:
        headers["Idempotency-Replayed"] = "`true` where the response is that of an earlier request."
    if "after" in getattr(declared.query, "model_fields", ()):
        headers["Link"] = 'URL of the next page, `rel="next"`, where there is one.'
    return headers


def _problems(source: Declared) -> Iterator[str]:
    """The problem types that follow from an operation's declaration."""
    method, declared = source.method, source.operation
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
        yield from ("not-acceptable", "not-installed", "busy")
    if hasattr(source.resource, "database"):
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

    def default_schema(self, schema: Any) -> Json:
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
        mode: Literal["validation"] = "validation"
        inputs = [(id(k), mode, TypeAdapter(k)) for k in kinds if k is not None]
        made, defined = TypeAdapter.json_schemas(
            inputs, ref_template="#/components/schemas/{model}", schema_generator=_Plain
        )
        self._made = {key: schema for (key, _), schema in made.items()}
        self.named = {
            name: {k: v for k, v in schema.items() if k != "title"}
            for name, schema in defined.get("$defs", {}).items()
        }

    def of(self, kind: Any) -> Json:
        return self._made[id(kind)]


def _without_null(schema: Json) -> Json:
    """The schema of a query parameter, which may be absent but never null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {k: v for k, v in schema.items() if k != "anyOf"}
    return {**rest, **kinds[0]} if len(kinds) == 1 else dict(schema)
