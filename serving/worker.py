"""gunicorn's threaded worker, which leaves nobody behind when it stops."""

import select
import time

from gunicorn.workers.gthread import ThreadWorker

# A handshake that has begun is completed within this, in a data centre.
HANDSHAKE_SECONDS = 0.02
# Where new connections can't be refused, they can't all be waited for.
LONGEST_SECONDS = 0.2


class DrainingWorker(ThreadWorker):
    """Told to stop, it accepts who is in the listening socket's queue, then closes that socket.

    gthread leaves both as they are until its last request is answered: whoever connects meanwhile
    waits for as long as that takes, and is then reset.
    """

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
