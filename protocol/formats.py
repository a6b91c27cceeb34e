"""Collections as JSON, NDJSON or CSV, streamed as the database returns them."""

import csv
import io
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from flask import Response, current_app, g, request

from connection_manager import Rows
from protocol.problems import Problem, problem_of

log = logging.getLogger(__name__)

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
# First characters of texts that spreadsheets run as formulas (OWASP, CSV Injection); the last four
# are the full-width forms.
FORMULA_BEGINS = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")
FORMATS = {"json": JSON, "ndjson": NDJSON, "csv": CSV, "arrow": ARROW}
MEDIA_TYPES = (JSON, NDJSON, CSV)
# json.dumps would make an encoder for each call.
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def wanted_format(name: str | None, offered: Sequence[str] = MEDIA_TYPES) -> str:
    """The media type of the response: by `name` (`?format=`), else by Accept; JSON by default.

    Raises Problem not-acceptable.
    """
    if name is not None:
        return FORMATS[name]
    if "HTTP_ACCEPT" not in request.environ or not request.accept_mimetypes:
        return JSON
    best = request.accept_mimetypes.best_match(offered)
    if best is None:
        *most, last = offered
        listed = f"one of {', '.join(most)} and {last}" if most else last
        raise Problem("not-acceptable", f"Accept {listed}.")
    return best


def compact(document: Any) -> str:
    """`document` as JSON text without white space."""
    return _compact(document)


class Closable(Protocol):
    """Rows, or anything else that holds a connection until close()."""

    def close(self) -> None: ...


def streamed(rows: Rows, media_type: str, columns: Sequence[str]) -> Response:
    """A response that streams `rows`, JSON texts, as `media_type`; `columns` are those of CSV.

    Memory stays flat. A failure aborts the chunked body, so that no client takes the rows sent so
    far for all of them; NDJSON gets the problem in a last line `{"type": "urn:…", …}`.
    """
    cell: Callable[[Any], Any] = _escaped if current_app.config["CSV_ESCAPES_FORMULAS"] else _cell
    encoders: dict[str, Callable[[Rows], Iterator[str]]] = {
        JSON: _json,
        NDJSON: _ndjson,
        CSV: partial(_csv, columns=columns, cell=cell),
    }
    encode = encoders[media_type]
    return streamed_bytes(rows, (text.encode() for text in encode(rows)), media_type)


def streamed_bytes(rows: Closable, chunks: Iterator[bytes], media_type: str) -> Response:
    """A response that streams `chunks`, made of `rows`; a failure aborts it as in streamed()."""
    mimetype = "text/csv; charset=utf-8; header=present" if media_type == CSV else media_type
    last_line = partial(_last_line, request_id=g.request_id) if media_type == NDJSON else None
    response = Response(_guarded(chunks, last_line), content_type=mimetype)
    response.call_on_close(rows.close)
    return response


def _guarded(
    chunks: Iterator[bytes], last_line: Callable[[Exception], str] | None
) -> Iterator[bytes]:
    try:
        yield from chunks
    except Exception as error:
        log.error("a stream was aborted: %s", error)
        if last_line is not None:
            yield last_line(error).encode()
        # Closes the connection without the final chunk; `from None` hides the driver's text.
        raise ConnectionAbortedError("the stream was aborted") from None


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


def _csv(rows: Rows, *, columns: Sequence[str], cell: Callable[[Any], Any]) -> Iterator[str]:
    """RFC 4180 with a header; nested keys are joined by dots, null is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    nested = any("." in column for column in columns)
    for batch in rows:
        items = json.loads(f"[{','.join(batch)}]")
        if nested:
            items = map(_flat, items)
        writer.writerows([[cell(v) for v in map(item.get, columns)] for item in items])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _cell(value: Any) -> Any:
    if value is True:
        return "true"
    return "false" if value is False else value


def _escaped(value: Any) -> Any:
    """As _cell(), with an apostrophe in front of a text that a spreadsheet would run.

    Numbers are left alone, negative ones too.
    """
    if isinstance(value, str) and value.startswith(FORMULA_BEGINS):
        return "'" + value
    return _cell(value)


def _flat(item: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in item.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
