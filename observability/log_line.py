"""The line of a request in the log, as JSON and as text, and the parts that other lines share."""

from __future__ import annotations

import functools
import json
import time
from typing import Any

from database.errors import DatabaseError
from database.events import kind_of
from observability.request import RequestRecord


def as_json(request: RequestRecord, created: float) -> str:
    """Formatted by hand, because json.dumps would cost more than everything else here.

    Every inserted text is our own or matches a pattern without quotes, backslashes and controls.
    """
    second = int(created)
    line = (
        f'{{"time":"{_second(second)}.{int((created - second) * 1000):03d}Z",'
        f'{_fixed_part(request.method, request.route, request.status)},"request_id":"{request.id}",'
        f'"duration_ms":{1000 * request.seconds:.3f},"bytes":{request.sent}'
    )
    if request.trace_id:
        line += f',"trace_id":"{request.trace_id}"'
    if request.events:
        attempts, waited, failure, replayed = request.summary()
        if attempts:
            line += f',"wait_ms":{1000 * waited:.3f},"attempts":{attempts}'
        if failure is not None or replayed:
            line += "," + json_text(_outcome(failure, replayed))[1:-1]
    return line + "}" if request.complete else line + ',"complete":false}'


def as_text(request: RequestRecord) -> str:
    text = (
        f"{request.method} {request.route} {request.status} {1000 * request.seconds:.1f} ms"
        f" {request.sent} B {request.id}"
    )
    _, _, failure, replayed = request.summary()
    text += "".join(f" {name}={value}" for name, value in _outcome(failure, replayed).items())
    return text if request.complete else text + " broken off"


def _outcome(failure: DatabaseError | None, replayed: bool) -> dict[str, Any]:
    """The last failed attempt, even if a retry succeeded; and whether the response is a replay."""
    fields: dict[str, Any] = {}
    if failure is not None:
        fields |= {"failure": kind_of(failure), **error_numbers(failure)}
    if replayed:
        fields["replayed"] = True
    return fields


def error_numbers(failure: DatabaseError) -> dict[str, Any]:
    return {"sqlstate": failure.sqlstate, "native": failure.native}


@functools.lru_cache(maxsize=1024)
def _fixed_part(method: str, route: str, status: int) -> str:
    parts = {"level": "INFO", "event": "request", "method": method, "route": route}
    return json_text({**parts, "status": status})[1:-1]


def json_text(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@functools.lru_cache(maxsize=2)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def utc_time(created: float) -> str:
    """RFC 3339, UTC, with milliseconds."""
    second = int(created)
    return f"{_second(second)}.{int((created - second) * 1000):03d}Z"
