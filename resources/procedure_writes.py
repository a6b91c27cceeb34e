"""Writes: once for each Idempotency-Key, or honestly without one."""

import json
import logging
from typing import Any

from flask import Response, current_app, request

from catalog import statements
from catalog.statements import KEY_KNOWN, REPLAY_COLUMN, RequestKey
from database.errors import DatabaseError
from protocol.consistency import give_token
from protocol.context import app_context
from protocol.formats import JSON
from protocol.idempotency import canonical, digest, idempotency_key, key_of_caller
from protocol.problems import Problem
from resources.procedure_calls import Call

log = logging.getLogger(__name__)
KEPT_HEADERS = ("ETag", "Location", "Content-Type")


def write_response(call: Call) -> Response:
    """Call the procedure; for a known key, the response to the first request with it."""
    if call.operation.exactly_once:
        return _keyed(call)
    if "Idempotency-Key" in request.headers:
        raise Problem(
            "invalid-header", f"Idempotency-Key has no effect here. {call.operation.why_not}"
        )
    return call.response(call.execute(call.statement(), repeatable=False))


def _keyed(call: Call) -> Response:
    key = _request_key(call)
    statement = call.statement(key)
    try:
        results = call.execute(statement)
    except DatabaseError as error:
        if error.sqlstate == KEY_KNOWN:
            (stored,) = call.execute(statements.find_response(call.procedure, key.key))
            return _replay(call, key, stored.rows[0])
        if not (error.duplicate and call.procedure.engine == "sqlserver"):
            raise
        # Where HOLDLOCK locks no range (Babelfish), a twin's key is a duplicate instead of a wait.
        results = call.execute(statement)
    if results and results[0].columns[0].name == REPLAY_COLUMN:
        return _replay(call, key, results[0].rows[0][1:])
    give_token(call.procedure.database, "c", key.key)
    try:
        response = call.response(results)
    except Problem as problem:
        # The write is committed all the same: a repeated request gets this problem again.
        response = problem.response()
    _keep(call, key, response)
    return response


def _request_key(call: Call) -> RequestKey:
    given = {name: _digestible(value) for name, value in call.values.items()}
    name = f"{call.operation.method} {call.procedure.qualified}"
    return RequestKey(key_of_caller(idempotency_key()), digest(name, canonical(given)))


def _digestible(value: Any) -> Any:
    return value if isinstance(value, (str, int, bool, type(None))) else repr(value)


def _keep(call: Call, key: RequestKey, response: Response) -> None:
    """Store the response of a write that is committed, before it is sent."""
    app = app_context().app
    body = response.get_data()
    fits = len(body) <= app.config["MAX_STORED_RESPONSE_BYTES"]
    # Werkzeug's own look-up of a header that is missing raises and catches an exception.
    headers = dict(response.headers.to_wsgi_list())
    kept = {name: headers[name] for name in KEPT_HEADERS if name in headers}
    statement = statements.keep_response(
        call.procedure,
        key.key,
        response.status_code,
        json.dumps(kept),
        body.decode() if fits else None,
    )
    try:
        call.execute(statement)
    except Exception as error:
        # The write is done, and its key is known: a repeated request won't do it again.
        log.warning(
            "%s of %s: its response was not stored: %s",
            *(call.procedure.qualified, call.procedure.database, error),
        )
    app.extensions["key_cleaner"].after_catalog_write(call.manager)


def _replay(call: Call, key: RequestKey, stored: Any) -> Response:
    stored_digest, status, headers, text = stored
    if stored_digest.strip() != key.digest:
        raise Problem(
            "procedure-error", "Idempotency-Key was used with another request.", status=422
        )
    give_token(call.procedure.database, "c", key.key)
    replay = {"Idempotency-Replayed": "true"}
    if status is not None and text is not None:
        response = Response(text, status, {**json.loads(headers or "{}"), **replay})
        if not text:
            del response.headers["Content-Type"]
        return response
    if "GET" in current_app.extensions["catalog"].allowed(request.path):
        replay["Link"] = f'<{request.base_url}>; rel="related"'
    detail = "The write was done before. Its response was not stored."
    body = json.dumps({"detail": detail})
    known = status if status is not None and status != 204 else call.operation.status
    return Response(body, known, replay, mimetype=JSON)
