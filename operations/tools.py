"""The operations as tools of the Model Context Protocol, made from the OpenAPI document.

One tool for each procedure: a second route of the same procedure is no second tool. The arguments
of a tool are one flat object; each belongs to the path, query, body or a header of the request that
the operation's own route takes.
"""

import re
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import cleandoc
from typing import Any

import mcp_types
import orjson
from flask import Flask

from catalog import convention
from catalog.operation import Operation as CatalogOperation
from catalog.operations import Catalog
from operations.catalog_routes import FIRST_READ_SECONDS, NEXT_READ_SECONDS
from operations.names import unique
from operations.openapi import Declared, Listed, document, listed
from operations.openapi_parts import Json
from protocol.authorization import group_of
from protocol.formats import FORMATS, JSON

# Some clients refuse longer names.
LONGEST_NAME = 64
LONGEST_SHOWN = 40
REFERENCE = "#/components/schemas/"
# Arguments that become headers of the request.
HEADERS = {
    "Idempotency-Key": "idempotency_key",
    "If-Match": "if_match",
    "Consistency-Token": "consistency_token",
}
HEADER_TEXTS = {
    "idempotency_key": "A new random text for each write; repeated with the same, it writes once.",
    "if_match": "Write only if this is still the row's etag.",
    "consistency_token": "The one of the last write's result: the rows are not older than it.",
}
# The argument for a body that is no object of its own members.
BODY = "body"


@dataclass(frozen=True)
class Tool:
    """A tool and the operation that it calls.

    method, path: of the operation, such as GET and /order/{OrderID}. group: the route group that a
    caller requires. listing: the tool as JSON for tools/list. arguments: the JSON Schema of each.
    places: path, query, body or header for each argument. joined: lists that are one text with
    commas in the query. open_to: the place of arguments that no schema names, "" where there are
    none.
    """

    name: str
    source: Declared | CatalogOperation
    method: str
    path: str
    group: str
    listing: bytes
    arguments: Mapping[str, Json]
    places: Mapping[str, str]
    required: frozenset[str]
    joined: frozenset[str]
    open_to: str

    @property
    def route(self) -> str:
        """The route by which settings and logs name the operation."""
        return self.source.rule if isinstance(self.source, Declared) else self.source.route

    def misnamed(self, given: Collection[str]) -> list[str]:
        """A sentence for each argument that is unknown, and each required one that is missing."""
        unknown = [] if self.open_to else [name for name in given if name not in self.arguments]
        missing = [name for name in self.arguments if name in self.required - set(given)]
        return [*map(self._unknown, unknown), *(f"{name} is required." for name in missing)]

    def _unknown(self, name: str) -> str:
        near = get_close_matches(name[:128], self.arguments, n=1)
        known = f"{near[0]} is known" if near else f"known: {', '.join(self.arguments) or 'none'}"
        shown = name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}…"
        return f"{shown} is unknown; {known}."


class LiveTools:
    """The tools of the live catalog, made again after each change of it.

    While one thread makes them, the other threads use the earlier ones.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._made: tuple[Catalog | None, dict[str, Tool]] = None, {}

    def current(self) -> dict[str, Tool]:
        """The tools by name, of the catalog as it is now or as it was a moment ago."""
        made, tools = self._made
        if made is self._catalog:
            return tools
        return self._make(wait=made is None)

    def after_read(self) -> dict[str, Tool]:
        """The tools after a due read of the catalog, for which it waits a moment."""
        live = self._app.extensions["catalog"].live
        live.touch()
        live.wait_until_read(FIRST_READ_SECONDS)
        live.wait_until_up_to_date(NEXT_READ_SECONDS)
        return self._make(wait=True)

    @property
    def _catalog(self) -> Catalog:
        catalog: Catalog = self._app.extensions["catalog"].live.current
        return catalog

    def _make(self, *, wait: bool) -> dict[str, Tool]:
        if self._lock.acquire(blocking=wait):
            try:
                catalog = self._catalog
                if self._made[0] is not catalog:
                    self._made = catalog, tools_of(self._app, catalog.operations)
            finally:
                self._lock.release()
        return self._made[1]


def tools_of(app: Flask, catalog: Collection[CatalogOperation] = ()) -> dict[str, Tool]:
    """The tools of all operations by name, in the order of the operations."""
    whole = document(app, catalog)
    found: dict[str, Tool] = {}
    for one in _callable(listed(app, catalog)):
        name = unique(_tool_name(one.operation_id), found)
        described = whole["paths"][one.path][one.method]
        found[name] = _tool(name, one, described, whole["components"]["schemas"])
    return found


def _callable(operations: Collection[Listed]) -> Iterator[Listed]:
    """The operations that call a database, one for each procedure or method."""
    chosen: dict[Any, Listed] = {}
    for one in operations:
        source = one.source
        if isinstance(source, Declared):
            if source.operation.private or not hasattr(source.resource, "database"):
                continue
            # One method can serve PUT and POST, and several routes.
            key: Any = id(source.operation)
            earlier = chosen.get(key)
            preferred = one.method == "post" and earlier is not None and earlier.path == one.path
        else:
            procedure = source.called
            if procedure.tags.no_tool:
                continue
            key = (procedure.database, procedure.schema, procedure.name)
            preferred = one.operation_id == convention.operation_id(procedure.name)
        if preferred or key not in chosen:
            chosen[key] = one
    yield from chosen.values()


def _tool_name(operation_id: str) -> str:
    """get_order for getOrder: most often the procedure's own name."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operation_id).lower()
    return re.sub(r"[^a-z0-9_.-]", "_", name)[: LONGEST_NAME - 4]


def _tool(name: str, one: Listed, described: Json, schemas: Json) -> Tool:
    method = one.method.upper()
    taken = _Taken(described, schemas)
    result = _result(described, schemas)
    reads = method == "GET" or (isinstance(one.source, CatalogOperation) and one.source.reads)
    creates = "201" in described["responses"]
    listing = mcp_types.Tool(
        name=name,
        title=one.summary.partition("\n")[0],
        description=_description(one),
        input_schema=taken.schema,
        output_schema=result,
        annotations=mcp_types.ToolAnnotations(
            read_only_hint=reads,
            destructive_hint=None if reads else not creates,
            # By their arguments alone. A creation is idempotent with an idempotency_key only.
            idempotent_hint=None if reads else method in ("PUT", "DELETE") and not creates,
            open_world_hint=False,
        ),
    )
    rule = one.source.rule if isinstance(one.source, Declared) else one.source.route
    return Tool(
        name=name,
        source=one.source,
        method=method,
        path=one.path,
        group=group_of(rule, method) or "read",
        listing=orjson.dumps(listing.model_dump(mode="json", by_alias=True, exclude_none=True)),
        arguments=taken.arguments,
        places=taken.places,
        required=frozenset(taken.required),
        joined=frozenset(taken.joined),
        open_to=taken.open_to,
    )


def _description(one: Listed) -> str:
    text = cleandoc(one.summary)
    source = one.source
    if isinstance(source, CatalogOperation):
        if source.description:
            text += f".\n\n{source.description}"
        if source.why_not:
            text = f"{text.rstrip('.')}.\n\nNot safe to repeat. {source.why_not}"
    return f"{text.rstrip('.')}."


class _Taken:
    """The arguments of a tool, from the parameters and the body of its operation."""

    def __init__(self, described: Json, schemas: Json) -> None:
        self.arguments: dict[str, Json] = {}
        self.places: dict[str, str] = {}
        self.required: list[str] = []
        self.joined: list[str] = []
        self.open_to = ""
        streams = len(_success(described).get("content", ())) > 1
        # Headers last: a model fills in the arguments in their order.
        parameters = sorted(described.get("parameters", ()), key=lambda p: p["in"] == "header")
        for parameter in parameters:
            # The format of the rows is JSON; a procedure's own parameter of this name stays.
            formats = parameter["schema"].get("enum", ())
            if streams and parameter["name"] == "format" and {*formats} <= {*FORMATS} and formats:
                continue
            self._add_parameter(parameter)
        body = described.get("requestBody")
        if body is not None:
            self._add_body(body, schemas)
        self.schema = _with_definitions(
            {
                "type": "object",
                "properties": self.arguments,
                "required": self.required,
                "additionalProperties": bool(self.open_to),
            },
            schemas,
        )

    def _add_parameter(self, parameter: Json) -> None:
        name, place = parameter["name"], parameter["in"]
        schema = {k: v for k, v in parameter["schema"].items() if k != "examples"}
        if place == "header":
            name = HEADERS.get(name, "")
            if not name or name in self.arguments:
                return
            schema = {"type": "string", "description": HEADER_TEXTS[name]}
        elif parameter.get("description"):
            schema["description"] = parameter["description"]
        self._add(name, schema, place, required=parameter.get("required", False))
        if parameter.get("explode") is False:
            self.joined.append(name)

    def _add(self, name: str, schema: Json, place: str, *, required: bool) -> None:
        self.arguments[name] = schema
        self.places[name] = place
        if required:
            self.required.append(name)

    def _add_body(self, body: Json, schemas: Json) -> None:
        schema = body["content"][JSON]["schema"]
        reference = schema.get("$ref", "").removeprefix(REFERENCE)
        resolved = schemas[reference] if reference else schema
        members = resolved.get("properties")
        if resolved == {"type": "object"}:
            self.open_to = "body"
        elif members is None or self.arguments.keys() & members.keys():
            self._add(BODY, schema, BODY, required=body.get("required", False))
            self.places[BODY] = "whole body"
        else:
            for name, member in members.items():
                self._add(name, member, "body", required=name in resolved.get("required", ()))


def _success(described: Json) -> Json:
    """The response to a request that succeeds, with a body if there is one."""
    found = [r for status, r in described["responses"].items() if status.startswith("2")]
    with_body: Json = next((r for r in found if JSON in r.get("content", {})), {})
    return with_body


def _result(described: Json, schemas: Json) -> Json:
    """The schema of structuredContent: the response's body as `result`, and what its headers say.

    No member is required: a procedure may return nothing, and a long result may be cut.
    """
    members: Json = {}
    success = _success(described)
    if success:
        members["result"] = success["content"][JSON].get("schema", {})
    headers = success.get("headers", {})
    if "ETag" in headers:
        members["etag"] = {"type": "string", "description": "version of the row, for if_match"}
    if "Idempotency-Replayed" in headers:
        members["replayed"] = {"type": "boolean", "description": "the key was used before"}
    if "Consistency-Token" in headers:
        members["consistency_token"] = {
            "type": "string",
            "description": "of this write, for reads that must see it",
        }
    members["next"] = {"type": "object", "description": "arguments that get the next rows"}
    members["cut"] = {"type": "string", "description": "what is missing, and how to get it"}
    return _with_definitions({"type": "object", "properties": members}, schemas)


def _with_definitions(schema: Json, schemas: Json) -> Json:
    """`schema` with the schemas that it refers to, under $defs."""
    definitions: Json = {}
    made: Json = _moved(schema, schemas, definitions)
    return {**made, "$defs": definitions} if definitions else made


def _moved(value: Any, schemas: Json, definitions: Json) -> Any:
    if isinstance(value, list):
        return [_moved(item, schemas, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str) and reference.startswith(REFERENCE):
        name = reference.removeprefix(REFERENCE)
        if name not in definitions:
            definitions[name] = {}  # first, because a schema may refer to itself
            definitions[name] = _moved(schemas[name], schemas, definitions)
        return {**value, "$ref": f"#/$defs/{name}"}
    return {name: _moved(item, schemas, definitions) for name, item in value.items()}
