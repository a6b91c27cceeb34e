"""Every route that comes from a database's catalog: one resource for all of them."""

import json
import logging
import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any

from flask import Response, current_app, g, request
from flask_restful import Resource

from catalog import statements
from catalog.binding import NO_BODY, bind
from catalog.operation import IN_BRACES, Operation
from catalog.statements import KEY_KNOWN, REPLAY_COLUMN, RequestKey
from connection_manager import ConnectionManager, Rows
from database.errors import DatabaseError, Kind
from database.statement import ResultSet, Statement
from operations.catalog_routes import Match
from operations.result_body import ContractBreach, ResultBody, is_text, result_body
from protocol import validation
from protocol.authorization import caller_claims
from protocol.formats import ARROW, CSV, JSON, NDJSON, streamed_bytes, wanted_format
from protocol.idempotency import digest, idempotency_key, key_of_caller
from protocol.problems import Problem
from protocol.rows import UnusableColumns, arrow_stream, csv_text, json_objects, names_of

log = logging.getLogger(__name__)
# Nothing has run, and the catalog may have changed: no such procedure, parameter missing, too many
# parameters; PostgreSQL's undefined function.
CATALOG_CHANGED = (2812, 201, 8144, 8145)
UNDEFINED_FUNCTION = "42883"
_EXPECTS = re.compile(r"expects parameter '@([^']+)'")
FORMATS = (JSON, NDJSON, CSV, ARROW)


class Procedures(Resource):
    """The operations of the catalog; `g.match` is the one that the request is for."""

    from_catalog = True

    def get(self) -> Response:
        return self._serve()

    put = post = patch = delete = get

    def _serve(self) -> Response:
        if g.match.operation is None:
            raise g.match.failure
        try:
            return serve(g.match)
        except DatabaseError as error:
            if error.native not in CATALOG_CHANGED and error.sqlstate != UNDEFINED_FUNCTION:
                raise
            routes = current_app.extensions["catalog"]
            if routes.live.refresh_after_failure():
                match = routes.match(request.path, request.method)
                if match.operation not in (None, g.match.operation):
                    return serve(match)
            missing = _EXPECTS.search(error.said)
            if error.native == 201 and missing:
                raise _refused([("body", missing[1], f"{missing[1]} is required.")]) from None
            raise


def serve(match: Match) -> Response:
    """The response of one operation. Raises Problem, and what ConnectionManager.execute() does."""
    operation = match.operation
    query = list(request.args.items(multi=True))
    media_type = JSON
    if operation.method == "GET":
        media_type, query = _media_type(query, operation)
    body = NO_BODY if operation.method in ("GET", "DELETE") else validation.any_json()
    bound = bind(operation, match.path, query, body)
    if bound.faults:
        raise _refused(bound.faults)
    manager = current_app.extensions["databases"].manager(operation.procedure.database)
    if not operation.reads:
        return _write(operation, bound.values, manager)
    if operation.method == "GET" and not operation.route.endswith("}"):
        return _list(operation, bound.values, manager, media_type)
    results = _execute(manager, operation, _call(operation, bound.values), repeatable=True)
    return _response(operation, _shaped(operation, results))


def _call(operation: Operation, values: dict[str, Any], key: RequestKey | None = None) -> Statement:
    return statements.call(operation.procedure, values, key=key, rows_as_json=True)


def _write(operation: Operation, values: dict[str, Any], manager: ConnectionManager) -> Response:
    if not operation.exactly_once:
        if "Idempotency-Key" in request.headers:
            raise Problem(
                "invalid-header", f"Idempotency-Key has no effect here. {operation.why_not}"
            )
        results = _execute(manager, operation, _call(operation, values), repeatable=False)
        return _response(operation, _shaped(operation, results))
    procedure = operation.procedure
    key = key_of_caller(idempotency_key())
    given = {name: _digestible(value) for name, value in values.items()}
    request_key = RequestKey(key, digest(f"{operation.method} {procedure.qualified}", given))
    statement = _call(operation, values, request_key)
    try:
        results = _execute(manager, operation, statement, repeatable=True)
    except DatabaseError as error:
        if error.sqlstate == KEY_KNOWN:
            stored = _execute(
                manager, operation, statements.find_response(procedure, key), repeatable=True
            )
            return _replayed(operation, request_key, stored[0].rows[0])
        if error.kind is not Kind.CONSTRAINT:
            raise
        # A twin with the same key may have been faster, on an engine where it does not wait.
        results = _execute(manager, operation, statement, repeatable=True)
    if results and results[0].columns[0].name == REPLAY_COLUMN:
        return _replayed(operation, request_key, results[0].rows[0][1:])
    try:
        response = _response(operation, _shaped(operation, results))
    except Problem as problem:
        response = problem.response()
    _keep(operation, manager, key, response)
    return response


def _keep(operation: Operation, manager: ConnectionManager, key: str, response: Response) -> None:
    """Store the response of a write that is committed, before the client gets it."""
    text: str | None = response.get_data(as_text=True)
    if len(text or "") > current_app.config["MAX_STORED_RESPONSE"]:
        text = None
    kept = {n: v for n, v in response.headers.items() if n in ("ETag", "Location", "Content-Type")}
    statement = statements.keep_response(
        operation.procedure, key, response.status_code, json.dumps(kept), text
    )
    try:
        _execute(manager, operation, statement, repeatable=True)
    except Exception as error:
        # The write is done, and its key is known: a repeated request won't do it again.
        log.warning("the response of %s was not stored: %s", operation.procedure.qualified, error)
    current_app.extensions["key_cleaner"].after_write(manager)


def _replayed(operation: Operation, key: RequestKey, stored: Any) -> Response:
    stored_digest, status, headers, text = stored
    if stored_digest.strip() != key.digest:
        raise Problem(
            "procedure-error", "Idempotency-Key was used with another request.", status=422
        )
    replay = {"Idempotency-Replayed": "true"}
    if status is not None and text is not None:
        return Response(text, status, {**json.loads(headers or "{}"), **replay})
    if operation.location and "{" not in operation.location:
        replay["Link"] = f'<{request.url_root.rstrip("/")}{operation.location}>; rel="related"'
    detail = "The write was done before. Its response was not stored."
    return Response(
        json.dumps({"detail": detail}), status or operation.status, replay, mimetype=JSON
    )


def _list(
    operation: Operation, values: dict[str, Any], manager: ConnectionManager, media_type: str
) -> Response:
    """Rows as they come, with flat memory; a short list is one piece with a length."""
    procedure = operation.procedure
    if (
        procedure.outputs
        or procedure.result.many
        or procedure.result.empty
        or not (procedure.is_function or procedure.engine == "sqlserver")
    ):
        if media_type != JSON:
            raise Problem("not-acceptable", "This answers application/json only.")
        results = _execute(manager, operation, _call(operation, values), repeatable=True)
        return _response(operation, _shaped(operation, results))
    statement = statements.call(
        procedure, values, rows_as_json=media_type in (JSON, NDJSON), open_cursor=True
    )
    caller, deadline = caller_claims(), g.deadline
    rows = current_app.extensions["stream_limit"].begin(
        lambda: manager.stream_rows(
            procedure.qualified, statement, caller=caller, deadline=deadline
        )
    )
    try:
        return _streamed(operation, rows, media_type)
    except BaseException:
        rows.close()
        raise


def _streamed(operation: Operation, rows: Rows, media_type: str) -> Response:
    names = [column.name for column in rows.columns]
    if is_text(names):
        batches = iter(rows)
        first = next(batches, [])
        second = next(batches, None)
        if second is None and media_type == JSON:
            found = ResultSet(rows.columns, first)
            return _response(operation, _shaped(operation, [found]))
        if media_type != JSON:
            rows.close()
            raise Problem("not-acceptable", "This answers application/json only.")
        return streamed_bytes(rows, _pieces(chain([first, second], batches)), JSON)
    encode = {
        JSON: partial(_json_array, names),
        NDJSON: partial(_ndjson, names),
        CSV: lambda batches: (text.encode() for text in csv_text(_checked(rows), batches)),
        ARROW: lambda batches: arrow_stream(rows.columns, batches),
    }[media_type]
    try:
        _checked(rows)
    except UnusableColumns as error:
        raise _breach(operation, str(error)) from None
    return streamed_bytes(rows, encode(iter(rows)), media_type)


def _checked(rows: Rows) -> list[str]:
    return names_of(rows.columns)


def _pieces(batches: Iterable[list[Any]]) -> Iterator[bytes]:
    """JSON text that the database has cut into rows."""
    for batch in batches:
        yield "".join([row[0] for row in batch if row[0]]).encode()


def _objects(names: list[str], batch: list[Any]) -> list[bytes]:
    if names == ["row_to_json"]:
        return [row[0].encode() for row in batch]
    return json_objects(names, batch)


def _json_array(names: list[str], batches: Iterator[list[Any]]) -> Iterator[bytes]:
    lead = b"["
    for batch in batches:
        yield lead + b",".join(_objects(names, batch))
        lead = b","
    yield b"]" if lead == b"," else b"[]"


def _ndjson(names: list[str], batches: Iterator[list[Any]]) -> Iterator[bytes]:
    for batch in batches:
        yield b"\n".join(_objects(names, batch)) + b"\n"


def _execute(
    manager: ConnectionManager, operation: Operation, statement: Statement, *, repeatable: bool
) -> list[ResultSet]:
    return manager.execute(
        operation.procedure.qualified,
        statement,
        caller=caller_claims(),
        deadline=g.deadline,
        repeatable=repeatable,
    )


def _shaped(operation: Operation, results: list[ResultSet]) -> ResultBody:
    try:
        return result_body(operation, results)
    except ContractBreach as error:
        raise _breach(operation, str(error)) from None


def _breach(operation: Operation, sentence: str) -> Problem:
    procedure = operation.procedure
    log.error("%s of %s: %s", procedure.qualified, procedure.database, sentence)
    return Problem("internal", "The procedure's result can't be answered; the log says why.")


def _response(operation: Operation, found: ResultBody) -> Response:
    status = found.status or operation.status
    if found.rows is None:
        status = found.status or operation.no_result
    elif found.rows == 0 and operation.no_row == 404 and found.status is None:
        raise Problem("not-found", "There is no such row.")
    if found.rows is None and status == 404:
        raise Problem("not-found", "There is no such row.")
    headers = {}
    if found.etag:
        headers["ETag"] = f'"{found.etag}"'
    if found.following is not None:
        args = {**request.args.to_dict(), "after": found.following}
        following = "&".join(f"{_quoted(n)}={_quoted(v)}" for n, v in args.items())
        headers["Link"] = f'<{request.base_url}?{following}>; rel="next"'
    location = _location(operation, found)
    if location and status == 201:
        headers["Location"] = location
    response = Response(found.body or b"", status, headers)
    if found.body is None:
        del response.headers["Content-Type"]
    else:
        response.mimetype = JSON
    if operation.method == "GET" and "If-None-Match" in request.headers:
        response.make_conditional(request)
    return response


def _location(operation: Operation, found: ResultBody) -> str | None:
    """The URL of what was made, where its row holds the key."""
    if not operation.location or not found.first:
        return None
    (name,) = IN_BRACES.findall(operation.location)
    value = found.first.get(name.lower())
    return None if value is None else IN_BRACES.sub(_quoted(value), operation.location)


def _quoted(value: Any) -> str:
    from urllib.parse import quote

    return quote(str(value), safe="")


def _media_type(
    query: list[tuple[str, str]], operation: Operation
) -> tuple[str, list[tuple[str, str]]]:
    """The media type, by ?format= unless a parameter has that name, else by Accept."""
    if any(p.folded == "format" for p in operation.query):
        return wanted_format(None, FORMATS), query
    asked = [text for name, text in query if name == "format"]
    if asked and asked[-1] not in ("json", "ndjson", "csv", "arrow"):
        raise _refused([("query", "format", "format must be json, ndjson, csv or arrow.")])
    rest = [(name, text) for name, text in query if name != "format"]
    return wanted_format(asked[-1] if asked else None, FORMATS), rest


def _refused(faults: Any) -> Problem:
    errors = [
        {"pointer": f"/{name}" if name else "", "detail": sentence}
        if place == "body"
        else {"parameter": name, "detail": sentence}
        for place, name, sentence in faults
    ]
    slug = {"path": "invalid-path", "query": "invalid-query"}.get(faults[0][0], "invalid-body")
    return Problem(slug, "Parameters are refused.", status=400, errors=errors)


def _digestible(value: Any) -> Any:
    return value if isinstance(value, (str, int, bool, type(None))) else repr(value)
