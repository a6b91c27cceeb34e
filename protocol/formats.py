"""Lists as JSON, NDJSON, CSV or Arrow, streamed as the database returns them."""

import csv
import io
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import orjson
from flask import Response, current_app, g

from connection_manager import Rows
from protocol import ranges
from protocol.arrow import Fields, arrow_of_json, installed
from protocol.context import request_context
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
MEDIA_TYPES = (JSON, NDJSON, CSV, ARROW)
# json.dumps would make an encoder for each call.
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def wanted_format(name: str | None, offered: Sequence[str] = MEDIA_TYPES) -> str:
    """The media type of the response: by `name` (`?format=`), else by Accept; JSON by default.

    Raises Problem: not-acceptable, or not-installed for Arrow without its package.
    """
    request = request_context().request
    if name is None and ("HTTP_ACCEPT" not in request.environ or not request.accept_mimetypes):
        return JSON
    best = request.accept_mimetypes.best_match(offered) if name is None else FORMATS[name]
    if best is None:
        *most, last = offered
        listed = f"one of {', '.join(most)} and {last}" if most else last
        raise Problem("not-acceptable", f"Accept {listed}.")
    if best == ARROW and not installed():
        raise Problem(
            "not-installed", "Arrow requires the package pyarrow, which is not installed."
        )
    return best


def compact(document: Any) -> str:
    """`document` as JSON text without white space."""
    return _compact(document)


def document_text(document: Any) -> str:
    """`document` as JSON text for a procedure, faster than compact(), whose numbers may be spelled
    otherwise (1e22 for 1e+22)."""
    try:
        return orjson.dumps(document).decode()
    except TypeError:  # a number beyond 64 bits, or half of a surrogate pair
        return _compact(document)


class Closable(Protocol):
    """Rows, or anything else that holds a connection until close()."""

    def close(self) -> None: ...


def streamed(rows: Rows, media_type: str, fields: Fields) -> Response:
    """A response that streams `rows`, JSON texts with `fields`, as `media_type`.

    Memory stays flat. A failure aborts the chunked body, so that no client takes the rows sent so
    far for all of them; NDJSON gets the problem in a last line `{"type": "urn:…", …}`.
    """
    return streamed_bytes(rows, _encoded(rows, media_type, fields), media_type)


def whole(rows: Sequence[str], media_type: str, fields: Fields) -> Response:
    """A response with a short list of JSON texts."""
    chunks = _encoded([list(rows)] if rows else [], media_type, fields)
    response = Response(b"".join(chunks), content_type=_content_type(media_type))
    return ranges.in_parts(response) if ranges.requested() else response


def _encoded(rows: Iterable[list[str]], media_type: str, fields: Fields) -> Iterator[bytes]:
    if media_type == ARROW:
        return arrow_of_json(fields, rows)
    escapes = current_app.config["CSV_ESCAPES_FORMULAS"]
    encoders: dict[str, Callable[[Iterable[list[str]]], Iterator[str]]] = {
        JSON: _json,
        NDJSON: partial(_ndjson, alike=alike(n for n, kind in fields.items() if kind is float)),
        CSV: partial(_csv, fields=fields, cell=_escaped if escapes else _cell),
    }
    return (text.encode() for text in encoders[media_type](rows))


def _content_type(media_type: str) -> str:
    return "text/csv; charset=utf-8; header=present" if media_type == CSV else media_type


def streamed_bytes(rows: Closable, chunks: Iterator[bytes], media_type: str) -> Response:
    """A response that streams `chunks`, made of `rows`; a failure aborts it as in streamed()."""
    if ranges.requested():
        try:
            body, chunks = ranges.put_together(chunks)
        except BaseException:
            rows.close()
            raise
        if body is not None:
            rows.close()
            return ranges.in_parts(Response(body, content_type=_content_type(media_type)))
    last_line = partial(_last_line, request_id=g.request_id) if media_type == NDJSON else None
    response = Response(_guarded(chunks, last_line), content_type=_content_type(media_type))
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


def _json(rows: Iterable[list[str]]) -> Iterator[str]:
    lead = "["
    for batch in rows:
        yield lead + ",".join(batch)
        lead = ","
    yield "]" if lead == "," else "[]"


def _ndjson(rows: Iterable[list[str]], *, alike: Callable[[str], str]) -> Iterator[str]:
    for batch in rows:
        yield alike("\n".join(batch) + "\n")


def alike(names: Iterable[str]) -> Callable[[str], str]:
    """A function that adds `.0` to whole numbers of the members `names` in JSON rows.

    PostgreSQL writes 5 and 5.76 in one column. Readers such as polars take the type of a column
    from its first rows, and refuse the file at 5.76 if the rows before had whole numbers.
    """
    quoted = "|".join(re.escape(orjson.dumps(name).decode()[1:]) for name in names)
    if not quoted:
        return lambda text: text
    # A quotation mark within a text has a backslash before it, so that no text matches. It is
    # checked after the mark: the search for a pattern that begins with a literal is faster.
    whole_number = re.compile(rf'"(?<!\\")(?:{quoted}):-?[0-9]+(?=[,}}])')
    return lambda text: whole_number.sub(lambda found: f"{found[0]}.0", text)


def _csv(rows: Iterable[list[str]], *, fields: Fields, cell: Callable[[Any], Any]) -> Iterator[str]:
    """RFC 4180 with a header; nested keys are joined by dots, null is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    columns = dict(_columns(fields))
    writer.writerow(columns)
    cells = [(name, _number if kind is float else cell) for name, kind in columns.items()]
    nested = any(isinstance(kind, Mapping) for kind in fields.values())
    for batch in rows:
        items = orjson.loads(f"[{','.join(batch)}]")
        if nested:
            items = map(_flat, items)
        writer.writerows([[make(item.get(name)) for name, make in cells] for item in items])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _columns(fields: Fields, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, kind in fields.items():
        if isinstance(kind, Mapping):
            yield from _columns(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, kind


def _number(value: float | None) -> float | None:
    """With a point in every row, for the same readers as alike()."""
    return None if value is None else float(value)


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
