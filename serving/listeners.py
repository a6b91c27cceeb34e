"""Takes no new connection on a listening socket, while those in its queue can still be served.

Closing a listening socket resets every connection that the kernel has accepted and the server has
not yet. So before a server closes it, a filter drops the packets that would begin new connections
(SYN); a client sends them again after a second and is then refused, as by a server that is gone.
Source: Linux, Documentation/networking/filter.rst.
"""

import contextlib
import ctypes
import socket
import struct

# asm-generic/socket.h; the socket module does not name it.
SO_ATTACH_FILTER = 26
_FLAGS_OFFSET, _SYN = 13, 0x02
# load the byte of the flags; if SYN is set, keep 0 bytes of the packet, else all
_FILTER = (
    (0x30, 0, 0, _FLAGS_OFFSET),
    (0x45, 0, 1, _SYN),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xFFFFFFFF),
)


def refuse_new_connections(listener: socket.socket) -> None:
    """Begin to refuse, for every process that has this socket. Does nothing where it can't be:
    on a Unix socket and on systems other than Linux."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _FILTER)
    memory = ctypes.create_string_buffer(program)
    # struct sock_fprog: the number of instructions, and where they are
    described = struct.pack("HP", len(_FILTER), ctypes.addressof(memory))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
