"""Every route that comes from a database's catalog: one resource for all of them.

A request is bound to its procedure's parameters, all faults at once, before a connection is used.
Then it is a list (procedure_lists), a write (procedure_writes), or one call that only reads.
"""

import re

from flask import Response, request
from flask_restful import Resource

from catalog.binding import NO_BODY, Fault, bind
from catalog.operation import Operation
from database.errors import DatabaseError
from operations.catalog_routes import Match
from protocol import validation
from protocol.context import app_context, request_context
from protocol.formats import ARROW, CSV, JSON, NDJSON, wanted_format
from protocol.problems import Problem
from resources.procedure_calls import Call
from resources.procedure_lists import list_response, streams
from resources.procedure_writes import write_response

# The catalog may have changed: no such procedure, a parameter missing, too many parameters, no
# such parameter; PostgreSQL's undefined function.
CATALOG_CHANGED = (2812, 201, 8144, 8145)
UNDEFINED_FUNCTION = "42883"
_EXPECTS = re.compile(r"expects parameter '@([^']+)'")
FORMATS = {"json": JSON, "ndjson": NDJSON, "csv": CSV, "arrow": ARROW}


class Procedures(Resource):
    """The operations of the catalog; `g.match` is the one that the request is for."""

    from_catalog = True

    def get(self) -> Response:
        match: Match = app_context().g.match
        if match.operation is None:
            assert match.failure is not None
            raise match.failure
        try:
            return serve(match)
        except DatabaseError as error:
            if error.native not in CATALOG_CHANGED and error.sqlstate != UNDEFINED_FUNCTION:
                raise
            return _serve_again(match, error)

    put = post = patch = delete = get


def serve(match: Match) -> Response:
    """The response of one operation. Raises Problem, and what ConnectionManager.execute() does."""
    operation = match.operation
    assert operation is not None
    media_type, query = _media_type(operation)
    body = NO_BODY if operation.method in ("GET", "DELETE") else validation.any_json()
    bound = bind(operation, match.path, query, body)
    if bound.faults:
        raise _refused(bound.faults)
    procedure = operation.called
    manager = app_context().app.extensions["databases"].manager(procedure.database)
    call = Call(operation, procedure, bound.values, manager)
    if not operation.reads:
        return write_response(call)
    if streams(operation):
        return list_response(call, media_type)
    return call.response(call.read())


def _serve_again(match: Match, error: DatabaseError) -> Response:
    """Serve from a catalog read now; what failed was rolled back, or never ran."""
    routes = app_context().app.extensions["catalog"]
    if routes.live.refresh_after_failure() and not error.may_have_run:
        found = routes.match(request.path, request.method)
        if found.operation not in (None, match.operation):
            return serve(found)
    missing = _EXPECTS.search(error.said)
    if error.native == 201 and missing:
        place = "query" if request.method in ("GET", "HEAD", "DELETE") else "body"
        raise _refused((Fault(place, missing[1], f"{missing[1]} is required."),)) from None
    raise error


def _media_type(operation: Operation) -> tuple[str, list[tuple[str, str]]]:
    """The response's media type, and the query without the parameter `format` that chose it.

    A parameter of the procedure that is named format is the procedure's own.
    """
    request = request_context().request
    query: list[tuple[str, str]] = []
    if request.environ.get("QUERY_STRING"):
        query = list(request.args.items(multi=True))
    if operation.method != "GET" or (not query and "HTTP_ACCEPT" not in request.environ):
        return JSON, query
    named = [text for name, text in query if name == "format"]
    if any(p.folded == "format" for p in operation.query):
        named = []
    else:
        query = [(name, text) for name, text in query if name != "format"]
    if named and named[-1] not in FORMATS:
        raise _refused((Fault("query", "format", "format must be json, ndjson, csv or arrow."),))
    offered = tuple(FORMATS.values()) if streams(operation) else (JSON,)
    media_type = wanted_format(named[-1] if named else None, offered)
    if media_type not in offered:
        raise Problem("not-acceptable", f"{operation.route} has {JSON} only.")
    return media_type, query


def _refused(faults: tuple[Fault, ...]) -> Problem:
    errors = [
        {"pointer": f"/{name}" if name else "", "detail": sentence}
        if place == "body"
        else {"parameter": name, "detail": sentence}
        for place, name, sentence in faults
    ]
    slug = {"path": "invalid-path", "query": "invalid-query"}.get(faults[0].place, "invalid-body")
    return Problem(slug, "Parameters are refused.", status=400, errors=errors)
