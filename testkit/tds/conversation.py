"""One client's conversation with the scripted server, from PRELOGIN to the cut."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any, Protocol

from testkit.tds import messages as tds
from testkit.tds.messages import Column
from testkit.tds.script import EXECUTIONS, Cut, Reply, Request, Rows, ServerError, Stage
from testkit.tds.streams import Gone, PlainStream, Stream, TlsStream, read_header


class Script(Protocol):
    """The part of a server that a connection uses."""

    tls: Any
    faults: Any
    logins: list[Any]
    failures: list[Any]
    acknowledges_attention: bool
    redirects_to: int | None

    def answer_login(self, login: Any) -> Reply: ...

    def answer(self, request: Request) -> Reply: ...

    def record(self, request: Request) -> None: ...


class Connection:
    """One client's conversation, on a thread of its own."""

    def __init__(self, server: Script, number: int, sock: socket.socket):
        self.id = number
        self._server, self._sock = server, sock
        self._stream: Stream = PlainStream(sock)
        self._packet_size = 4096
        self._cut: Cut = "fin"
        self._limit: tuple[int, Cut] | None = None
        self._prepared: dict[int, tuple[str, str]] = {}
        self._handles = itertools.count(1)
        self._descriptors = itertools.count(number << 32 | 1)
        self._transaction: int | None = None
        self._thread = threading.Thread(target=self._run, name=f"tds-{number}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def open(self) -> bool:
        return self._thread.is_alive()

    def cut(self, how: Cut = "fin") -> None:
        """End the conversation now, from any thread; returns once the socket is closed."""
        self._cut = how
        with contextlib.suppress(OSError):
            # shutting the reading side down wakes the thread's recv and sends nothing
            self._sock.shutdown(socket.SHUT_RD)
        self.join()

    def stop(self) -> None:
        """Wake the thread from a read or a write."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def join(self, timeout: float = 5.0) -> None:
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise RuntimeError(f"TDS connection {self.id} did not end within {timeout} s.")

    def _run(self) -> None:
        try:
            if self._log_in():
                while True:
                    self._serve()
        except Gone as gone:
            if gone.cut == "rst":
                self._cut = "rst"
        except Exception as failure:
            self._server.failures.append(failure)
        finally:
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            if self._cut == "rst":
                linger = struct.pack("ii", 1, 0)
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            else:
                # without it, unread input would turn the close into a RST
                self._sock.shutdown(socket.SHUT_WR)
        self._sock.close()

    # Login

    def _log_in(self) -> bool:
        fault = self._server.faults.stages.popleft() if self._server.faults.stages else None
        if fault and fault[0] == "accept":
            raise Gone(fault[1])
        encrypted = self._negotiate(fault)
        login = tds.read_login(self._message()[2], encrypted=encrypted)
        self._server.logins.append(login)
        if fault:
            raise Gone(fault[1])
        self._packet_size = min(max(login.packet_size or 4096, 512), 32767)
        reply = self._server.answer_login(login)
        if reply.failed:
            self._send(b"".join(self._errors(reply)) + tds.done(tds.DONE, tds.DONE_ERROR), reply)
            return False
        accepted = tds.login_accepted(login, packet_size=self._packet_size)
        if self._server.redirects_to is not None:
            accepted += tds.redirected("127.0.0.1", self._server.redirects_to)
        self._send(accepted + tds.done(tds.DONE, 0), reply)
        return True

    def _negotiate(self, fault: tuple[Stage, Cut] | None) -> bool:
        options = tds.read_prelogin(self._message()[2])
        if fault and fault[0] == "prelogin":
            raise Gone(fault[1])
        context = self._server.tls
        wanted = options[1][0] != tds.ENCRYPT_OFF
        answer = tds.ENCRYPT_ON if wanted and context else tds.ENCRYPT_NOT_SUPPORTED
        reply = tds.prelogin(answer, fedauth=options.get(6) == b"\x01")
        self._stream.write(b"".join(tds.packets(reply, self._packet_size)))
        if answer != tds.ENCRYPT_ON:
            return False
        self._stream = TlsStream(PlainStream(self._sock), context)
        return True

    # Requests

    def _serve(self) -> None:
        kind, reset, data = self._message()
        prefix = b""
        if reset:
            self._prepared.clear()
            prefix = tds.reset_done()
        if kind == tds.ATTENTION:
            self._record(Request("attention", self.id))
            if self._server.acknowledges_attention:
                self._send(tds.done(tds.DONE, tds.DONE_ATTENTION))
        elif kind == tds.TRANSACTION:
            self._transact(data, reset, prefix)
        elif kind == tds.SQL_BATCH:
            request = Request("batch", self.id, tds.read_batch(data), reset=reset)
            self._record(request)
            reply = self._server.answer(request)
            self._send(prefix + self._results(reply) + self._end(reply, tds.DONE), reply)
        elif kind == tds.RPC:
            calls = tds.read_calls(data)
            sent = [prefix]
            for call in calls:
                request = self._request(call, reset)
                self._record(request)
                body, reply = self._call(call, request)
                sent.append(body)
                if reply.hold or reply.cut_after is not None:
                    break
            self._send(b"".join(sent), reply)
        else:
            raise ValueError(f"message type 0x{kind:02X} is not one this server reads")

    def _message(self) -> tuple[int, bool, bytes]:
        """A whole message: its type, its reset bit, its data."""
        kind, status, data = self._packet()
        reset, chunks = bool(status & tds.RESET_CONNECTION), [data]
        while not status & tds.LAST_PACKET:
            _, status, data = self._packet()
            chunks.append(data)
        return kind, reset, b"".join(chunks)

    def _packet(self) -> tuple[int, int, bytes]:
        kind, status, length = read_header(self._stream)
        faults = self._server.faults.requests
        # Read after the first bytes: this thread was waiting before the test set a fault.
        if self._limit is None and faults and kind not in (tds.PRELOGIN, tds.LOGIN7):
            self._limit = faults.popleft()
        if self._limit:
            count, cut = self._limit
            count -= tds.HEADER_BYTES
            if count <= length:
                self._stream.read(max(count, 0))
                raise Gone(cut)
            self._limit = count - length, cut
        return kind, status, self._stream.read(length)

    def _record(self, request: Request) -> None:
        self._server.record(request)

    def _request(self, call: tds.Call, reset: bool) -> Request:
        values = call.parameters
        if call.procedure == "sp_prepexec":
            kind, declared, statement = "prepexec", values[1].value, values[2].value
            self._prepared[next(self._handles)] = statement, declared
            values = values[3:]
        elif call.procedure == "sp_prepare":
            kind, declared, statement = "prepare", values[1].value, values[2].value
            self._prepared[next(self._handles)] = statement, declared
            values = ()
        elif call.procedure in ("sp_execute", "sp_unprepare"):
            kind = call.procedure.removeprefix("sp_")
            statement, declared = self._prepared.get(values[0].value, ("", ""))
            values = values[1:]
        elif call.procedure == "sp_executesql":
            kind, statement = "executesql", values[0].value
            declared = values[1].value if len(values) > 1 else ""
            values = values[2:]
        elif call.procedure == "sp_prepexecrpc":
            kind, declared, statement = "prepexecrpc", "", values[1].value
            values = values[2:]
        else:
            kind, declared, statement = "rpc", "", call.procedure
        return Request(kind, self.id, statement, declared or "", values, reset)

    def _call(self, call: tds.Call, request: Request) -> tuple[bytes, Reply]:
        if request.kind == "execute" and not request.statement:
            lost = f"Could not find prepared statement with handle {call.parameters[0].value}."
            reply = Reply(ServerError(8179, lost))
        elif request.kind in EXECUTIONS:
            reply = self._server.answer(request)
        elif request.kind == "unprepare":
            self._prepared.pop(call.parameters[0].value, None)
            reply = Reply()
        elif request.kind == "rpc":
            reply = _catalog(request)
        else:
            reply = Reply()
        returned = [tds.return_status()]
        if request.kind in ("prepexec", "prepare", "prepexecrpc") and not reply.failed:
            returned.append(tds.return_handle(max(self._prepared, default=1)))
        tail = b"" if reply.hold else b"".join(returned) + self._end(reply, tds.DONEPROC)
        return self._results(reply) + tail, reply

    def _transact(self, data: bytes, reset: bool, prefix: bytes) -> None:
        kind, again = tds.read_transaction(data)
        name = {5: "begin", 7: "commit", 8: "rollback"}[kind]
        self._record(Request("transaction", self.id, name, reset=reset))
        changes = [prefix, self._end_transaction(kind)]
        if kind == 5 or again:
            self._transaction = next(self._descriptors)
            changes.append(tds.transaction_begun(self._transaction))
        self._send(b"".join(changes) + tds.done(tds.DONE, 0))

    def _end_transaction(self, kind: int) -> bytes:
        descriptor, self._transaction = self._transaction, None
        return b"" if descriptor is None else tds.transaction_ended(kind, descriptor)

    # Replies

    def _errors(self, reply: Reply) -> Iterator[bytes]:
        for part in reply.parts:
            if isinstance(part, ServerError):
                yield self._error(part)

    def _error(self, part: ServerError) -> bytes:
        token = tds.error(
            part.number,
            part.message,
            severity=part.severity,
            state=part.state,
            procedure=part.procedure,
        )
        return token + (self._end_transaction(8) if part.number == 1205 else b"")

    def _results(self, reply: Reply) -> bytes:
        tokens = []
        for part in reply.parts:
            if isinstance(part, ServerError):
                tokens.append(self._error(part))
                continue
            tokens.append(tds.column_metadata(part.columns))
            count = 0
            for values in part.rows:
                tokens.append(tds.row(part.columns, values))
                count += 1
            if part.finished and not reply.hold:
                tokens.append(tds.done(tds.DONEINPROC, tds.DONE_MORE | tds.DONE_COUNT, count))
        return b"".join(tokens)

    def _end(self, reply: Reply, token: int) -> bytes:
        if reply.hold:
            return b""
        return tds.done(token, tds.DONE_ERROR if reply.failed else 0)

    def _send(self, payload: bytes, reply: Reply | None = None) -> None:
        """Send `payload` as packets, cut or held where `reply` says so."""
        reply = reply or Reply()
        hold, allowed = reply.hold, reply.cut_after
        if hold and not payload:
            return
        stream = tds.packets(payload, self._packet_size, last=not hold)
        while batch := b"".join(itertools.islice(stream, 64)):
            if allowed is not None and len(batch) >= allowed:
                self._stream.write(batch[:allowed])
                raise Gone(reply.cut)
            self._stream.write(batch)
            if allowed is not None:
                allowed -= len(batch)


def _catalog(request: Request) -> Reply:
    """The driver's own queries: before long values it reads each text type's precision."""
    if not request.statement.endswith("sp_datatype_info_100"):
        return Reply()
    kind = request.values[0]
    precision = {12: 8000, -9: 4000, -3: 8000, 93: 27}.get(kind, 0)
    names = ("TYPE_NAME", "nvarchar(128)"), ("DATA_TYPE", "int"), ("PRECISION", "int")
    columns = tuple(Column(*name) for name in names)
    return Reply(Rows(columns, [("scripted", kind, precision)]))
