"""Responses that cost little in the ordinary case: a text or bytes, with a few headers.

Everything else, such as a stream, an odd status or an answer to HEAD, goes through Flask's own
Response, which this one extends.
"""

import re
from collections.abc import Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import flask
from werkzeug.datastructures import Headers
from werkzeug.http import HTTP_STATUS_CODES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

STATUS_LINES = {code: f"{code} {name.upper()}" for code, name in HTTP_STATUS_CODES.items()}
# Statuses without a body, whose headers Werkzeug changes on their way out.
BODILESS = frozenset((*range(100, 200), 204, 304))
# Headers that Werkzeug rewrites on their way out.
REWRITTEN = frozenset(("location", "content-location"))
# Media types without a charset parameter.
PLAIN_TYPES = frozenset((None, "application/json", "application/problem+json"))
# A path that Werkzeug leaves as it is.
PLAIN = re.compile(r"(/[A-Za-z0-9_-]+)+")
_NAME = itemgetter(0)


class Response(flask.Response):
    """Flask's response, shorter for a text or bytes with a few headers."""

    def __init__(  # noqa: PLR0917 # as Flask's
        self,
        response: Any = None,
        status: Any = None,
        headers: Any = None,
        mimetype: str | None = None,
        content_type: str | None = None,
        direct_passthrough: bool = False,
    ) -> None:
        pairs = None
        if type(response) in (str, bytes) and mimetype in PLAIN_TYPES and not direct_passthrough:
            pairs = _pairs(headers, mimetype if content_type is None else content_type)
        if pairs is None or (status is not None and type(status) is not int):
            super().__init__(response, status, headers, mimetype, content_type, direct_passthrough)
            return
        body = response.encode() if type(response) is str else response
        pairs.append(("Content-Length", str(len(body))))
        self.headers = Headers()
        self.headers._list = pairs
        status_code = 200 if status is None else status
        self._status = STATUS_LINES.get(status_code) or f"{status_code} UNKNOWN"
        self._status_code = status_code
        self.direct_passthrough = False
        self._on_close = []
        self.response = [body]

    def header_names(self) -> set[str]:
        """The names of the headers, in lower case."""
        return set(map(str.lower, map(_NAME, self.headers._list)))

    def add_headers(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Add headers whose values are known to be valid, and which the response lacks."""
        self.headers._list += pairs

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        body: Any = self.response
        if type(body) is list and len(body) == 1 and type(body[0]) is bytes:
            names = self.header_names()
            if (
                "content-length" in names
                and (REWRITTEN.isdisjoint(names) or self._has_plain_location(names))
                and self._status_code not in BODILESS
                and environ["REQUEST_METHOD"] != "HEAD"
                and not self._on_close
            ):
                start_response(self._status, self.headers._list)
                return body
        return super().__call__(environ, start_response)

    def _has_plain_location(self, names: set[str]) -> bool:
        """Whether Location is the only header that Werkzeug would look at, and stays as it is."""
        if "content-location" in names:
            return False
        given = [pair for pair in self.headers if pair[0].lower() == "location"]
        ((name, value), *more) = given
        return name == "Location" and not more and PLAIN.fullmatch(value) is not None


def _pairs(headers: Any, content_type: str | None) -> list[tuple[str, str]] | None:
    """The headers as Werkzeug would keep them; None for any that it has to change or refuse."""
    if headers and type(headers) is not dict:
        return None
    pairs = list(headers.items()) if headers else []
    names = set(map(str.lower, map(_NAME, pairs)))
    if "content-length" in names or ("content-type" in names) is (content_type is not None):
        return None
    if content_type is not None:
        pairs.append(("Content-Type", content_type))
    for _, value in pairs:
        if type(value) is not str or "\n" in value or "\r" in value:
            return None
    return pairs
