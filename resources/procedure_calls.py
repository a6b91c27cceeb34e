"""One call of a procedure, and the response that its result sets become."""

import logging
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from flask import request

from catalog import statements
from catalog.operation import IN_BRACES, Operation
from catalog.procedure import Procedure
from catalog.statements import RequestKey
from connection_manager import ConnectionManager
from database.errors import DatabaseError, Kind
from database.statement import ResultSet, Statement
from operations.result_body import ContractBreach, ResultBody, result_body
from protocol.authorization import caller_claims
from protocol.context import app_context, request_context
from protocol.formats import JSON
from protocol.problems import Problem
from protocol.response import Response
from replicas.reads import Reads
from resources.base import reads_of

log = logging.getLogger(__name__)
# Outside of it an ETag would end its quotes, or its header.
ENTITY_TAG = re.compile(r"[\x21\x23-\x7e\x80-\xff]*")


class Call(NamedTuple):
    """An operation with the values of one request by parameter name, its procedure and database."""

    operation: Operation
    procedure: Procedure
    values: Mapping[str, Any]
    manager: ConnectionManager

    def statement(self, key: RequestKey | None = None) -> Statement:
        return statements.call(self.procedure, self.values, key=key, rows_as_json=True)

    def read(self) -> list[ResultSet]:
        """Call a procedure that only reads, on a replica if one may serve it.

        Raises as execute() does.
        """
        return self.execute(self.statement(), on=reads_of(self.procedure.database))

    def execute(
        self,
        statement: Statement,
        *,
        repeatable: bool = True,
        on: ConnectionManager | Reads | None = None,
    ) -> list[ResultSet]:
        """Run `statement`, for this request's caller and within its deadline; on: the primary if
        None. Raises what ConnectionManager.execute() does.
        """
        try:
            return (on or self.manager).execute(
                self.procedure.qualified,
                statement,
                caller=caller_claims(),
                deadline=app_context().g.deadline,
                repeatable=repeatable,
            )
        except DatabaseError as error:
            if error.kind is Kind.TRANSACTION:
                log.error(
                    "%s of %s ended or broke the API's transaction: remove its COMMIT or ROLLBACK,"
                    " or mark it @nontransactional.",
                    *(self.procedure.qualified, self.procedure.database),
                )
            raise

    def response(self, results: list[ResultSet]) -> Response:
        """Raises Problem."""
        try:
            return _response(self.operation, result_body(self.operation, results))
        except ContractBreach as error:
            raise self.breach(str(error)) from None

    def breach(self, sentence: str) -> Problem:
        """The problem of a result that can't be a response; `sentence` is logged."""
        log.error("%s of %s: %s", self.procedure.qualified, self.procedure.database, sentence)
        return Problem("internal", "The procedure's result can't be answered; the log says why.")


def _response(operation: Operation, found: ResultBody) -> Response:
    status = found.status
    if status is None:
        status = operation.status
        if found.rows is None:
            status = operation.no_result
        elif found.rows == 0:
            status = operation.no_row if operation.no_row == 404 else status
    if status == 404 and not found.rows:
        raise Problem("not-found", "There is no such row.")
    if found.body is None and status >= 400:
        raise Problem("procedure-error", "The procedure refused it.", status=status)
    headers = _headers(operation, found, status)
    if found.body is None or status in (204, 304):
        response = Response(status=status, headers=headers)
        del response.headers["Content-Type"]
    else:
        response = Response(found.body, status, headers, mimetype=JSON)
    if operation.method == "GET":
        request = request_context().request
        if "HTTP_IF_NONE_MATCH" in request.environ:
            response.make_conditional(request)
    return response


def _headers(operation: Operation, found: ResultBody, status: int) -> dict[str, str]:
    headers = {}
    if found.etag is not None:
        if not ENTITY_TAG.fullmatch(found.etag):
            raise ContractBreach(f"ETag {found.etag!r} has a character that no ETag may have.")
        headers["ETag"] = f'"{found.etag}"'
    if found.following is not None:
        pairs = [(n, v) for n, v in request.args.items(multi=True) if n != "after"]
        query = "&".join(
            f"{_quoted(n)}={_quoted(v)}" for n, v in [*pairs, ("after", found.following)]
        )
        headers["Link"] = f'<{request.base_url}?{query}>; rel="next"'
    if operation.location and status == 201:
        (name,) = IN_BRACES.findall(operation.location)
        value = found.members.get(name.lower())
        if value is not None:
            headers["Location"] = IN_BRACES.sub(lambda _: _quoted(value), operation.location)
    return headers


def _quoted(value: Any) -> str:
    return quote(str(value), safe="")
