"""What every resource shares: the request's JSON in, the procedure's JSON out, byte for byte."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, current_app, g, request
from flask_restful import Resource

from connection_manager import ConnectionManager
from database.errors import DatabaseError, Kind
from database.session import Answer
from protocol.authorization import caller_claims, opens
from protocol.conditional import if_match
from protocol.formats import compact, streamed
from protocol.idempotency import digest, idempotency_key, key_of_caller
from protocol.problems import Problem


@dataclass(frozen=True)
class Procedure:
    """What a method calls. streams: in its form of one row an item too."""

    name: str
    streams: bool = False


class ProcedureResource(Resource):
    """A resource names its `database`, and the procedure of each of its methods.

    procedures: by method, in lower case; HEAD is GET's. `flask sql check` reads them too.
    """

    database: str
    procedures: Mapping[str, Procedure]

    @property
    def procedure(self) -> str:
        """The name of the procedure that this request's method calls."""
        method = request.method.lower()
        return self.procedures["get" if method == "head" else method].name

    def read(self, document: dict[str, Any]) -> Answer:
        """Call a procedure that reads, together with who asks the same at the same time."""
        return self._manager().read(
            self.procedure, compact(document), caller=caller_claims(), deadline=g.deadline
        )

    def ask(self, document: dict[str, Any]) -> Answer:
        """Call the procedure, for this request alone."""
        return self._manager().call(
            self.procedure, compact(document), caller=caller_claims(), deadline=g.deadline
        )

    def write(self, document: dict[str, Any]) -> Answer:
        """Call a procedure that writes: once for its Idempotency-Key, however often it is asked."""
        key = key_of_caller(idempotency_key())
        request_part: dict[str, Any] = {"key": key, "digest": digest(self.procedure, document)}
        tag = if_match()
        if tag is not None:
            request_part["if_match"] = tag
        asked = {**document, "_request": request_part}
        try:
            answer = self.ask(asked)
        except DatabaseError as error:
            if error.kind is not Kind.CONSTRAINT:
                raise
            # Maybe a twin with the same key was faster, on an engine that does not make twins
            # wait: then its answer is found now. A true conflict is one again.
            answer = self.ask(asked)
        current_app.extensions["key_cleaner"].after_write(self._manager())
        return answer

    def stream(
        self, document: dict[str, Any], *, media_type: str, columns: Sequence[str]
    ) -> Response:
        """Call a procedure that reads, its rows sent on as they come."""
        manager = self._manager()
        text = compact({**document, "rows": True})
        caller = caller_claims()
        rows = current_app.extensions["stream_limit"].begin(
            lambda: manager.stream(self.procedure, text, caller=caller, deadline=g.deadline)
        )
        return streamed(rows, media_type, columns)

    def _manager(self) -> ConnectionManager:
        return current_app.extensions["databases"].manager(self.database)


def sources() -> dict[str, str]:
    """What serves each database, for this request's caller."""
    databases = current_app.extensions["databases"]
    # These routes are open to all: a server's name is for those who may operate the API.
    with_place = opens("operate")
    return {
        name: databases.source(name, with_place=with_place) for name in databases.reported_names()
    }


def json_response(answer: Answer, status: int = 200, **headers: str) -> Response:
    """The procedure's text as the body, with its entity tag and whether it is a replay."""
    headers["Content-Type"] = "application/json"
    if answer.etag:
        headers["ETag"] = f'"{answer.etag}"'
    if answer.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(answer.json, status, headers)


def or_404(answer: Answer, what: str) -> Answer:
    """`answer`, or the problem that there is no such row."""
    if answer.json in ("", "[]"):
        raise Problem("not-found", f"There is no {what}.")
    return answer
