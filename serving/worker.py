"""The gunicorn worker: threads serve requests, and the main thread holds waiting connections.

The main thread accepts connections and holds each one without a complete request: silent, with a
part of a head or body, kept alive, slow to read a response, or closing. Each waits for a limited
time, and none occupies another thread.
"""

import contextlib
import os
import queue
import select
import selectors
import socket
import struct
import time
from enum import Enum
from typing import Any

from gunicorn import util
from gunicorn.config import Config
from gunicorn.http.message import Request
from gunicorn.workers.base import Worker

from serving.capacity import connections_within
from serving.connections import Connection, Stage
from serving.exchange import Exchange, problem
from serving.lanes import Lane
from serving.settled_config import SettledConfig
from settings import read_settings

TICK_SECONDS = 0.25
# A thread waits this long for the connection's next request: passing it to the main thread and
# back costs more than most requests.
STAY_MILLISECONDS = 5
# After this, a body is awaited in a lane of its own, where the request can already be rejected for
# its head.
BODY_PATIENCE_SECONDS = 1.0
SLOW_THREADS = 32
# Health checks have threads of their own, so that they work when all others are busy.
PROBE_THREADS = 4
PROBES = (b"GET /health/", b"HEAD /health/")
# Maximum for the incomplete requests and unread responses of one worker.
HELD_BYTES = 64 * 1_048_576
# Bytes after the last response are still read this long, because closing with unread bytes resets
# the connection and loses the response (RFC 9112, 9.6).
LINGER_SECONDS = 2.0
RESET = struct.pack("ii", 1, 0)  # struct linger: closing sends nothing more
# A stopping worker keeps idle connections this long: their next request may be on its way.
STOP_IDLE_SECONDS = 2.0
# Time for the running requests of a worker whose arbiter was killed.
ORPHAN_SECONDS = 1.0
# Within a data centre, a TCP handshake that has begun completes within this.
HANDSHAKE_SECONDS = 0.02
# Bound for accepting, if new connections can't be refused.
MAX_ACCEPT_SECONDS = 0.2


class Waits(Enum):
    """What the main thread waits for on a connection."""

    REQUEST = 1  # the first byte of a kept-alive connection's next request
    HEAD = 2
    BODY = 3
    READER = 4
    CLOSE = 5


class DrainingWorker(Worker):  # gunicorn has no types
    """Stops by accepting what is queued on the listening sockets, closing them, and serving all
    accepted connections."""

    cfg: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.alive: bool
        settings = read_settings()
        self._head_seconds = settings.head_seconds
        self._stall_seconds = settings.stall_seconds
        self._body_seconds = settings.body_seconds
        self._max_connections = connections_within(self.cfg.worker_connections, settings)
        # As gunicorn's parser counts.
        self._longest_head = self.cfg.limit_request_line + self.cfg.limit_request_fields * (
            self.cfg.limit_request_field_size + 2
        )
        self._requests = Lane("request", self.cfg.threads, self._serve)
        self._slow = Lane("slow-body", SLOW_THREADS, self._serve)
        self._probes = Lane("probe", PROBE_THREADS, self._serve)
        # (connection, whether it can take another request)
        self._served: queue.SimpleQueue[tuple[Connection, bool]] = queue.SimpleQueue()
        # In the order of their registration.
        self._waiting: dict[Connection, None] = {}
        self._count = 0
        self._held = 0
        self._accepts = False
        self._next_tick = 0.0

    @classmethod
    def check_config(cls, cfg: Config, log: Any) -> None:
        """Raises SystemExit if TLS is configured."""
        if cfg.is_ssl:
            raise SystemExit("The server speaks plain HTTP: remove --certfile, end TLS in a proxy.")

    def run(self) -> None:
        self.cfg = SettledConfig(self.cfg)
        self._poller = selectors.DefaultSelector()
        # Written by signals (signal.set_wakeup_fd) and by threads that have served a request.
        self._poller.register(self.PIPE[0], selectors.EVENT_READ, self._take_back_served)
        for listener in self.sockets:
            listener.setblocking(False)
        grace = self._serve_until_stopped()
        self._stop_listening()
        deadline = time.monotonic() + grace
        for connection in self._waiting:
            if connection.waits_for in (Waits.REQUEST, Waits.HEAD):
                connection.until = min(connection.until, time.monotonic() + STOP_IDLE_SECONDS)
        while self._count and time.monotonic() < deadline:
            self._turn()
        for connection in list(self._waiting):
            self._close(connection)

    def stops_after(self, request: Request) -> bool:
        """Count `request`; returns whether its connection must close because this worker stops."""
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
        return not self.alive or not self.cfg.keepalive

    # The main thread

    def _serve_until_stopped(self) -> float:
        """Serve until a stop signal; returns the seconds that running requests may still take."""
        while self.alive:
            if (self._count < self._max_connections) != self._accepts:
                self._accept_more(not self._accepts)
            self._turn()
        return ORPHAN_SECONDS if os.getppid() != self.ppid else self.cfg.graceful_timeout

    def _turn(self) -> None:
        if time.monotonic() >= self._next_tick:
            self._next_tick = time.monotonic() + TICK_SECONDS
            self.notify()
            self._end_waits()
            if self.alive and os.getppid() != self.ppid:
                self.log.info("The arbiter is gone; stopping: %s", self)
                self.alive = False
        for key, _ in self._poller.select(TICK_SECONDS):
            if type(key.data) is Connection:
                # An earlier event of this turn may have closed it.
                if key.data in self._waiting:
                    self._ready(key.data)
            else:
                key.data(key.fileobj)

    def _accept_more(self, accepts: bool) -> None:
        for listener in self.sockets:
            if accepts:
                self._poller.register(listener, selectors.EVENT_READ, self._accept)
            else:
                self._poller.unregister(listener)
        self._accepts = accepts

    def _accept(self, listener: Any) -> None:
        try:
            sock, client = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # such as no free descriptor
            self.log.warning("A connection could not be accepted: %s", error.strerror)
            if not self._make_room():
                time.sleep(TICK_SECONDS)  # else the warning repeats thousands of times a second
            return
        self._count += 1
        connection = Connection(
            sock, client, listener.getsockname(), longest_head=self._longest_head
        )
        connection.receive()
        self._place(connection)
        if self._count >= self._max_connections:
            self._make_room()

    def _make_room(self) -> bool:
        """Close a connection that has been silent for long; False if there is none."""
        for kind in (Waits.CLOSE, Waits.HEAD, Waits.REQUEST):
            for connection in self._waiting:
                if connection.waits_for is kind:
                    self._close(connection)
                    return True
        return False

    def _ready(self, connection: Connection) -> None:
        """Handle a waiting connection that can be read or written."""
        if connection.waits_for is Waits.READER:
            self._send_more(connection)
            return
        if connection.waits_for is Waits.CLOSE:
            self._discard(connection)
            return
        self._held -= _held_for(connection)
        connection.receive()
        self._held += _held_for(connection)
        self._place(connection)

    def _place(self, connection: Connection) -> None:
        """Pass a connection to a thread, or let it wait for the rest of its request."""
        stage = connection.stage()
        if stage is Stage.WHOLE:
            probes = connection.received.startswith(PROBES)
            self._pass_to(self._probes if probes else self._requests, connection)
        elif stage is Stage.HEAD:
            if connection.ended or self._held > HELD_BYTES:
                self._close(connection)
            elif connection.requests and not connection.received:
                self._wait(connection, Waits.REQUEST, self._capped(self.cfg.keepalive))
            elif connection.waits_for is not Waits.HEAD:
                self._wait(connection, Waits.HEAD, self._capped(self._head_seconds))
        elif stage is Stage.LONG or connection.ended or self._held > HELD_BYTES:
            self._pass_to(self._slow, connection)
        elif connection.waits_for is not Waits.BODY:
            self._wait(connection, Waits.BODY, min(BODY_PATIENCE_SECONDS, self._body_seconds))

    def _capped(self, seconds: float) -> float:
        return seconds if self.alive else min(seconds, STOP_IDLE_SECONDS)

    def _wait(
        self, connection: Connection, kind: Waits, seconds: float, event: int = selectors.EVENT_READ
    ) -> None:
        if connection in self._waiting:
            # Already registered for reading; the event stays the same.
            del self._waiting[connection]
            self._held -= _held_for(connection)
        else:
            self._poller.register(connection.fd, event, connection)
        connection.waits_for = kind
        connection.until = time.monotonic() + seconds
        self._waiting[connection] = None
        self._held += _held_for(connection)

    def _stop_waiting(self, connection: Connection) -> None:
        if connection in self._waiting:
            del self._waiting[connection]
            self._poller.unregister(connection.fd)
            self._held -= _held_for(connection)
        connection.waits_for = None

    def _pass_to(self, lane: Lane, connection: Connection) -> None:
        self._stop_waiting(connection)
        lane.put(connection)

    def _end_waits(self) -> None:
        now = time.monotonic()
        for connection in [c for c in self._waiting if c.until <= now]:
            if connection.waits_for is Waits.BODY:
                self._pass_to(self._slow, connection)
            elif connection.waits_for is Waits.HEAD and connection.received:
                with contextlib.suppress(OSError):
                    os.write(connection.fd, problem(408))
                self._finish(connection)
            else:
                self._close(connection)

    def _take_back_served(self, pipe: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(pipe, 4096)
        while True:
            try:
                connection, kept = self._served.get_nowait()
            except queue.Empty:
                return
            connection.keeps = kept
            if connection.unsent:
                self._wait(connection, Waits.READER, self._stall_seconds, selectors.EVENT_WRITE)
            else:
                self._continue(connection)

    def _continue(self, connection: Connection) -> None:
        """Continue with a connection after a response."""
        if connection.keeps:
            self._place(connection)
        else:
            self._finish(connection)

    def _send_more(self, connection: Connection) -> None:
        try:
            sent = os.write(connection.fd, connection.unsent)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        self._held -= sent
        connection.unsent = connection.unsent[sent:]
        connection.until = time.monotonic() + self._stall_seconds
        if not connection.unsent:
            self._stop_waiting(connection)
            self._continue(connection)

    def _finish(self, connection: Connection) -> None:
        """Shut down the sending side; close once the client sends no more."""
        self._stop_waiting(connection)
        if connection.stalled:
            self._close(connection)
            return
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)
            return
        if not connection.receive() and (connection.ended or not connection.unread):
            self._close(connection)
            return
        self._wait(connection, Waits.CLOSE, LINGER_SECONDS)

    def _discard(self, connection: Connection) -> None:
        connection.leave(b"")
        if not connection.receive() and connection.ended:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        if connection.stalled or connection.waits_for is Waits.READER:
            # Otherwise the kernel keeps the unread bytes for minutes.
            with contextlib.suppress(OSError):
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._stop_waiting(connection)
        self._count -= 1
        util.close(connection.sock)

    def _stop_listening(self) -> None:
        """Accept the queued connections, which would otherwise be reset, and close the sockets."""
        if self._accepts:
            self._accept_more(False)
        deadline = time.monotonic() + MAX_ACCEPT_SECONDS
        while time.monotonic() < deadline:
            ready, _, _ = select.select(self.sockets, [], [], HANDSHAKE_SECONDS)
            if not ready:
                break
            for listener in ready:
                self._accept(listener)
        for listener in self.sockets:
            listener.close()

    # The other threads

    def _serve(self, lane: Lane, connection: Connection) -> None:
        """Serve a request, and the next ones of the connection if they arrive soon and no other
        connection waits for a thread."""
        kept = False
        try:
            kept = self._serve_request(connection)
            while kept and lane is self._requests and self._stays(connection):
                kept = self._serve_request(connection)
        except Exception:
            self.log.exception("Error serving a connection")
            kept = False
        finally:
            self._served.put((connection, kept))
            with contextlib.suppress(BlockingIOError, OSError):
                os.write(self.PIPE[1], b"\0")

    def _serve_request(self, connection: Connection) -> bool:
        exchange = Exchange(
            self,
            connection,
            stall_seconds=self._stall_seconds,
            body_seconds=self._body_seconds,
            may_keep=self._may_keep,
        )
        return exchange.run()

    def _may_keep(self, size: int) -> bool:
        return self._held + size <= HELD_BYTES

    def _stays(self, connection: Connection) -> bool:
        """Whether this thread should serve the connection's next request, which has arrived."""
        if not self.alive or connection.unsent or self._requests.waiting():
            return False
        if not connection.received:
            if not connection.wait(select.POLLIN, STAY_MILLISECONDS / 1000):
                return False
            connection.receive()
        return self.alive and connection.stage() is Stage.WHOLE


def _held_for(connection: Connection) -> int:
    """The bytes in memory for a connection that waits."""
    if connection.waits_for is Waits.READER:
        return len(connection.unsent)
    return len(connection.received) if connection.waits_for in (Waits.HEAD, Waits.BODY) else 0
