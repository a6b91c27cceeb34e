"""How every answer is sent: compressed, with a word on caching, and to other origins if allowed."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import brotli
from flask import Flask, Response, g, request, stream_with_context
from flask_compress import Compress
from flask_cors import CORS

from protocol.formats import JSON
from protocol.validation import FORMS

ENCODINGS = ("br", "gzip")
# Kept by a client it may be, but asked about (If-None-Match) before each use.
REVALIDATED = "private, no-cache"
COMPRESSED = (
    *("application/json", "application/problem+json", "application/x-ndjson", "text/csv"),
    *("text/html", "text/css", "text/javascript", "image/svg+xml"),
)
# What a script of another origin may read beside the few headers that CORS lets through anyway.
EXPOSED = (
    *("ETag", "Link", "Location", "Idempotency-Replayed", "Retry-After", "X-Request-ID", "Age"),
    "Allow",
)
# Python's decoder of brotli hands out no more than 32,752 bytes of a piece before the next comes.
PIECE_BYTES = 32_000
ACCEPTED = ", ".join((JSON, *FORMS))


def install(app: Flask, *, cors_origins: Sequence[str]) -> None:
    """Let `app` send its answers so. cors_origins: none, or those whose scripts may call it."""
    app.config["COMPRESS_MIMETYPES"] = list(COMPRESSED)
    app.config["COMPRESS_ALGORITHM"] = list(ENCODINGS)
    app.config["COMPRESS_STREAMS"] = False
    app.after_request(describe)
    Compression(app)
    if cors_origins:
        CORS(app, origins=list(cors_origins), expose_headers=list(EXPOSED), max_age=600)


def describe(response: Response) -> Response:
    """The request's id, Cache-Control where nothing more is known, and on OPTIONS what a body may
    be."""
    response.headers["X-Request-ID"] = g.request_id
    if "Cache-Control" not in response.headers:
        succeeded = response.status_code < 400
        response.headers["Cache-Control"] = REVALIDATED if succeeded else "no-store"
    if request.method == "OPTIONS":
        for method in response.allow & {"POST", "PATCH"}:
            response.headers.setdefault(f"Accept-{method.title()}", ACCEPTED)
    return response


class Compression(Compress):
    """Flask-Compress, but what a stream yields is sent at once.

    Its own streams keep back what does not fill a block: the first rows of a slow query, and the
    line that tells why a stream broke off.
    """

    def after_request(self, response: Response) -> Response:
        if response.is_streamed and response.status_code == 200:
            return _compress_stream(response)
        if _encoding() is None:  # it takes `gzip;q=0` for a wish
            _vary(response)
            return response
        return super().after_request(response)


def _encoding() -> str | None:
    if "HTTP_ACCEPT_ENCODING" not in request.environ:
        return None
    return request.accept_encodings.best_match(ENCODINGS)


def _vary(response: Response) -> None:
    if "Vary" in response.headers:
        response.vary.add("Accept-Encoding")
    else:
        response.headers["Vary"] = "Accept-Encoding"


def _compress_stream(response: Response) -> Response:
    _vary(response)
    encoding = _encoding()
    if encoding is None or response.mimetype not in COMPRESSED:
        return response
    response.response = stream_with_context(_sent_at_once(response.iter_encoded(), encoding))
    response.headers["Content-Encoding"] = encoding
    return response


def _sent_at_once(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    compress, flush, finish = _compressor(encoding)
    for chunk in chunks:
        for begin in range(0, len(chunk), PIECE_BYTES):
            yield compress(chunk[begin : begin + PIECE_BYTES]) + flush()
    yield finish()


def _compressor(
    encoding: str,
) -> tuple[Callable[[bytes], bytes], Callable[[], bytes], Callable[[], bytes]]:
    """compress, flush and finish, quick rather than thorough."""
    if encoding == "br":
        br = brotli.Compressor(quality=4)
        return br.process, br.flush, br.finish
    gz = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return gz.compress, lambda: gz.flush(zlib.Z_SYNC_FLUSH), gz.flush
