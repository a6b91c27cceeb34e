"""Whether gunicorn's sockets can be reached by those whom no choice of AUTH has let in."""

from collections.abc import Iterable
from typing import Any

from authentication.exposure import is_local, refusal
from settings import Settings


def refusal_to_listen(listeners: Iterable[Any], settings: Settings) -> str | None:
    """Why the server must not start on these sockets, in one sentence; None where it may.

    The sockets are asked, not the settings: they may be inherited (fd://, systemd).
    """
    if settings.auth is not None:
        return None
    for listener in listeners:
        address = listener.getsockname()
        if not is_local(address):
            return refusal(f"{address[0]}:{address[1]}")
    return None
