"""A scripted TDS server: the real ODBC driver connects to it, a test scripts its replies.

Every login and request is recorded as it arrived; a test can cut a connection at any byte. It
proves nothing about a real SQL Server: its replies are those that a test scripts.

    with TdsServer() as server:
        server.on_execute(lambda request: Reply(json_rows('[{"CustomerID":1}]')))
        ...
        assert server.requests[0].statement == "EXEC web.get_customer @P1"

A statement without a script gets one row holding 1, as `SELECT 1` does.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from testkit.tds.conversation import Connection
from testkit.tds.messages import Column, Login
from testkit.tds.script import EXECUTIONS, Cut, Reply, Request, Rows, Stage

Script = Callable[[Request], Reply]
LoginScript = Callable[[Login], Reply]


@dataclass
class _Faults:
    """Faults to come, each used by the first connection that reaches its stage."""

    stages: deque[tuple[Stage, Cut]] = field(default_factory=deque)
    requests: deque[tuple[int, Cut]] = field(default_factory=deque)


class TdsServer:
    """Listens on loopback until `close()`. `certificate`, a PEM file with key, allows TLS.

    `logins`, `requests` and `connections` grow as things happen; `failures` holds the
    server's own exceptions and must be empty at the end of every test.
    """

    def __init__(self, *, certificate: str | None = None):
        self.tls = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate)
            # the driver's wrapped handshake hangs on 1.3
            self.tls.maximum_version = ssl.TLSVersion.TLSv1_2
        self.logins: list[Login] = []
        self.requests: list[Request] = []
        self.connections: list[Connection] = []
        self.failures: list[Exception] = []
        self.replies: deque[Reply] = deque()
        self.login_replies: deque[Reply] = deque()
        self.faults = _Faults()
        self.acknowledges_attention = True
        self.redirects_to: int | None = None  # a port, as Azure SQL's gateway does
        self._script: Script = lambda _: Reply(Rows((Column("", "int"),), [(1,)]))
        self._login_script: LoginScript = lambda _: Reply()
        self._changed = threading.Condition()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="tds-accept", daemon=True)
        self._acceptor.start()

    @property
    def executions(self) -> list[Request]:
        """The requests that ran a statement, without the driver's own."""
        return [request for request in self.requests if request.kind in EXECUTIONS]

    def on_execute(self, script: Script) -> None:
        """Answer every statement that no queued reply answers."""
        self._script = script

    def on_login(self, script: LoginScript) -> None:
        """Answer every login that no queued reply answers; an error refuses it."""
        self._login_script = script

    def cut_login(self, stage: Stage, cut: Cut = "fin") -> None:
        """Cut the next connection: once accepted, after its PRELOGIN or after its LOGIN7."""
        self.faults.stages.append((stage, cut))

    def cut_request(self, after: int, cut: Cut = "fin") -> None:
        """Cut the next connection that sends a request, `after` bytes of requests from now.

        Packet headers count. The request that holds the last of these bytes is not recorded;
        those that arrived whole before it are answered.
        """
        self.faults.requests.append((after, cut))

    def answer(self, request: Request) -> Reply:
        return self.replies.popleft() if self.replies else self._script(request)

    def answer_login(self, login: Login) -> Reply:
        return self.login_replies.popleft() if self.login_replies else self._login_script(login)

    def record(self, request: Request) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def wait_for(self, kind: str, *, timeout: float = 5.0) -> Request:
        """The first request of that kind, awaited; TimeoutError if none arrives."""

        def first() -> Request | None:
            return next((request for request in self.requests if request.kind == kind), None)

        with self._changed:
            if found := self._changed.wait_for(first, timeout):
                return found
        raise TimeoutError(f"no {kind} arrived within {timeout} s")

    def _accept(self) -> None:
        for number in itertools.count(1):
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._closed:
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Listed before it starts, so that no client gets a reply from an unlisted connection.
            self.connections.append(Connection(self, number, sock))
            self.connections[-1].start()

    def refuse(self) -> None:
        """Stop listening: new connections are refused, open ones live on."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(5)
        self._listener.close()

    def close(self) -> None:
        """Stop listening and end every conversation. Idempotent."""
        self.refuse()
        for connection in self.connections:
            connection.stop()
        for connection in self.connections:
            connection.join()

    def __enter__(self) -> TdsServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
