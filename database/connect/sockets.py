"""The sockets of an ODBC connection, shut down as the last resort against a frozen network.

A cancel cannot end a driver's recv() if the network drops it, and psqlodbc has no timeout. Shutting
the socket down ends the recv() at once (shutdown(2)). Drivers do not expose their descriptors, so
the socket is found among those of the process (Linux, /proc/self/fd).
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
# These tags take effect as socket options, so their values must be reasonable. TCP_USER_TIMEOUT, in
# milliseconds: an unacknowledged send fails after 30 to 60 s.
_USER_TIMEOUTS = range(30_000, 60_000)
# TCP_KEEPIDLE and TCP_KEEPINTVL, in seconds. The driver's defaults are 30 and 1; the idle time
# stays below the four minutes after which Azure's load balancers drop a connection.
_KEEP_IDLE, _KEEP_INTERVAL = range(30, 130), range(1, 11)
_tags = itertools.count()


class TaggedSockets:
    """The TCP sockets of one connection, identified by the values of socket options.

    The driver sets the options on every socket that it opens for the connection, before it sends
    anything: also on the second one after a redirect (Azure SQL, to ports 11000 to 11999), and
    libpq on the socket of its cancel. keywords: the connection string keywords that set the
    options. No two open connections share a tag.
    """

    def __init__(self, options: Mapping[int, int], keywords: Mapping[str, str]) -> None:
        self._options = dict(options)
        self.keywords = keywords

    @classmethod
    def of_libpq(cls, other_options: str = "") -> "TaggedSockets":
        """For psqlodbc. other_options: the PQOPT to which the tag is added."""
        tag = _USER_TIMEOUTS[next(_tags) % len(_USER_TIMEOUTS)]
        option = f"{other_options} tcp_user_timeout={tag}".strip()
        return cls({socket.TCP_USER_TIMEOUT: tag}, {"PQOPT": option})

    @classmethod
    def of_microsoft(cls) -> "TaggedSockets":
        """For Microsoft's driver 17.8 or later; older ones ignore the keywords."""
        tags = len(_KEEP_IDLE) * len(_KEEP_INTERVAL)
        with _tagging:
            for number in _tags:
                interval, idle = divmod(number % tags, len(_KEEP_IDLE))
                tag = _KEEP_IDLE[idle], _KEEP_INTERVAL[interval]
                if tag not in _open_tags or len(_open_tags) >= tags:
                    break
            made = cls(
                {socket.TCP_KEEPIDLE: tag[0], socket.TCP_KEEPINTVL: tag[1]},
                {"KeepAlive": str(tag[0]), "KeepAliveInterval": str(tag[1])},
            )
            _open_tags[tag] = made
            return made

    def connect(self, make: Callable[[], T]) -> T:
        return make()

    def shutdown(self) -> None:
        """Shut down those that are open, which ends any wait on them."""
        for duplicate in _sockets():
            with contextlib.suppress(OSError):
                if all(
                    duplicate.getsockopt(socket.IPPROTO_TCP, option) == value
                    for option, value in self._options.items()
                ):
                    duplicate.shutdown(socket.SHUT_RDWR)


_tagging = threading.Lock()
_open_tags: "weakref.WeakValueDictionary[tuple[int, int], TaggedSockets]" = (
    weakref.WeakValueDictionary()
)


class SocketFinder:
    """Finds the socket that a connect to `peer` opens, by comparing before and after.

    peer: a TCP port, or the path of a Unix socket. one_at_a_time: serialize the connects, so that
    the socket is always found; otherwise it is not found if two connects overlap.
    """

    def __init__(self, peer: int | str, *, one_at_a_time: bool) -> None:
        self._peer = peer
        self._turn = threading.Lock() if one_at_a_time else contextlib.nullcontext()

    def find(self, make: Callable[[], T]) -> tuple[T, int | None]:
        """The result of `make()`, and the inode of the socket it opened, None if not found."""
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
    """The socket of one connection, found while connecting; shutdown() needs it."""

    def __init__(self, finder: SocketFinder) -> None:
        self._finder = finder
        self._inode: int | None = None

    def connect(self, make: Callable[[], T]) -> T:
        made, self._inode = self._finder.find(make)
        return made

    def shutdown(self) -> None:
        """Shut it down, which ends any wait on it; no effect if it is closed or was not found."""
        for duplicate in _sockets():
            with contextlib.suppress(OSError):
                if os.fstat(duplicate.fileno()).st_ino == self._inode:
                    duplicate.shutdown(socket.SHUT_RDWR)


def _sockets() -> Iterator[socket.socket]:
    """A duplicate of each socket of this process, closed when the next one is requested."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(_FDS):
            with contextlib.suppress(OSError):
                if os.readlink(_FDS / name).startswith("socket:"):
                    with socket.socket(fileno=os.dup(int(name))) as duplicate:
                        yield duplicate
