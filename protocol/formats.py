"""Collections as JSON, NDJSON or CSV, sent as the database delivers them."""

import csv
import io
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from flask import Response, g, request

from connection_manager import Rows
from protocol.problems import Problem, problem_of

log = logging.getLogger(__name__)

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
FORMATS = {"json": JSON, "ndjson": NDJSON, "csv": CSV}


def wanted_format(asked: str | None) -> str:
    """The media type for the answer: `?format=` if given, else by Accept; JSON where it's open."""
    if asked is not None:
        return FORMATS[asked]
    if not request.accept_mimetypes:
        return JSON
    best = request.accept_mimetypes.best_match([JSON, NDJSON, CSV], default=None)
    if best is None:
        raise Problem(
            "not-acceptable", "Accept one of application/json, application/x-ndjson and text/csv."
        )
    return best


def compact(document: Any) -> str:
    """`document` as JSON text without blanks."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def streamed(rows: Rows, media_type: str, columns: Sequence[str]) -> Response:
    """`rows` as a body of `media_type`, with flat memory; `columns` are those of CSV.

    A failure in the midst breaks off the chunked body, so that no client takes it for the end;
    NDJSON says why in a last line `{"type": "urn:…", …}`.
    """
    encode = {JSON: _json, NDJSON: _ndjson, CSV: partial(_csv, columns=columns)}[media_type]
    mimetype = "text/csv; charset=utf-8; header=present" if media_type == CSV else media_type
    # The body is made after the request's own context has gone.
    last_line = partial(_last_line, request_id=g.request_id) if media_type == NDJSON else None
    response = Response(_guarded(rows, encode, last_line), content_type=mimetype)
    # Also for a client that is gone before the first byte, whose generator never began.
    response.call_on_close(rows.close)
    return response


def _guarded(
    rows: Rows,
    encode: Callable[[Rows], Iterator[str]],
    last_line: Callable[[Exception], str] | None,
) -> Iterator[bytes]:
    try:
        for text in encode(rows):
            yield text.encode()
    except Exception as error:
        log.error("a stream broke off: %s", error)
        if last_line is not None:
            yield last_line(error).encode()
        # Ends the connection without the final chunk; `from None` keeps the driver's text out.
        raise ConnectionAbortedError("the stream broke off") from None


def _last_line(error: Exception, *, request_id: str) -> str:
    return problem_of(error).text(request_id) + "\n"


def _json(rows: Rows) -> Iterator[str]:
    lead = "["
    for batch in rows:
        yield lead + ",".join(batch)
        lead = ","
    yield "]" if lead == "," else "[]"


def _ndjson(rows: Rows) -> Iterator[str]:
    for batch in rows:
        yield "\n".join(batch) + "\n"


def _csv(rows: Rows, *, columns: Sequence[str]) -> Iterator[str]:
    """RFC 4180 with a header; a nested object's keys are joined by a dot, null is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    nested = any("." in column for column in columns)
    for batch in rows:
        items = json.loads(f"[{','.join(batch)}]")
        if nested:
            items = map(_flat, items)
        writer.writerows([[_cell(v) for v in map(item.get, columns)] for item in items])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _cell(value: Any) -> Any:
    if value is True:
        return "true"
    return "false" if value is False else value


def _flat(item: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in item.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
