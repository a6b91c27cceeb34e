"""The socket behind an ODBC connection: the last means to free a thread from a frozen network.

A driver blocked in recv() hears no cancel when the network swallows it, and psqlodbc has no
timeout of its own. Shutting the socket down ends the recv() at once (shutdown(2)). No driver says
which descriptor is its, so it is found by who the peer is (Linux, /proc/self/fd).
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_FDS = Path("/proc/self/fd")


class FoundSocket:
    """A descriptor and its inode, by which a descriptor that was used anew is told from it."""

    __slots__ = ("_descriptor", "inode")

    def __init__(self, descriptor: int, inode: int) -> None:
        self._descriptor = descriptor
        self.inode = inode

    def shutdown(self) -> None:
        """End whatever waits on the socket; nothing if it is closed already."""
        with contextlib.suppress(OSError):
            duplicate = socket.socket(fileno=os.dup(self._descriptor))
            with duplicate:
                if os.fstat(duplicate.fileno()).st_ino == self.inode:
                    duplicate.shutdown(socket.SHUT_RDWR)


class SocketFinder:
    """Finds the one socket that a connect made to `peer`.

    peer: a port of TCP, or the path of a Unix socket. one_at_a_time: let no two connects overlap,
    so that the socket is always found; without it overlapping ones go unfound.
    """

    def __init__(self, peer: int | str, *, one_at_a_time: bool) -> None:
        self._peer = peer
        self._turn = threading.Lock() if one_at_a_time else contextlib.nullcontext()

    def connect(self, make: Callable[[], T]) -> tuple[T, FoundSocket | None]:
        """What `make()` gives, and the socket it opened."""
        with self._turn:
            before = self._to_peer()
            made = make()
            new = [(d, i) for i, d in self._to_peer().items() if i not in before]
        return made, FoundSocket(*new[0]) if len(new) == 1 else None

    def _to_peer(self) -> dict[int, int]:
        """Descriptors of sockets connected to the peer, by inode."""
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(_FDS):
                with contextlib.suppress(OSError):
                    if os.readlink(_FDS / name).startswith("socket:"):
                        descriptor = int(name)
                        if self._is_to_peer(descriptor):
                            found[os.fstat(descriptor).st_ino] = descriptor
        return found

    def _is_to_peer(self, descriptor: int) -> bool:
        with socket.socket(fileno=os.dup(descriptor)) as duplicate:
            name = duplicate.getpeername()
        if isinstance(name, tuple):
            return name[1] == self._peer
        return name == self._peer
