"""What every resource shares: the request's JSON in, the procedure's JSON out, byte for byte."""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, current_app, g, request
from flask_restful import Resource

from connection_manager import ConnectionManager
from database.deadline import Deadline
from database.errors import DatabaseError, Kind
from database.session import Answer
from protocol.authorization import caller_claims
from protocol.formats import streamed
from protocol.problems import Problem

# RFC 9110 field content; the draft's quoted form names the same key as the bare one.
IDEMPOTENCY_KEY = re.compile(r'"?([\x21\x23-\x7e](?:[\x20\x21\x23-\x7e]{0,253}[\x21\x23-\x7e])?)"?')
# What compression appends to a tag is the sent form's, not the row's.
ENTITY_TAG = re.compile(r'"([\x21\x23-\x7e]+?)(?::(?:br|gzip))?"')


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


def compact(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def digest(procedure: str, document: dict[str, Any]) -> str:
    """What makes two requests the same request: procedure and document. 64 hex digits."""
    text = json.dumps([procedure, document], separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def idempotency_key() -> str:
    """The client's Idempotency-Key, else one made for this request."""
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return uuid.uuid4().hex
    matched = IDEMPOTENCY_KEY.fullmatch(given.strip())
    if matched is None:
        raise Problem(
            "invalid-header", "Idempotency-Key must be 1 to 255 printable ASCII characters."
        )
    return matched[1]


def key_of_caller(key: str) -> str:
    """`key` as it is stored: of its caller alone, so that nobody is answered with what another
    caller's request was."""
    caller = g.get("caller")
    if caller is None:
        return key
    text = json.dumps([caller.issuer, caller.subject, key])
    return hashlib.sha256(text.encode()).hexdigest()


def if_match() -> str | None:
    """The one entity tag of If-Match; None without the header, and for `*`."""
    given = request.headers.get("If-Match")
    if given is None and current_app.config["REQUIRE_IF_MATCH"] and request.view_args:
        raise Problem("precondition-required", "Send If-Match with the ETag of what you read.")
    if given in (None, "*"):
        return None
    matched = ENTITY_TAG.fullmatch(given.strip())
    if matched is None:
        raise Problem("invalid-header", 'If-Match must be one strong entity tag, such as "abc".')
    return matched[1]


def new_deadline(seconds: float, given: str | None, *, waited: float = 0.0) -> Deadline:
    """The request's deadline: `seconds`, which `given`, its Request-Timeout, can only shorten.

    waited: seconds since the request arrived, which count.
    """
    if given is None:
        return Deadline(seconds - waited)
    try:
        asked = float(given)
    except ValueError:
        asked = -1.0
    if not 0 < asked < float("inf"):
        raise Problem("invalid-header", "Request-Timeout must be a number of seconds above 0.")
    return Deadline(min(seconds, asked) - waited)
