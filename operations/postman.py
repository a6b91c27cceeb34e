"""A Postman collection (format 2.1) of the operations in the OpenAPI document, with a test each.

It runs from top to bottom: in each folder a row is created first, then changed and deleted.
"""

import json
from collections import defaultdict
from typing import Any

from operations.openapi_parts import Json
from protocol.formats import JSON

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
BASE_URL = "http://127.0.0.1:5000"
CREATED = "created_{tag}"  # the variable with the key of the row that a folder created
ORDER = ("get", "post", "patch", "put", "delete")
UNIQUE_NAME = "CustomerName"
REMEMBER = """\
const made = pm.response.headers.get("Location");
if (made) pm.collectionVariables.set("{name}", made.split("/").pop());"""
# Values for parameters without an example, by the type or format in their schema.
VALUES: dict[str, Any] = {"integer": 1, "number": 1, "boolean": True, "string": "text"}
FORMATS = {
    "uuid": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    "date": "2026-01-31",
    "date-time": "2026-01-31T13:45:00Z",
    "date-time-local": "2026-01-31T13:45:00",
    "json": "{}",
}


def collection(document: Json) -> Json:
    """`document` as Postman imports it: a folder per tag, a request per operation."""
    folders = defaultdict(list)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            success = min(operation["responses"])
            # Creating comes first, deleting last.
            place = -1 if success == "201" else ORDER.index(method)
            entry = _item(path, method, operation, success, document)
            folders[operation["tags"][0]].append((place, entry))
    info = document["info"]
    return {
        "info": {
            "name": info["title"],
            "description": info["description"],
            "version": info["version"],
            "schema": SCHEMA,
        },
        "variable": [
            {"key": "baseUrl", "value": BASE_URL},
            *({"key": CREATED.format(tag=tag), "value": ""} for tag in _creating(document)),
        ],
        "item": [
            {"name": tag, "item": [entry for _, entry in sorted(entries, key=lambda e: e[0])]}
            for tag, entries in folders.items()
        ],
    }


def _creating(document: Json) -> list[str]:
    """The tags of operations whose response has a Location."""
    operations = [o for item in document["paths"].values() for o in item.values()]
    return list(dict.fromkeys(o["tags"][0] for o in operations if _creates(o)))


def _creates(operation: Json) -> bool:
    return "Location" in operation["responses"].get("201", {}).get("headers", {})


def _item(path: str, method: str, operation: Json, success: str, document: Json) -> Json:
    taken: dict[str, list[Json]] = {where: [] for where in ("path", "query", "header")}
    for parameter in operation.get("parameters", ()):
        taken[parameter["in"]].append(parameter)
    created = CREATED.format(tag=operation["tags"][0])
    creates = _creates(operation)
    script = [
        *_checks(operation, success, exact="4XX" not in operation["responses"]),
        *(REMEMBER.replace("{name}", created).splitlines() if creates else ()),
    ]
    request: Json = {
        "method": method.upper(),
        "description": operation.get("description", operation["summary"]),
        "header": [_header(p) for p in taken["header"]],
        "url": _url(path, method, taken, created),
    }
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"][JSON]["schema"]
        body = json.dumps(_unique(_example(schema, document)), indent=2, ensure_ascii=False)
        request["header"].append({"key": "Content-Type", "value": JSON})
        request["body"] = {
            "mode": "raw",
            "raw": body,
            "options": {"raw": {"language": "json"}},
        }
    return {
        "name": f"{method.upper()} {path}: {operation['summary']}",
        "event": [{"listen": "test", "script": {"type": "text/javascript", "exec": script}}],
        "request": request,
    }


def _checks(operation: Json, success: str, *, exact: bool) -> list[str]:
    """The test of a response. exact: its status is `success`; otherwise it is any documented one,
    because a catalog operation has no example, and a made-up key may have no row."""
    if not exact:
        documented = [int(status) for status in operation["responses"] if status.isdigit()]
        return [
            f"const statuses = {json.dumps(documented)};",
            'pm.test("status", () => pm.expect(statuses).to.include(pm.response.code));',
        ]
    kinds = list(operation["responses"][success]["content"])
    return [
        f'pm.test("status {success}", () => pm.response.to.have.status({success}));',
        f"const kinds = {json.dumps(kinds)};",
        'const kind = pm.response.headers.get("Content-Type").split(";")[0];',
        'pm.test("media type", () => pm.expect(kinds).to.include(kind));',
    ]


def _url(path: str, method: str, taken: dict[str, list[Json]], created: str) -> Json:
    parts = [f":{p[1:-1]}" if p.startswith("{") else p for p in path.strip("/").split("/")]
    query = [
        {
            "key": p["name"],
            "value": _value(p["schema"]),
            "description": p.get("description", ""),
            "disabled": not p.get("required", False),
        }
        for p in taken["query"]
    ]
    enabled = "&".join(f"{q['key']}={q['value']}" for q in query if not q["disabled"])
    # Reads use the example's row; changes use the row that the collection itself has created.
    made = None if method == "get" else f"{{{{{created}}}}}"
    url = {
        "raw": "{{baseUrl}}/" + "/".join(parts) + (f"?{enabled}" if enabled else ""),
        "host": ["{{baseUrl}}"],
        "path": parts,
        "query": query,
        "variable": [
            {"key": p["name"], "value": made or _value(p["schema"])} for p in taken["path"]
        ],
    }
    return {key: value for key, value in url.items() if value}


def _header(parameter: Json) -> Json:
    key = parameter["name"] == "Idempotency-Key"
    return {
        "key": parameter["name"],
        "value": "{{$guid}}" if key else "",
        "description": parameter["description"],
        "disabled": not key,
    }


def _value(schema: Json) -> str:
    """A parameter's example, its default, the first of its choices, or a value of its type."""
    known = (*schema.get("examples", ()), *([schema["default"]] if "default" in schema else ()))
    found = next(iter((*known, *schema.get("enum", ()))), None)
    if found is None and "format" in schema:
        found = FORMATS.get(schema["format"], VALUES.get(schema["type"], ""))
    if isinstance(found, bool):
        return str(found).lower()
    return ",".join(found) if isinstance(found, list) else str("" if found is None else found)


def _example(schema: Json, document: Json) -> Any:
    """The example of a body's schema; every schema of a body with a name has one."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return document["components"]["schemas"][name]["examples"][0]
    return [_example(schema["items"], document)] if "items" in schema else {}


def _unique(example: Any) -> Any:
    """`example` with a new name, because names are unique and the collection may run again."""
    if isinstance(example, list):
        return [_unique(part) for part in example]
    if isinstance(example, dict) and UNIQUE_NAME in example:
        return {**example, UNIQUE_NAME: example[UNIQUE_NAME] + " {{$guid}}"}
    return example
