"""A Postman collection (format 2.1) of what the OpenAPI document describes, each with its test.

It runs from top to bottom: what is made first is what is changed and deleted later.
"""

import json
from collections import defaultdict
from typing import Any

from protocol.formats import JSON

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
BASE_URL = "http://127.0.0.1:5000"
CREATED = "created"  # the variable that holds the number of what was made last
ORDER = ("get", "patch", "put", "delete")
UNIQUE_NAME = "CustomerName"
REMEMBER = f"""\
const made = pm.response.headers.get("Location");
if (made) pm.collectionVariables.set("{CREATED}", made.split("/").pop());"""


def collection(document: dict[str, Any]) -> dict[str, Any]:
    """`document`, as Postman imports it: a folder a tag, a request an operation."""
    folders = defaultdict(list)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            success = min(operation["responses"])
            # What is made comes before all else, what is deleted after.
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
        "variable": [{"key": "baseUrl", "value": BASE_URL}, {"key": CREATED, "value": ""}],
        "item": [
            {"name": tag, "item": [entry for _, entry in sorted(entries, key=lambda e: e[0])]}
            for tag, entries in folders.items()
        ],
    }


def _item(
    path: str, method: str, operation: dict[str, Any], success: str, document: dict[str, Any]
) -> dict[str, Any]:
    taken = {where: [] for where in ("path", "query", "header")}
    for parameter in operation.get("parameters", ()):
        taken[parameter["in"]].append(parameter)
    kinds = list(operation["responses"][success]["content"])
    script = [
        f'pm.test("status {success}", () => pm.response.to.have.status({success}));',
        f"const kinds = {json.dumps(kinds)};",
        'const kind = pm.response.headers.get("Content-Type").split(";")[0];',
        'pm.test("media type", () => pm.expect(kinds).to.include(kind));',
        *(REMEMBER.splitlines() if success == "201" else ()),
    ]
    request = {
        "method": method.upper(),
        "description": operation["summary"],
        "header": [_header(p) for p in taken["header"]],
        "url": _url(path, method, taken),
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


def _url(path: str, method: str, taken: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
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
    asked = "&".join(f"{q['key']}={q['value']}" for q in query if not q["disabled"])
    # What is there is read; what is changed is what the collection itself has made.
    made = None if method == "get" else f"{{{{{CREATED}}}}}"
    url = {
        "raw": "{{baseUrl}}/" + "/".join(parts) + (f"?{asked}" if asked else ""),
        "host": ["{{baseUrl}}"],
        "path": parts,
        "query": query,
        "variable": [
            {"key": p["name"], "value": made or _value(p["schema"])} for p in taken["path"]
        ],
    }
    return {key: value for key, value in url.items() if value}


def _header(parameter: dict[str, Any]) -> dict[str, Any]:
    key = parameter["name"] == "Idempotency-Key"
    return {
        "key": parameter["name"],
        "value": "{{$guid}}" if key else "",
        "description": parameter["description"],
        "disabled": not key,
    }


def _value(schema: dict[str, Any]) -> str:
    """What a parameter may be: its example, its default, or the first that it offers."""
    known = (*schema.get("examples", ()), *([schema["default"]] if "default" in schema else ()))
    first = next(iter((*known, *schema.get("enum", ()))), "")
    return ",".join(first) if isinstance(first, list) else str(first)


def _example(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return document["components"]["schemas"][name]["examples"][0]
    return [_example(schema["items"], document)]


def _unique(example: Any) -> Any:
    """A name is one customer's only, and the collection may be run again."""
    if isinstance(example, list):
        return [_unique(part) for part in example]
    if UNIQUE_NAME in example:
        return {**example, UNIQUE_NAME: example[UNIQUE_NAME] + " {{$guid}}"}
    return example
