"""Logs: one line per request, slow and failed calls, and all other log records, all redacted.

In JSON format a line is an object with time (UTC), level, logger, message, and the request_id and
trace_id of the request it belongs to. A request's line has event "request", method, route (the
template), status, duration_ms, bytes, and, if they apply, attempts, wait_ms, sqlstate, native,
failure, replayed and complete. It never contains the path, the query, a header or the body. The
line of a failed call has event "failed_call", procedure, database, failure, sqlstate, native and
server_message, without the request's values (database.errors).
"""

from __future__ import annotations

import functools
import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from database.errors import DatabaseError, Kind
from database.events import Call, CircuitBreakerOpened, Retry, kind_of
from observability.line_handler import LineHandler
from observability.observer import Subscriber
from observability.redaction import redact
from observability.request import RequestRecord, current

FORMATS = ("auto", "text", "json")
_root = logging.getLogger()
requests_log = logging.getLogger("requests")
calls_log = logging.getLogger("calls")
# The client gets 409 or 422; an operator has nothing to do.
_CLIENT_ERRORS = (Kind.CONSTRAINT, Kind.BAD_VALUE, Kind.RAISED)


class RequestLog(Subscriber):
    """Logs requests and calls. A call that takes `slow_seconds` or longer gets a warning."""

    def __init__(self, *, slow_seconds: float = 1.0) -> None:
        self._slow_seconds = slow_seconds
        self.handlers: dict[type, Callable[[Any], None]] = {
            Call: self._call,
            Retry: self._retry,
            CircuitBreakerOpened: self._circuit_breaker_opened,
        }

    def finished(self, request: RequestRecord) -> None:
        if not requests_log.isEnabledFor(logging.INFO):
            return
        handler = _only_handler()
        if handler is None:
            # Not info(), which searches the stack for its caller and doubles the cost of the line.
            requests_log.handle(RequestLogRecord(request))
        else:
            try:
                handler.write_line(_request_json(request, time.time()))
            except Exception:
                handler.handleError(RequestLogRecord(request))

    def _call(self, call: Call) -> None:
        if call.failure is not None:
            failure = getattr(call.failure, "failure", call.failure)  # Unavailable wraps its cause
            if isinstance(failure, DatabaseError) and failure.kind is not Kind.CHOSEN:
                self._failed(call, failure)
        if call.seconds >= self._slow_seconds:
            request = current.request
            calls_log.warning(
                "slow call: %s on %s took %.3f s",
                *(call.procedure, call.database, call.seconds),
                extra={
                    "fields": {
                        "event": "slow_call",
                        "procedure": call.procedure,
                        "database": call.database,
                        "duration_ms": round(1000 * call.seconds, 1),
                        "wait_ms": round(1000 * request.waited(), 1) if request else None,
                        "attempts": request.attempts() if request else None,
                        "failure": kind_of(call.failure) if call.failure else None,
                    }
                },
            )

    def _failed(self, call: Call, failure: DatabaseError) -> None:
        level = logging.INFO if failure.kind in _CLIENT_ERRORS else logging.ERROR
        calls_log.log(
            level,
            "failed call: %s on %s: %s",
            *(call.procedure, call.database, failure.report),
            extra={
                "fields": {
                    "event": "failed_call",
                    "procedure": call.procedure,
                    "database": call.database,
                    "failure": kind_of(failure),
                    **_numbers(failure),
                    "server_message": redact(failure.said) or None,
                }
            },
        )

    def _retry(self, retry: Retry) -> None:
        calls_log.warning(
            "%s: %s; retrying",
            *(retry.database, retry.failure.report),
            extra={"fields": {"event": "retry", **_numbers(retry.failure)}},
        )

    def _circuit_breaker_opened(self, opened: CircuitBreakerOpened) -> None:
        calls_log.error("%s: circuit breaker opened, connects keep failing", opened.database)


class RequestLogRecord(logging.LogRecord):
    """A log record for one request, with only those attributes that handlers and formatters use."""

    msg: RequestRecord

    def __init__(self, request: RequestRecord) -> None:
        self.name = requests_log.name
        self.levelno, self.levelname = logging.INFO, "INFO"
        self.msg = request
        self.args = None
        self.created = time.time()
        self.exc_info = self.exc_text = self.stack_info = None
        self.pathname = self.filename = self.module = self.funcName = ""
        self.lineno = 0

    def getMessage(self) -> str:
        return _request_text(self.msg)


def configure(form: str = "auto", *, stream: TextIO | None = None) -> None:
    """Send all log records, redacted, to `stream` (default: standard error), one line each.

    form: one of FORMATS; "auto" is text on a terminal, else JSON. Replaces the root's handlers.
    """
    stream = stream or sys.stderr
    if form == "auto":
        form = "text" if stream.isatty() else "json"
    handler = LineHandler(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    for old in _root.handlers[:]:
        _root.removeHandler(old)
    _root.addHandler(handler)
    _root.setLevel(logging.INFO)
    # They log each request to a token endpoint; database.connect.tokens logs the failures.
    for noisy in ("azure", "urllib3", "msal"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("werkzeug").addFilter(_is_no_access_line)
    # Unused here, and each costs a call for every line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    setattr(logging, "logAsyncioTasks", False)  # noqa: B010 - from Python 3.12 on


def _only_handler() -> LineHandler | None:
    """The handler of configure(), if it alone handles the lines of requests, in JSON."""
    if requests_log.handlers or requests_log.filters or not requests_log.propagate:
        return None
    if len(_root.handlers) != 1:
        return None
    handler = _root.handlers[0]
    if type(handler) is LineHandler and type(handler.formatter) is JsonFormatter:
        return handler if handler.level <= logging.INFO and not handler.filters else None
    return None


class JsonFormatter(logging.Formatter):
    """A record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        if type(record) is RequestLogRecord:
            return _request_json(record.msg, record.created)
        line: dict[str, Any] = {
            "time": _utc_time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
            **getattr(record, "fields", {}),
        }
        request = current.request
        if request is not None:
            line["request_id"] = request.id
            if request.trace_id:
                line["trace_id"] = request.trace_id
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return _json({k: v for k, v in line.items() if v is not None})


class TextFormatter(logging.Formatter):
    """A record as text for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        if type(record) is RequestLogRecord:
            return f"{clock} {record.getMessage()}"
        text = f"{clock} {record.levelname} {record.name}: {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return redact(text)


def _request_json(request: RequestRecord, created: float) -> str:
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
            line += "," + _json(_outcome(failure, replayed))[1:-1]
    return line + "}" if request.complete else line + ',"complete":false}'


def _request_text(request: RequestRecord) -> str:
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
        fields |= {"failure": kind_of(failure), **_numbers(failure)}
    if replayed:
        fields["replayed"] = True
    return fields


def _numbers(failure: DatabaseError) -> dict[str, Any]:
    return {"sqlstate": failure.sqlstate, "native": failure.native}


@functools.lru_cache(maxsize=1024)
def _fixed_part(method: str, route: str, status: int) -> str:
    parts = {"level": "INFO", "event": "request", "method": method, "route": route}
    return _json({**parts, "status": status})[1:-1]


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@functools.lru_cache(maxsize=2)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _utc_time(created: float) -> str:
    """RFC 3339, UTC, with milliseconds."""
    second = int(created)
    return f"{_second(second)}.{int((created - second) * 1000):03d}Z"


def _is_no_access_line(record: logging.LogRecord) -> bool:
    """False for the access log of Werkzeug's development server, which has paths and queries."""
    return " - - [" not in str(record.msg)
