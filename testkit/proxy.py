"""A TCP proxy on loopback that does to a conversation what networks do to it.

It listens on 127.0.0.1 and forwards to a TCP address or a Unix socket, and can cut, delay, freeze
and refuse. One thread does all the forwarding, so that what happens first is never a race inside
the proxy: exactly `n` bytes pass before a cut, in one direction, and none after.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
CHUNK = 65536
# Beyond it a flow is not read, so that a slow reader slows its writer down, as a network does.
MOST_PENDING = 4 * CHUNK
LINGER_NONE = struct.pack("ii", 1, 0)


class Direction(Enum):
    UP = "client to server"
    DOWN = "server to client"


class How(Enum):
    """How the client sees a cut. A Unix socket knows no RST: the server always sees an end."""

    FIN = "end of stream"
    RST = "connection reset"


@dataclass
class Flow:
    """One direction of a link. `pending` holds (the moment it is due, bytes), oldest first."""

    direction: Direction
    source: socket.socket
    sink: socket.socket
    pending: deque[tuple[float, bytes]] = field(default_factory=deque)
    ended: bool = False  # the source has sent its last byte
    closed: bool = False  # and so has the proxy, to the sink

    def holds(self) -> int:
        return sum(len(chunk) for _, chunk in self.pending)


@dataclass
class Link:
    """One connection of a client and the proxy's own one to the server."""

    client: socket.socket
    server: socket.socket
    frozen: bool = False

    def __post_init__(self) -> None:
        self.flows = (
            Flow(Direction.UP, self.client, self.server),
            Flow(Direction.DOWN, self.server, self.client),
        )


@dataclass
class Trigger:
    """What is to happen once, to whichever link carries the byte that is counted last."""

    direction: Direction
    left: int  # bytes that still pass
    act: Callable[[Link], None]


class Proxy:
    """Forwards to `upstream`, a (host, port) or the path of a Unix socket, until closed.

    A context manager. Methods return when what they ask for has happened.
    """

    def __init__(self, upstream: tuple[str, int] | str | Path) -> None:
        self._upstream = upstream
        self._listener: socket.socket | None = None
        self._links: list[Link] = []
        self._trigger: Trigger | None = None
        self._frozen = False
        self._delay = 0.0
        self._closed = False
        self._passed = dict.fromkeys(Direction, 0)
        self._accepted = 0
        self.port = 0
        self._asked: deque[Callable[[], None]] = deque()
        self._bell, self._ringer = socket.socketpair()
        self._listen()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def cut_after(
        self, count: int, direction: Direction, how: How = How.FIN, *, refuse: bool = False
    ) -> None:
        """Cut the link that carries the `count`-th byte from now in `direction`, right after it.

        With 0 it is cut instead of forwarding the first byte. Other links stay; a later call
        replaces an earlier one that has not happened. refuse: and refuse() in the same moment.
        """

        def act(link: Link) -> None:
            if refuse:
                self._refuse()
            self._sever(link, how)

        self._ask(lambda: self._arm(Trigger(direction, count, act)))

    def freeze_after(self, count: int, direction: Direction) -> None:
        """freeze() right after the `count`-th byte from now; otherwise as cut_after()."""

        def act(_: Link) -> None:
            self._frozen = True

        self._ask(lambda: self._arm(Trigger(direction, count, act)))

    def disarm(self) -> bool:
        """Take back what was to happen after so many bytes; whether it had not happened."""

        def take_back() -> bool:
            armed = self._trigger is not None
            self._arm(None)
            return armed

        return self._ask(take_back)

    def cut_all(self, how: How = How.FIN) -> int:
        """Cut every link now; how many there were."""

        def cut() -> int:
            doomed = list(self._links)
            for link in doomed:
                self._sever(link, how)
            return len(doomed)

        return self._ask(cut)

    def redirect(self, upstream: tuple[str, int] | str | Path) -> None:
        """Forward new connections to `upstream`; cut those to the old one."""

        def turn() -> None:
            self._upstream = upstream
            for link in [*self._links]:
                self._sever(link, How.RST)

        self._ask(turn)

    def freeze(self) -> None:
        """Forward nothing from now on. Connections stay, and new ones are still accepted."""
        self._ask(lambda: setattr(self, "_frozen", True))

    def thaw(self) -> None:
        """Go on, beginning with what was held back."""
        self._ask(lambda: setattr(self, "_frozen", False))

    def freeze_links(self) -> None:
        """Forward nothing on the links that are open now, ever; new ones are forwarded."""

        def drop() -> None:
            for link in self._links:
                link.frozen = True

        self._ask(drop)

    def delay(self, seconds: float) -> None:
        """Hold every byte that arrives from now on for `seconds`, in each direction."""
        self._ask(lambda: setattr(self, "_delay", seconds))

    def refuse(self) -> None:
        """Refuse new connections, as a machine without the server does. Links stay."""
        self._ask(self._refuse)

    def accept(self) -> None:
        """Take new connections again, on the same port."""
        self._ask(self._listen)

    def links(self) -> int:
        """How many connections are open now."""
        return self._ask(lambda: len(self._links))

    def accepted(self) -> int:
        """How many connections were ever made."""
        return self._ask(lambda: self._accepted)

    def passed(self) -> dict[Direction, int]:
        """Bytes forwarded in each direction, over all links, since the start."""
        return self._ask(lambda: dict(self._passed))

    def close(self) -> None:
        """Cut what is left and end the thread. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._ringer.send(b"!")
        self._thread.join()
        self._ringer.close()
        # Not in the thread: it may end before the byte above is sent.
        self._bell.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]

    def _arm(self, trigger: Trigger | None) -> None:
        self._trigger = trigger

    def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _ask(self, what: Callable[[], T]) -> T:
        """Have the proxy's thread do it; its result."""
        answer: list[T] = []
        done = threading.Event()

        def run() -> None:
            try:
                answer.append(what())
            finally:
                done.set()

        self._asked.append(run)
        self._ringer.send(b"!")
        done.wait()
        return answer[0]

    def _run(self) -> None:
        try:
            while not self._closed:
                self._turn()
        finally:
            for link in list(self._links):
                self._sever(link, How.FIN)
            if self._listener is not None:
                self._listener.close()

    def _turn(self) -> None:
        now = time.monotonic()
        links = [] if self._frozen else [link for link in self._links if not link.frozen]
        flows = [(k, f) for k in links for f in k.flows]
        readers = {f.source: (k, f) for k, f in flows if not f.ended and f.holds() < MOST_PENDING}
        writers = {f.sink: (k, f) for k, f in flows if f.pending and f.pending[0][0] <= now}
        due = [f.pending[0][0] - now for _, f in flows if f.pending and f.pending[0][0] > now]
        waiting = [s for s in (self._bell, self._listener) if s is not None]
        ready, writable, _ = select.select(
            [*waiting, *readers], list(writers), [], min(due) if due else None
        )
        for sink in writable:
            self._forward(*writers[sink])
        for source in ready:
            if source in readers:
                self._receive(*readers[source])
        if self._listener in ready:
            self._accept()
        if self._bell in ready:
            self._bell.recv(CHUNK)
        while self._asked:
            self._asked.popleft()()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the client may have gone already
            client, _ = self._listener.accept()
            try:
                server = self._connect()
            except OSError:
                client.close()  # as near as a proxy comes to a server that is not there
                return
            for end in (client, server):
                end.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._links.append(Link(client, server))
            self._accepted += 1

    def _connect(self) -> socket.socket:
        if isinstance(self._upstream, tuple):
            return socket.create_connection(self._upstream)
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self._upstream))
        except OSError:
            server.close()
            raise
        return server

    def _receive(self, link: Link, flow: Flow) -> None:
        if link not in self._links:
            return  # severed in this very turn
        try:
            chunk = flow.source.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._sever(link, How.RST)
            return
        if chunk:
            flow.pending.append((time.monotonic() + self._delay, chunk))
            if not self._delay:
                self._forward(link, flow)
        else:
            flow.ended = True
            self._finish(link, flow)

    def _forward(self, link: Link, flow: Flow) -> None:
        if link not in self._links or not flow.pending:
            return
        due, chunk = flow.pending.popleft()
        trigger = self._trigger
        if trigger is not None and trigger.direction is not flow.direction:
            trigger = None
        allowed = chunk[: trigger.left] if trigger else chunk
        try:
            sent = flow.sink.send(allowed) if allowed else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._sever(link, How.RST)
            return
        self._passed[flow.direction] += sent
        if sent < len(chunk):
            flow.pending.appendleft((due, chunk[sent:]))
        if trigger:
            trigger.left -= sent
            if not trigger.left:
                self._trigger = None
                trigger.act(link)
                return
        self._finish(link, flow)

    def _finish(self, link: Link, flow: Flow) -> None:
        """Pass on the end of a stream once everything before it is through."""
        if not flow.ended or flow.pending or flow.closed:
            return
        flow.closed = True
        if all(f.closed for f in link.flows):
            self._sever(link, How.FIN)
            return
        with contextlib.suppress(OSError):
            flow.sink.shutdown(socket.SHUT_WR)

    def _sever(self, link: Link, how: How) -> None:
        self._links.remove(link)
        if how is How.RST:
            link.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        else:
            # Bytes left unread would turn the end of the stream into a reset.
            with contextlib.suppress(OSError):
                while link.client.recv(CHUNK):
                    pass
        link.client.close()
        link.server.close()
