"""TDS 7.4 on the wire: packets, requests as a server reads them, tokens as a server writes them.

Source: [MS-TDS] Tabular Data Stream Protocol, section 2.2. Every function here is pure: bytes in,
values out, or the reverse; sockets are in `testkit.tds.streams`. All lengths are bytes unless a
name says characters. An unknown type or token raises ValueError: a scripted server never guesses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from testkit.tds.types import PLP_NULL, decimal_of, type_info, value

SQL_BATCH, RPC, ATTENTION, TRANSACTION, LOGIN7, PRELOGIN = 0x01, 0x03, 0x06, 0x0E, 0x10, 0x12
REPLY = 0x04
LAST_PACKET, RESET_CONNECTION = 0x01, 0x08
ENCRYPT_OFF, ENCRYPT_ON, ENCRYPT_NOT_SUPPORTED = 0, 1, 2
HEADER_BYTES = 8

DONE, DONEPROC, DONEINPROC = 0xFD, 0xFE, 0xFF
DONE_MORE, DONE_ERROR, DONE_COUNT, DONE_ATTENTION = 0x01, 0x02, 0x10, 0x20

SERVER_NAME = "scripted"
PROGRAM, PROGRAM_VERSION = "Microsoft SQL Server", bytes((16, 0, 0x10, 0x77))

PROCEDURES = {
    10: "sp_executesql",
    11: "sp_prepare",
    12: "sp_execute",
    13: "sp_prepexec",
    14: "sp_prepexecrpc",
    15: "sp_unprepare",
}


@dataclass(frozen=True)
class Login:
    """One LOGIN7 message. `token` is the access token's bytes exactly as they arrived."""

    user: str
    password: str
    token: bytes | None
    database: str
    app_name: str
    server_name: str
    packet_size: int
    encrypted: bool
    read_only: bool  # TypeFlags, fReadOnlyIntent


@dataclass(frozen=True)
class Parameter:
    """One RPC parameter. `type` is spelled as T-SQL would: nvarchar(10), nvarchar(max), int."""

    name: str
    type: str
    value: Any


@dataclass(frozen=True)
class Call:
    """One remote procedure call inside an RPC message."""

    procedure: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True)
class Column:
    """A result column; its type as testkit.tds.types spells it."""

    name: str
    type: str = "nvarchar(max)"


class Reader:
    """A cursor over one message's bytes."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def take(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        if len(piece) != count:
            raise ValueError(f"a TDS message ended {count - len(piece)} bytes early")
        self.at += count
        return piece

    def unpack(self, form: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def text(self, characters: int) -> str:
        return self.take(2 * characters).decode("utf-16-le")

    def skip_all_headers(self) -> None:
        self.take(self.unpack("I") - 4)


# Requests, read


def read_prelogin(data: bytes) -> dict[int, bytes]:
    """The options of a PRELOGIN message by number (0 version, 1 encryption, 6 FEDAUTHREQUIRED)."""
    options, at = {}, 0
    while data[at] != 0xFF:
        number, offset, length = struct.unpack_from(">BHH", data, at)
        options[number] = data[offset : offset + length]
        at += 5
    return options


def read_login(data: bytes, *, encrypted: bool) -> Login:
    """A LOGIN7 message, its password unscrambled and its FEDAUTH feature taken apart."""

    def field(position: int) -> bytes:
        offset, characters = struct.unpack_from("<HH", data, position)
        return data[offset : offset + 2 * characters]

    def text(position: int) -> str:
        return field(position).decode("utf-16-le")

    unscrambled = bytes((b ^ 0xA5) >> 4 | ((b ^ 0xA5) << 4 & 0xF0) for b in field(44))
    token = None
    if data[27] & 0x10:  # fExtension: the sixth field holds the place of the features' offset
        (pointer,) = struct.unpack_from("<H", data, 56)
        (offset,) = struct.unpack_from("<I", data, pointer)
        token = _fedauth_token(Reader(data[offset:]))
    return Login(
        user=text(40),
        password=unscrambled.decode("utf-16-le"),
        token=token,
        database=text(68),
        app_name=text(48),
        server_name=text(52),
        packet_size=struct.unpack_from("<I", data, 8)[0],
        encrypted=encrypted,
        read_only=bool(data[26] & 0x20),
    )


def _fedauth_token(features: Reader) -> bytes | None:
    token = None
    while (number := features.unpack("B")) != 0xFF:
        feature = Reader(features.take(features.unpack("I")))
        if number == 2:
            library = feature.unpack("B") >> 1
            if library != 1:
                raise ValueError(f"FEDAUTH library {library} is not the security token library")
            token = feature.take(feature.unpack("I"))
    return token


def read_batch(data: bytes) -> str:
    """The statement of a SQLBatch message."""
    reader = Reader(data)
    reader.skip_all_headers()
    return reader.data[reader.at :].decode("utf-16-le")


def read_transaction(data: bytes) -> tuple[int, bool]:
    """A transaction manager request: its type (5 begin, 7 commit, 8 roll back), begin another?"""
    reader = Reader(data)
    reader.skip_all_headers()
    kind = reader.unpack("H")
    if kind not in (5, 7, 8):
        raise ValueError(f"transaction manager request {kind} is not one of 5, 7, 8")
    if kind == 5:
        return kind, False
    reader.take(reader.unpack("B"))
    return kind, bool(reader.unpack("B") & 1)


def read_calls(data: bytes) -> list[Call]:
    """The calls of an RPC message, in order."""
    reader = Reader(data)
    reader.skip_all_headers()
    calls = []
    while reader:
        length = reader.unpack("H")
        if length == 0xFFFF:
            number = reader.unpack("H")
            procedure = PROCEDURES.get(number, f"procedure {number}")
        else:
            procedure = reader.text(length)
        reader.take(2)  # option flags
        parameters = []
        while reader and reader.data[reader.at] not in (0x80, 0xFE, 0xFF):  # batch separators
            parameters.append(_read_parameter(reader))
        calls.append(Call(procedure, tuple(parameters)))
        if reader:
            reader.take(1)
    return calls


def _read_parameter(reader: Reader) -> Parameter:
    name = reader.text(reader.unpack("B"))
    reader.take(1)  # status: by reference, default
    code = reader.unpack("B")
    if code == 0xE7:
        limit = reader.unpack("H")
        reader.take(5)
        raw = _read_plp(reader) if limit == 0xFFFF else _read_counted(reader, "H", 0xFFFF)
        size = "max" if limit == 0xFFFF else limit // 2
        return Parameter(name, f"nvarchar({size})", _utf16(raw))
    if code == 0x63:
        reader.take(4 + 5)
        return Parameter(name, "ntext", _utf16(_read_counted(reader, "I", 0xFFFFFFFF)))
    if code == 0x26:
        width = reader.unpack("B")
        raw = _read_counted(reader, "B", 0)
        value = None if raw is None else int.from_bytes(raw, "little", signed=True)
        return Parameter(name, {1: "tinyint", 2: "smallint", 4: "int", 8: "bigint"}[width], value)
    if code == 0x38:
        return Parameter(name, "int", reader.unpack("i"))
    if code == 0x68:
        reader.take(1)
        raw = _read_counted(reader, "B", 0)
        return Parameter(name, "bit", None if raw is None else bool(raw[0]))
    if code == 0x6D:
        width = reader.unpack("B")
        raw = _read_counted(reader, "B", 0)
        number = None if raw is None else struct.unpack({4: "<f", 8: "<d"}[len(raw)], raw)[0]
        return Parameter(name, {4: "real", 8: "float"}[width], number)
    if code in (0x6A, 0x6C):
        _, precision, scale = reader.take(3)
        raw = _read_counted(reader, "B", 0)
        exact = None if raw is None else decimal_of(raw, scale)
        return Parameter(name, f"decimal({precision},{scale})", exact)
    if code == 0xA5:
        limit = reader.unpack("H")
        raw = _read_plp(reader) if limit == 0xFFFF else _read_counted(reader, "H", 0xFFFF)
        return Parameter(name, f"varbinary({'max' if limit == 0xFFFF else limit})", raw)
    raise ValueError(f"parameter type 0x{code:02X} is not one this server reads")


def _read_counted(reader: Reader, form: str, null: int) -> bytes | None:
    length = reader.unpack(form)
    return None if length == null else reader.take(length)


def _read_plp(reader: Reader) -> bytes | None:
    if reader.take(8) == PLP_NULL:
        return None
    chunks = []
    while length := reader.unpack("I"):
        chunks.append(reader.take(length))
    return b"".join(chunks)


def _utf16(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-16-le")


# Replies, written


def packets(payload: bytes, size: int, *, last: bool = True) -> Iterator[bytes]:
    """`payload` as reply packets of at most `size` bytes; `last` closes the message."""
    room = size - HEADER_BYTES
    count = max(1, -(-len(payload) // room))
    view = memoryview(payload)
    for index in range(count):
        piece = view[index * room : (index + 1) * room]
        status = LAST_PACKET if last and index == count - 1 else 0
        header = struct.pack(
            ">BBHHBB", REPLY, status, len(piece) + HEADER_BYTES, 0, (index + 1) & 0xFF, 0
        )
        yield b"".join((header, piece))


def prelogin(encryption: int, *, fedauth: bool) -> bytes:
    """A PRELOGIN reply; `fedauth` answers a client that announced a token."""
    options = {0: PROGRAM_VERSION + b"\0\0", 1: bytes((encryption,))}
    if fedauth:
        options[6] = b"\x01"
    head, body = [], []
    offset = 5 * len(options) + 1
    for number, given in options.items():
        head.append(struct.pack(">BHH", number, offset, len(given)))
        body.append(given)
        offset += len(given)
    return b"".join((*head, b"\xff", *body))


def login_accepted(login: Login, *, packet_size: int) -> bytes:
    """What follows an accepted LOGIN7, without its DONE."""
    ack = b"\x01" + bytes.fromhex("74000004") + _b_text(PROGRAM) + PROGRAM_VERSION
    features = b"\xae\x02" + struct.pack("<I", 0) + b"\xff" if login.token is not None else b""
    return b"".join(
        (
            _env_change(1, _b_text(login.database or "master") + _b_text("master")),
            _env_change(4, _b_text(str(packet_size)) + _b_text("4096")),
            b"\xad" + struct.pack("<H", len(ack)) + ack,
            features,
        )
    )


def redirected(host: str, port: int) -> bytes:
    """What sends the client on to another server, after its login was accepted."""
    target = struct.pack("<BHH", 0, port, len(host)) + host.encode("utf-16-le")
    return _env_change(20, struct.pack("<H", len(target)) + target + b"\0\0")


def _env_change(kind: int, values: bytes) -> bytes:
    return b"\xe3" + struct.pack("<HB", len(values) + 1, kind) + values


def reset_done() -> bytes:
    """The acknowledgement of RESETCONNECTION."""
    return _env_change(18, b"\0\0")


def transaction_begun(descriptor: int) -> bytes:
    return _env_change(8, b"\x08" + struct.pack("<Q", descriptor) + b"\0")


def transaction_ended(kind: int, descriptor: int) -> bytes:
    """`kind` 7 ends by commit, 8 by rollback; an error that rolls back (a deadlock) is an 8."""
    change = 9 if kind == 7 else 10
    return _env_change(change, b"\0\x08" + struct.pack("<Q", descriptor))


def done(token: int, status: int, rows: int = 0) -> bytes:
    return struct.pack("<BHHQ", token, status, 0xC1 if status & DONE_COUNT else 0, rows)


def return_status(value: int = 0) -> bytes:
    return b"\x79" + struct.pack("<i", value)


def return_handle(handle: int) -> bytes:
    """The RETURNVALUE that carries a prepared statement's handle back."""
    return b"\xac" + struct.pack("<HBBIHBBBi", 0, 0, 1, 0, 0, 0x26, 4, 4, handle)


def error(number: int, message: str, *, severity: int, state: int, procedure: str = "") -> bytes:
    body = b"".join(
        (
            struct.pack("<iBBH", number, state, severity, len(message.encode("utf-16-le")) // 2),
            message.encode("utf-16-le"),
            _b_text(SERVER_NAME),
            _b_text(procedure),
            struct.pack("<I", 1),
        )
    )
    return b"\xaa" + struct.pack("<H", len(body)) + body


def column_metadata(columns: Iterable[Column]) -> bytes:
    columns = list(columns)
    parts = [b"\x81", struct.pack("<H", len(columns))]
    for column in columns:
        parts += (struct.pack("<IH", 0, 0x0001), type_info(column.type), _b_text(column.name))
    return b"".join(parts)


def row(columns: Iterable[Column], values: Iterable[Any]) -> bytes:
    """One ROW token."""
    parts = [b"\xd1"]
    for column, given in zip(columns, values, strict=True):
        parts += value(column.type, given)
    return b"".join(parts)


def _b_text(text: str) -> bytes:
    return bytes((len(text),)) + text.encode("utf-16-le")
