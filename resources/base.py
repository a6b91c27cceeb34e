"""The base of the resources: a JSON document goes to a procedure, whose JSON text is the body."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import flask
from flask_restful import Resource

from connection_manager import ConnectionManager
from database.errors import DatabaseError, Kind
from database.session import Answer
from databases import Databases
from protocol.authorization import caller_claims
from protocol.conditional import if_match
from protocol.consistency import consistency, give_token
from protocol.context import app_context, request_context
from protocol.formats import compact, document_text, streamed
from protocol.idempotency import canonical, digest, idempotency_key, key_of_caller
from protocol.problems import Problem
from protocol.response import Response
from replicas.reads import Reads


@dataclass(frozen=True)
class Procedure:
    """The procedure of a method. streams: whether it also exists in the form that streams rows."""

    name: str
    streams: bool = False


class ProcedureResource(Resource):
    """A resource whose methods call procedures.

    database: its name. procedures: by method in lower case; HEAD uses the one of GET. `flask sql
    check` reads both attributes.
    """

    database: str
    procedures: Mapping[str, Procedure]

    @property
    def procedure(self) -> str:
        """The name of the procedure that this request's method calls."""
        method = request_context().request.method.lower()
        return self.procedures["get" if method == "head" else method].name

    def read(self, document: dict[str, Any]) -> Answer:
        """Call a procedure that reads; identical concurrent reads may share one call."""
        return reads_of(self.database).read(
            self.procedure,
            document_text(document),
            caller=caller_claims(),
            deadline=app_context().g.deadline,
        )

    def write(self, document: dict[str, Any]) -> Answer:
        """Call a procedure that writes: once per Idempotency-Key, however often it is sent."""
        context = app_context()
        procedure = self.procedure
        key = key_of_caller(idempotency_key())
        text = canonical(document)
        request_part = f'"key":{canonical(key)},"digest":"{digest(procedure, text)}"'
        tag = if_match()
        if tag is not None:
            request_part += f',"if_match":{canonical(tag)}'
        separator = "," if document else ""
        keyed = f'{text[:-1]}{separator}"_request":{{{request_part}}}}}'
        databases: Databases = context.app.extensions["databases"]
        manager = databases.manager(self.database)
        deadline = context.g.deadline
        call = partial(manager.call, procedure, keyed, caller=caller_claims(), deadline=deadline)
        try:
            answer = call()
        except DatabaseError as error:
            if error.kind is not Kind.CONSTRAINT:
                raise
            # A concurrent request with the same key may have stored its response first, on an
            # engine that does not make the second one wait. The second call then replays that
            # response; a genuine conflict is raised again.
            answer = call()
        context.app.extensions["key_cleaner"].after_write(manager)
        give_token(self.database, "s", key)
        return answer

    def stream(
        self, document: dict[str, Any], *, media_type: str, fields: Mapping[str, Any]
    ) -> flask.Response:
        """Call a procedure that reads, and stream its rows as they arrive."""
        reads = reads_of(self.database)
        text = compact({**document, "rows": True})
        context, caller = app_context(), caller_claims()
        deadline = context.g.deadline
        rows = context.app.extensions["stream_limit"].begin(
            lambda: reads.stream(self.procedure, text, caller=caller, deadline=deadline)
        )
        return streamed(rows, media_type, fields)


def reads_of(database: str) -> ConnectionManager | Reads:
    """What serves this request's reads of `database`: its primary, or its replicas too.

    Raises Problem invalid-header, NotConfigured.
    """
    databases: Databases = app_context().app.extensions["databases"]
    manager = databases.manager(database)
    replicated = databases.replicated(database)
    if replicated is None:
        return manager
    return replicated.reads(consistency(database, manager.engine))


def json_response(answer: Answer, status: int = 200, **headers: str) -> Response:
    """A response with the procedure's JSON text, its entity tag and Idempotency-Replayed."""
    headers["Content-Type"] = "application/json"
    if answer.etag:
        headers["ETag"] = f'"{answer.etag}"'
    if answer.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(answer.json, status, headers)


def or_404(answer: Answer, what: str) -> Answer:
    """`answer`. Raises Problem not-found if it has no row; what: such as "such customer"."""
    if answer.json in ("", "[]"):
        raise Problem("not-found", f"There is no {what}.")
    return answer
