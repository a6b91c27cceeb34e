"""A client that reads a whole stream of trips without keeping it."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass

from bench.process_usage import cpu_seconds, resident_bytes
from bench.server_process import Running

CHUNK = 1 << 18


class StreamBroken(RuntimeError):
    """A stream was rejected, or ended before its last row."""


@dataclass(frozen=True)
class Stream:
    """first_byte: seconds until the first byte of the body; growth: bytes that the server's
    resident set rose above what it was before; cpu_seconds: of the server."""

    rows: int
    bytes: int
    seconds: float
    first_byte: float
    growth: int
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds


def read_stream(server: Running, path: str, *, timeout: float = 300.0) -> Stream:
    """GET `path` (NDJSON), counting lines and looking at the server's memory ten times a second."""
    before, used = resident_bytes(server.pid), cpu_seconds(server.pid)
    highest = [before]
    stopped = threading.Event()

    def look() -> None:
        while not stopped.wait(0.1):
            highest[0] = max(highest[0], resident_bytes(server.pid))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        # HTTP/1.1 over a plain socket: http.client would cost more than the servers do.
        with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as connected:
            request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            began = time.perf_counter()
            connected.sendall(request.encode())
            buffer = bytearray()
            while b"\r\n\r\n" not in buffer or buffer.endswith(b"\r\n\r\n"):
                if not (chunk := connected.recv(CHUNK)):
                    break
                buffer += chunk
            first_byte = time.perf_counter() - began
            rows, size = _count(connected, buffer)
            seconds = time.perf_counter() - began
    finally:
        stopped.set()
        watcher.join()
    return Stream(
        rows=rows,
        bytes=size,
        seconds=seconds,
        first_byte=first_byte,
        growth=highest[0] - before,
        cpu_seconds=cpu_seconds(server.pid) - used,
    )


def _count(connected: socket.socket, buffer: bytearray) -> tuple[int, int]:
    """(lines, bytes) of the body. Chunk sizes stand on lines that end in CRLF; JSON's end in LF."""
    head, _, rest = bytes(buffer).partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise StreamBroken(f"The stream was refused: {head[:200]!r}")
    rows, size, last = 0, 0, b""
    tail, chunk = b"", rest
    while chunk:
        lines = chunk.count(b"\n")
        # A CRLF may fall between two reads.
        framing = (last + chunk).count(b"\r\n")
        rows += lines - framing
        size += len(chunk)
        last, tail = chunk[-1:], (tail + chunk)[-7:]
        if last != b"\r":
            last = b""
        chunk = connected.recv(CHUNK)
    if b"chunked" in head.lower() and not tail.endswith(b"0\r\n\r\n"):
        raise StreamBroken("The stream broke off before its end.")
    return rows, size
