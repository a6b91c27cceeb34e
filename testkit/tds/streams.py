"""The bytes under a TDS conversation: plain, or TLS begun inside PRELOGIN packets."""

from __future__ import annotations

import socket
import ssl
import struct
from typing import Protocol

from testkit.tds import messages as tds
from testkit.tds.script import Cut


class Gone(Exception):
    """The conversation is over: the client left, or the script cuts it now."""

    def __init__(self, cut: Cut = "fin"):
        self.cut = cut


class Stream(Protocol):
    """Both ends of it raise Gone when the other side has left."""

    def read(self, count: int) -> bytes: ...

    def write(self, data: bytes) -> None: ...


class PlainStream:
    """The bytes of one socket."""

    def __init__(self, sock: socket.socket):
        self.sock = sock

    def read(self, count: int) -> bytes:
        chunks, missing = [], count
        while missing:
            try:
                chunk = self.sock.recv(min(missing, 1 << 20))
            except OSError:
                chunk = b""
            if not chunk:
                raise Gone
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)

    def write(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            raise Gone from None


def read_header(stream: Stream) -> tuple[int, int, int]:
    """A packet's header: its type, its status bits, the bytes that follow."""
    kind, status, length = struct.unpack(">BBH4x", stream.read(tds.HEADER_BYTES))
    return kind, status, length - tds.HEADER_BYTES


class TlsStream:
    """TLS whose handshake travels inside PRELOGIN packets, as TDS 7 has it."""

    def __init__(self, plain: PlainStream, context: ssl.SSLContext):
        self.plain = plain
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self._handshake()

    def _handshake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush_wrapped()
                self.incoming.write(self.plain.read(read_header(self.plain)[2]))
            except ssl.SSLError:
                raise Gone from None
            else:
                self._flush_wrapped()
                return

    def _flush_wrapped(self) -> None:
        if data := self.outgoing.read():
            header = struct.pack(">BBHHBB", tds.PRELOGIN, 1, len(data) + tds.HEADER_BYTES, 0, 0, 0)
            self.plain.write(header + data)

    def read(self, count: int) -> bytes:
        chunks, missing = [], count
        while missing:
            try:
                chunk = self.tls.read(missing)
            except ssl.SSLWantReadError:
                try:
                    record = self.plain.sock.recv(1 << 16)
                except OSError:
                    record = b""
                if not record:
                    raise Gone from None
                self.incoming.write(record)
                continue
            except ssl.SSLError:
                raise Gone from None
            if not chunk:
                raise Gone
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)

    def write(self, data: bytes) -> None:
        self.tls.write(data)
        self.plain.write(self.outgoing.read())
