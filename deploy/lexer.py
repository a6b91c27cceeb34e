"""Divides a SQL text into code, comments and quoted parts, in T-SQL and in PostgreSQL."""

import re
from collections.abc import Iterator

# The sign that opens a literal or an identifier, and the one that closes it (doubled inside).
CLOSERS = {"'": "'", '"': '"', "[": "]"}
_OPENER = re.compile(r"--|/\*|['\"\[$]")
_COMMENT_SIGN = re.compile(r"/\*|\*/")
_DOLLAR_TAG = re.compile(r"\$(?:[^\W\d]\w*)?\$")


def pieces(text: str, engine: str) -> Iterator[tuple[str, int, int]]:
    """(kind, start, stop) of each piece in order, without gaps.

    kind: "code", "comment", "dollar" (code in a dollar-quoted body), or the opening ', " or [.
    engine: "sqlserver" or "postgresql".
    """
    yield from _scan(text, 0, len(text), engine, "code")


def _scan(
    text: str, start: int, stop: int, engine: str, code: str
) -> Iterator[tuple[str, int, int]]:
    at = start
    while opener := _OPENER.search(text, at, stop):
        at = opener.start()
        tag = _DOLLAR_TAG.match(text, at, stop) if engine == "postgresql" else None
        kind, end = _quoted(text, at, stop, engine)
        if kind is None and tag is None:
            at += 1
            continue
        if start < at:
            yield code, start, at
        if tag is not None:
            # A dollar-quoted body is code too, with its own strings and comments.
            closing = text.find(tag[0], tag.end(), stop)
            body_end = stop if closing < 0 else closing
            end = stop if closing < 0 else closing + len(tag[0])
            yield code, at, tag.end()
            yield from _scan(text, tag.end(), body_end, engine, "dollar")
            if body_end < end:
                yield code, body_end, end
        elif kind is not None:
            yield kind, at, end
        start = at = end
    if start < stop:
        yield code, start, stop


def _quoted(text: str, at: int, stop: int, engine: str) -> tuple[str | None, int]:
    """The kind and the end of the comment or quoted part at `at`; `stop` if it is not closed.

    (None, at) if there is none.
    """
    sign = text[at]
    if text.startswith("--", at):
        end = text.find("\n", at, stop)
        return "comment", stop if end < 0 else end
    if text.startswith("/*", at):
        return "comment", _comment_end(text, at, stop)
    if sign in CLOSERS and not (sign == "[" and engine == "postgresql"):
        return sign, _quote_end(text, at + 1, stop, CLOSERS[sign])
    return None, at


def _comment_end(text: str, at: int, stop: int) -> int:
    """Block comments nest, in T-SQL and in PostgreSQL."""
    depth = 0
    for sign in _COMMENT_SIGN.finditer(text, at, stop):
        depth += 1 if sign[0] == "/*" else -1
        if depth == 0:
            return sign.end()
    return stop


def _quote_end(text: str, at: int, stop: int, closer: str) -> int:
    while (end := text.find(closer, at, stop)) >= 0:
        if not text.startswith(closer, end + 1) or end + 1 >= stop:
            return end + 1
        at = end + 2
    return stop
