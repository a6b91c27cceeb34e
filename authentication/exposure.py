"""Whether a server, a request's peer, or a client behind a proxy is on this machine."""

import functools
import ipaddress
import os
import re
import stat
from collections.abc import Mapping

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LOCAL_NAMES = ("localhost", "ip6-localhost")
# What a proxy says of its client; the second form is RFC 7239's, a list of name=value pairs.
FORWARDED_ADDRESSES = ("X-Forwarded-For", "X-Real-IP")
_FORWARDED_FOR = re.compile(r'(?:^|[;,])\s*for\s*=\s*("(?:[^"\\]|\\.)*"|[^;,\s]*)', re.IGNORECASE)
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d*)?|([0-9.]+):\d*")


@functools.lru_cache(maxsize=1024)
def address_of(text: str) -> Address | None:
    """The IP address that `text` spells, with or without brackets, port and zone; an IPv4 address
    inside of an IPv6 one is that IPv4 address. None if it spells none."""
    text = text.strip()
    matched = _WITH_PORT.fullmatch(text)
    if matched is not None:
        text = matched[1] or matched[2] or ""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def is_loopback(text: str) -> bool:
    """Whether `text` spells a loopback address; a path or a name spells none."""
    found = address_of(text)
    return found is not None and found.is_loopback


def is_local(address: object) -> bool:
    """Whether only this machine reaches a server on `address`: a host, (host, port, …), or the
    path of a Unix socket that is not open to every account."""
    if isinstance(address, (tuple, list)):
        return is_local(address[0])
    if isinstance(address, bytes):
        return False  # Linux's abstract Unix sockets have no mode
    host = str(address)
    if "/" in host or not host:
        return not is_open_to_all(host.removeprefix("unix:"))
    return host.strip("[]").lower() in LOCAL_NAMES or is_loopback(host)


def is_open_to_all(path: str) -> bool:
    """Whether every account of this machine may connect to the Unix socket at `path`."""
    try:
        return bool(os.stat(path).st_mode & stat.S_IWOTH)
    except OSError:
        return False  # not bound yet


def is_local_peer(address: str) -> bool:
    """Whether a request's REMOTE_ADDR is this machine. A Unix socket has an empty one."""
    return not address or is_loopback(address)


def forwarded_stranger(headers: Mapping[str, str]) -> str | None:
    """The header by which a proxy says that its client is not on this machine; None without one.

    A proxy that adds Via alone says nothing of its client, which then counts as a stranger.
    """
    said = False
    for name in FORWARDED_ADDRESSES:
        given = headers.get(name)
        if given is not None:
            said = True
            if not all(map(is_loopback, given.split(","))):
                return name
    forwarded = headers.get("Forwarded")
    if forwarded is not None:
        clients = [found.strip('"') for found in _FORWARDED_FOR.findall(forwarded)]
        if not clients or not all(map(is_loopback, clients)):
            return "Forwarded"
        said = True
    return "Via" if not said and "Via" in headers else None


def refusal(place: object) -> str:
    """The sentence with which a server refuses to start."""
    return (
        f"AUTH is not set, and the server would be reachable from beyond this machine ({place}):"
        " set AUTH=keys, oidc or easyauth, or AUTH=none to let everybody in."
    )
