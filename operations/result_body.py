"""From the result sets of a procedure to the body and headers of one response.

The shape follows from the procedure's declaration: an array of rows; `{"results": [[…], […]]}` with
`@results many`; `{"items": […], "outputs": {…}}` with OUTPUT parameters. A column named Json, and
the one that FOR JSON makes, is JSON text already and passes through.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from catalog.operation import Operation
from catalog.procedure import HTTP_OUTPUTS
from database.statement import ResultSet
from protocol.rows import UnusableColumns, json_array, json_value, names_of

FOR_JSON = "JSON_F52E2B61-18A1"
# The one column of rows that PostgreSQL has encoded.
ENCODED = ("row_to_json",)


class ContractBreach(Exception):
    """A procedure's result can't become a response; the message is a sentence for the log."""


class ResultBody(NamedTuple):
    """body: None without a result set. rows: of the first set, None without one.

    etag, following, status: of outputs or columns named ETag, Next and StatusCode.
    members: the first row and the outputs, by name in lower case.
    """

    body: bytes | None
    rows: int | None
    etag: str | None = None
    following: str | None = None
    status: int | None = None
    members: Mapping[str, Any] = {}


def result_body(operation: Operation, results: Sequence[ResultSet]) -> ResultBody:
    """Raises ContractBreach."""
    procedure = operation.called
    sets = list(results)
    outputs: dict[str, Any] = {}
    if procedure.outputs:
        # The last one, and PostgreSQL's only one.
        last = sets.pop() if sets else None
        if last is None or len(last.rows) != 1:
            raise ContractBreach("The procedure ended without its OUTPUT parameters.")
        outputs = dict(zip(last.names, last.rows[0], strict=True))
    http = {name.lower(): outputs.pop(name) for name in [*outputs] if name.lower() in HTTP_OUTPUTS}
    declared = [p for p in procedure.outputs if p.folded not in HTTP_OUTPUTS]
    try:
        if procedure.result.many:
            arrays = [_array(found, http if not place else {}) for place, found in enumerate(sets)]
            body = b'{"results":[' + b",".join(arrays) + b"]"
            body += b',"outputs":' + json_value(outputs) + b"}" if declared else b"}"
            rows = len(sets[0].rows) if sets else 0
        elif declared:
            items = _array(sets[0], http) if sets else b"[]"
            body = b'{"items":' + items + b',"outputs":' + json_value(outputs) + b"}"
            # Outputs are an answer, with or without rows.
            rows = max(1, len(sets[0].rows)) if sets else 1
        elif not sets or procedure.result.empty:
            return ResultBody(None, None, **_headers(http))
        else:
            body, rows = _array(sets[0], http), len(sets[0].rows)
            if rows == 1 and body in (b"", b"[]"):
                body, rows = b"[]", 0
    except UnusableColumns as error:
        raise ContractBreach(str(error)) from None
    members = {name.lower(): value for name, value in outputs.items()}
    if sets and sets[0].rows and operation.location:
        members |= _first_row(sets[0])
    return ResultBody(body, rows, members=members, **_headers(http))


def is_text(names: Sequence[str]) -> bool:
    """Whether the first column holds JSON text."""
    return bool(names) and (names[0].lower() == "json" or names[0].startswith(FOR_JSON))


def _array(found: ResultSet, http: dict[str, Any]) -> bytes:
    """One result set as a JSON array; columns beside Json text go to `http`."""
    if found.names == ENCODED:
        return b"[" + ",".join([row[0] for row in found.rows]).encode() + b"]"
    if not is_text(found.names):
        return json_array(names_of(found.columns), found.rows)
    if not found.rows:
        return b"[]"
    pieces = [row[0] for row in found.rows if row[0] is not None]
    if not all(isinstance(piece, str) for piece in pieces):
        raise ContractBreach(f"The column {found.names[0]} is not text.")
    for name, value in zip(found.names[1:], found.rows[0][1:], strict=True):
        if name.lower() in HTTP_OUTPUTS:
            http[name.lower()] = value
    text = "".join(pieces).encode()
    if not text:
        return b"[]"
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ContractBreach(f"The column {found.names[0]} is not JSON: {error}") from None
    return text


def _first_row(found: ResultSet) -> dict[str, Any]:
    if found.names == ENCODED:
        row = orjson.loads(found.rows[0][0])
    elif is_text(found.names):
        document = orjson.loads("".join([row[0] for row in found.rows if row[0]]) or "[]")
        row = document[0] if isinstance(document, list) and document else document
        if not isinstance(row, dict):
            return {}
    else:
        row = dict(zip(found.names, found.rows[0], strict=True))
    return {str(name).lower(): value for name, value in row.items()}


def _headers(http: dict[str, Any]) -> dict[str, Any]:
    status, etag = http.get("statuscode"), http.get("etag")
    if status is not None and not (str(status).isdecimal() and 200 <= int(status) <= 599):
        raise ContractBreach(f"StatusCode is {status}; it must be from 200 to 599.")
    if isinstance(etag, (bytes, bytearray)):
        etag = etag.hex()  # a rowversion
    return {
        "etag": None if etag is None else str(etag).strip(),
        "following": http.get("next"),
        "status": None if status is None else int(status),
    }
