"""Whether gunicorn's sockets can be reached by those whom no choice of AUTH has let in."""

from collections.abc import Iterable
from typing import Any

from authentication.exposure import is_local, is_open_to_all, refusal
from settings import Settings


def refusal_to_listen(listeners: Iterable[Any], settings: Settings) -> str | None:
    """Why the server must not start on these sockets, in one sentence; None where it may.

    The sockets are asked, not the settings: they may be inherited (fd://, systemd).
    """
    if settings.auth is not None:
        return None
    for listener in listeners:
        address = listener.getsockname()
        if isinstance(address, (str, bytes)):
            # An abstract Unix socket, of which the address is bytes, has no file and no mode.
            if isinstance(address, bytes) or is_open_to_all(address):
                return (
                    f"AUTH is not set, and every account of this machine may use the socket"
                    f" {address!r}: start with --umask 007, or set AUTH."
                )
        elif not is_local(address):
            return refusal(f"{address[0]}:{address[1]}")
    return None
