"""Parts of short lists (RFC 9110, 14).

Clients that read a file by its URL, such as polars, send HEAD for the length, and then GET with
Range. Each of these requests runs the query.
"""

import contextlib
from collections.abc import Iterator
from itertools import chain

from flask import Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable

# The longest list that is put together for such a request; a longer one streams without a length.
LONGEST_BYTES = 4 * 1024 * 1024


def requested() -> bool:
    """Whether the client wants the length of the list, or a part of it."""
    return request.method == "HEAD" or "Range" in request.headers


def put_together(chunks: Iterator[bytes]) -> tuple[bytes | None, Iterator[bytes]]:
    """All of `chunks` as one text, or None and the chunks if they are longer than LONGEST_BYTES."""
    taken: list[bytes] = []
    size = 0
    for chunk in chunks:
        taken.append(chunk)
        size += len(chunk)
        if size > LONGEST_BYTES:
            return None, chain(taken, chunks)
    return b"".join(taken), iter(())


def in_parts(response: Response) -> Response:
    """`response`, or the part of it that the request's Range names; an impossible range is ignored.

    The entity tag is that of the whole, so that If-Range and If-Match hold parts together.
    """
    response.add_etag()
    response.accept_ranges = "bytes"
    length = len(response.get_data())
    with contextlib.suppress(RequestedRangeNotSatisfiable):
        response.make_conditional(request, accept_ranges=True, complete_length=length)
    return response
