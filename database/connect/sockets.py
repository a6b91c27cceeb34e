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
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_FDS = Path("/proc/self/fd")
# The values that tag a connection are in force as well. TCP_USER_TIMEOUT, in milliseconds: an
# unacknowledged send ends after 30 to 60 s.
_USER_TIMEOUTS = range(30_000, 60_000)
# TCP_KEEPIDLE and TCP_KEEPINTVL, in seconds. The driver's defaults are 30 and 1; the idle time
# stays below the four minutes after which Azure's load balancers forget a connection.
_KEEP_IDLE, _KEEP_INTERVAL = range(30, 130), range(1, 11)
_tags = itertools.count()


class TaggedSockets:
    """The TCP sockets of one connection, recognised by the values of socket options.

    The driver sets the options on every socket that it opens for the connection, before anything
    is sent: also on the second one after a redirect (Azure SQL, to ports 11000 to 11999), and
    libpq on the socket of its cancel. keywords: what makes the driver do so, for the connection
    string. No two living connections share a tag.
    """

    def __init__(self, options: Mapping[int, int], keywords: Mapping[str, str]) -> None:
        self._options = dict(options)
        self.keywords = keywords

    @classmethod
    def of_libpq(cls, other_options: str = "") -> "TaggedSockets":
        """For psqlodbc. other_options: the PQOPT that the tag is added to."""
        tag = _USER_TIMEOUTS[next(_tags) % len(_USER_TIMEOUTS)]
        option = f"{other_options} tcp_user_timeout={tag}".strip()
        return cls({socket.TCP_USER_TIMEOUT: tag}, {"PQOPT": option})

    @classmethod
    def of_microsoft(cls) -> "TaggedSockets":
        """For Microsoft's driver, from 17.8 on; an older one ignores the keywords."""
        with _tagging:
            for number in _tags:
                interval, idle = divmod(number % (len(_KEEP_IDLE) * len(_KEEP_INTERVAL)), 100)
                tag = _KEEP_IDLE[idle], _KEEP_INTERVAL[interval]
                if tag not in _living or len(_living) >= len(_KEEP_IDLE) * len(_KEEP_INTERVAL):
                    break
            made = cls(
                {socket.TCP_KEEPIDLE: tag[0], socket.TCP_KEEPINTVL: tag[1]},
                {"KeepAlive": str(tag[0]), "KeepAliveInterval": str(tag[1])},
            )
            _living[tag] = made
            return made

    def connect(self, make: Callable[[], T]) -> T:
        return make()

    def shutdown(self) -> None:
        """End whatever waits on one of them; nothing if all are closed."""
        for duplicate in _sockets():
            with contextlib.suppress(OSError):
                if all(
                    duplicate.getsockopt(socket.IPPROTO_TCP, option) == value
                    for option, value in self._options.items()
                ):
                    duplicate.shutdown(socket.SHUT_RDWR)


_tagging = threading.Lock()
_living: "weakref.WeakValueDictionary[tuple[int, int], TaggedSockets]" = (
    weakref.WeakValueDictionary()
)


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
