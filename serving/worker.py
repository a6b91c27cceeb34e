"""gunicorn's threaded worker, with kept-alive connections that stay on their thread, and which
leaves nobody behind when it stops."""

import select
import time

from gunicorn.workers.gthread import TConn, ThreadWorker

# A client that asks again at once asks within this; longer than it takes to hand a connection to
# the main thread and back, which costs more than most requests.
STAY_MILLISECONDS = 5
# A handshake that has begun is completed within this, in a data centre.
HANDSHAKE_SECONDS = 0.02
# Where new connections can't be refused, they can't all be waited for.
LONGEST_SECONDS = 0.2


class DrainingWorker(ThreadWorker):
    """A thread that has answered takes the next request of the same connection, if it comes soon
    and no other connection waits for a thread; gthread gives every one back to its main thread.

    Told to stop, it accepts who is in the listening socket's queue, then closes that socket.
    gthread leaves both as they are until its last request is answered: whoever connects meanwhile
    waits for as long as that takes, and is then reset.
    """

    def handle(self, conn: TConn) -> object:
        kept = super().handle(conn)
        while kept is True and self._stays(conn):
            kept = super().handle(conn)
        return kept

    def _stays(self, conn: TConn) -> bool:
        """Whether the next request of this connection is here, and this thread's to answer."""
        # What was read ahead makes no socket readable; the main thread looks for it.
        if not self.alive or conn.is_http2 or conn.parser.unreader.buf.getvalue():
            return False
        if self.tpool._work_queue.qsize():
            return False
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        return bool(poll.poll(STAY_MILLISECONDS)) and self.alive

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            self._empty_queues()
            for listener in self.sockets:
                listener.close()

    def _empty_queues(self) -> None:
        give_up = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < give_up:
            ready, _, _ = select.select(self.sockets, [], [], HANDSHAKE_SECONDS)
            if not ready:
                return
            for listener in ready:
                self.accept(listener)
