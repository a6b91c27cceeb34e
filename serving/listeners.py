"""Stops new connections on a listening socket, while those in its queue can still be served.

Closing a listening socket resets each connection that the kernel has accepted and the server has
not. So before the server closes it, a filter drops the packets that begin new connections (SYN). A
client repeats the packet after a second, and its connection is refused, because the socket is
closed by then.
Source: Linux, Documentation/networking/filter.rst.
"""

import contextlib
import ctypes
import socket
import struct

# From asm-generic/socket.h; the socket module lacks it.
SO_ATTACH_FILTER = 26
_FLAGS_OFFSET, _SYN = 13, 0x02
# Load the byte with the flags; if SYN is set, keep 0 bytes of the packet, else all.
_FILTER = (
    (0x30, 0, 0, _FLAGS_OFFSET),
    (0x45, 0, 1, _SYN),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xFFFFFFFF),
)


def refuse_new_connections(listener: socket.socket) -> None:
    """Drop new connections, for every process that has this socket.

    Does nothing on Unix sockets and on systems other than Linux.
    """
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _FILTER)
    memory = ctypes.create_string_buffer(program)
    # struct sock_fprog: the number of instructions, and where they are
    described = struct.pack("HP", len(_FILTER), ctypes.addressof(memory))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
