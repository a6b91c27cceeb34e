"""A client of the API under test, and the one shape that every problem has."""

from __future__ import annotations

import uuid
from typing import Any

import requests

from settings import ROOT

TYPE_PREFIX = "urn:sql-procedures-api:"
TIMEOUT_SECONDS = 60
# What only a driver, an engine or an interpreter would say.
NOT_FOR_CLIENTS = ("ODBC", "odbc", "[Microsoft]", "SQLSTATE", "ERROR:", "Traceback", str(ROOT))


class Api(requests.Session):
    """A session whose paths are below the server's address."""

    def __init__(self, url: str) -> None:
        super().__init__()
        # A proxy in the environment must not come between.
        self.trust_env = False
        self.url = url

    def request(self, method: str, path: str, *args: Any, **options: Any) -> requests.Response:
        options.setdefault("timeout", TIMEOUT_SECONDS)
        return super().request(method, self.url + path, *args, **options)

    def new_customer(self, name: str | None = None, **keys: Any) -> dict[str, Any]:
        """A customer that no other test knows, as the API answered it."""
        response = self.put("/customer", json={"CustomerName": name or unique_name(), **keys})
        assert response.status_code == 201, response.text
        return one(response)

    def named(self, name: str) -> list[dict[str, Any]]:
        """The customers whose name holds `name`."""
        response = self.get("/customers", params={"name": name})
        assert response.status_code == 200, response.text
        return response.json()


def one(response: requests.Response) -> dict[str, Any]:
    """The only item of the list that a single row is answered with."""
    items = response.json()
    assert len(items) == 1
    return items[0]


def unique_name(prefix: str = "Test ") -> str:
    """A name of the prefix and 20 characters."""
    return prefix + uuid.uuid4().hex[:20]


def assert_problem(
    response: requests.Response,
    status: int,
    slug: str | None = None,
    *,
    pointers: set[str] | None = None,
    parameters: set[str] | None = None,
) -> dict[str, Any]:
    """`response` is a problem (RFC 9457), and nothing but: its body.

    {"type": URI, "title": text, "status": the HTTP status, "detail": text (where there is more to
    say), "errors": [{"pointer" or "parameter": text, "detail": text}] (where parts are at fault),
    "instance": "urn:uuid:<X-Request-ID>"}; sent as application/problem+json, without a word of a
    driver. pointers, parameters: exactly what `errors` names.
    """
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert {"type", "title", "status", "instance"} <= body.keys()
    assert body.keys() <= {"type", "title", "status", "detail", "errors", "instance"}
    assert body["status"] == status
    assert body["type"].startswith(TYPE_PREFIX)
    assert body["title"]
    assert body["instance"] == f"urn:uuid:{response.headers['X-Request-ID']}"
    assert not [words for words in NOT_FOR_CLIENTS if words in response.text]
    if slug is not None:
        assert body["type"] == TYPE_PREFIX + slug
    errors = body.get("errors", [])
    assert all(error["detail"] for error in errors)
    if pointers is not None:
        assert {error.get("pointer") for error in errors} == pointers
    if parameters is not None:
        assert {error.get("parameter") for error in errors} == parameters
    return body
