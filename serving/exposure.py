"""Refuses to listen on sockets that others can reach while AUTH is not set."""

from collections.abc import Iterable
from typing import Any

from authentication.exposure import is_local, is_open_to_all, refusal
from settings import Settings


def refusal_to_listen(listeners: Iterable[Any], settings: Settings) -> str | None:
    """The reason why the server must not start on these sockets, in one sentence, or None.

    Checks the sockets and not the settings, because sockets may be inherited (fd://, systemd).
    """
    if settings.auth is not None:
        return None
    for listener in listeners:
        address = listener.getsockname()
        if isinstance(address, (str, bytes)):
            # The address of an abstract Unix socket is bytes; it has no file and no mode.
            if isinstance(address, bytes) or is_open_to_all(address):
                return (
                    f"AUTH is not set, and every account of this machine may use the socket"
                    f" {address!r}: start with --umask 007, or set AUTH."
                )
        elif not is_local(address):
            return refusal(f"{address[0]}:{address[1]}")
    return None
