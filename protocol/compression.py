"""Compression of responses with brotli or gzip, streams included."""

import zlib
from collections.abc import Callable, Iterable, Iterator

import brotli
from flask import Flask, Response, request, stream_with_context
from flask_compress import Compress

ENCODINGS = ("br", "gzip")
COMPRESSED_TYPES = [
    "application/json",
    "application/problem+json",
    "application/x-ndjson",
    "text/csv",
    "text/html",
    "text/css",
    "text/javascript",
    "image/svg+xml",
]
# Python's brotli decoder returns at most 32,752 bytes of a piece until it gets the next piece.
PIECE_BYTES = 32_000


def compression(app: Flask) -> "Compression":
    """The compression of the responses of `app`, which calls its after_request()."""
    app.config["COMPRESS_MIMETYPES"] = COMPRESSED_TYPES
    app.config["COMPRESS_ALGORITHM"] = list(ENCODINGS)
    app.config["COMPRESS_STREAMS"] = False
    app.config["COMPRESS_REGISTER"] = False
    return Compression(app)


class Compression(Compress):
    """Flask-Compress, except that each chunk of a stream is sent at once.

    Flask-Compress holds back what does not fill a block: the first rows of a slow query, and the
    last line that reports a failure.
    """

    def after_request(self, response: Response) -> Response:  # type: ignore[override]
        if response.is_streamed and response.status_code == 200:
            return _compress_stream(response)
        # Flask-Compress would compress for `gzip;q=0`, and a list whose parts are counted in
        # uncompressed bytes.
        if _encoding() is None or response.accept_ranges == "bytes":
            return response
        return super().after_request(response)


def _encoding() -> str | None:
    return request.accept_encodings.best_match(ENCODINGS)


def _compress_stream(response: Response) -> Response:
    encoding = _encoding()
    if encoding is None or response.mimetype not in COMPRESSED_TYPES:
        return response
    response.vary.add("Accept-Encoding")
    response.response = stream_with_context(_compressed(response.iter_encoded(), encoding))
    response.headers["Content-Encoding"] = encoding
    return response


def _compressed(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    compress, flush, finish = _compressor(encoding)
    for chunk in chunks:
        for begin in range(0, len(chunk), PIECE_BYTES):
            yield compress(chunk[begin : begin + PIECE_BYTES]) + flush()
    yield finish()


def _compressor(
    encoding: str,
) -> tuple[Callable[[bytes], bytes], Callable[[], bytes], Callable[[], bytes]]:
    """The functions compress, flush and finish, at a level that favours speed."""
    if encoding == "br":
        br = brotli.Compressor(quality=4)
        return br.process, br.flush, br.finish
    gz = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return gz.compress, lambda: gz.flush(zlib.Z_SYNC_FLUSH), gz.flush
