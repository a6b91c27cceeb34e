"""The sockets behind an ODBC connection: the last means to free a thread from a frozen network.

A driver blocked in recv() hears no cancel when the network swallows it, and psqlodbc has no
timeout of its own. Shutting the socket down ends the recv() at once (shutdown(2)). No driver says
which descriptor is its, so it is found among the process's own (Linux, /proc/self/fd).
"""

import contextlib
import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_FDS = Path("/proc/self/fd")
# Milliseconds of TCP_USER_TIMEOUT, in force as well: an unacknowledged send ends after 30 s.
FIRST_TAG = 30_000
_tags = itertools.count()


class TaggedSockets:
    """The sockets of one psqlodbc connection over TCP, told by a value that libpq sets on each.

    libpq sets tcp_user_timeout before it connects, and on the socket of its cancel too, so a
    hanging connect and a hanging cancel are found as well. No two living connections share a tag.
    """

    def __init__(self) -> None:
        self._tag = FIRST_TAG + next(_tags) % FIRST_TAG

    @property
    def option(self) -> str:
        """What libpq is to be told (libpq, "Parameter Key Words")."""
        return f"tcp_user_timeout={self._tag}"

    def connect(self, make: Callable[[], T]) -> T:
        return make()

    def shutdown(self) -> None:
        """End whatever waits on one of them; nothing if all are closed."""
        for duplicate in _sockets():
            with contextlib.suppress(OSError):
                level, option = socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT
                if duplicate.getsockopt(level, option) == self._tag:
                    duplicate.shutdown(socket.SHUT_RDWR)


class SocketFinder:
    """Finds the socket that a connect to `peer` opens, by looking before and after.

    peer: a port of TCP, or the path of a Unix socket. one_at_a_time: let no two connects overlap,
    so that the socket is always found; without it overlapping ones go unfound.
    """

    def __init__(self, peer: int | str, *, one_at_a_time: bool) -> None:
        self._peer = peer
        self._turn = threading.Lock() if one_at_a_time else contextlib.nullcontext()

    def find(self, make: Callable[[], T]) -> tuple[T, int | None]:
        """What `make()` gives, and the inode of the socket it opened."""
        with self._turn:
            before = set(self._inodes())
            made = make()
            new = [inode for inode in self._inodes() if inode not in before]
        return made, new[0] if len(new) == 1 else None

    def _inodes(self) -> Iterator[int]:
        for duplicate in _sockets():
            with contextlib.suppress(OSError):
                name = duplicate.getpeername()
                if (name[1] if isinstance(name, tuple) else name) == self._peer:
                    yield os.fstat(duplicate.fileno()).st_ino


class FoundSocket:
    """The socket of one connection, once it is made; unknown where it could not be told."""

    def __init__(self, finder: SocketFinder) -> None:
        self._finder = finder
        self._inode: int | None = None

    def connect(self, make: Callable[[], T]) -> T:
        made, self._inode = self._finder.find(make)
        return made

    def shutdown(self) -> None:
        """End whatever waits on it; nothing if it is closed or unknown."""
        for duplicate in _sockets():
            with contextlib.suppress(OSError):
                if os.fstat(duplicate.fileno()).st_ino == self._inode:
                    duplicate.shutdown(socket.SHUT_RDWR)


def _sockets() -> Iterator[socket.socket]:
    """A duplicate of each socket of this process, closed after its turn."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(_FDS):
            with contextlib.suppress(OSError):
                if os.readlink(_FDS / name).startswith("socket:"):
                    with socket.socket(fileno=os.dup(int(name))) as duplicate:
                        yield duplicate
