"""Checks whether a server, a request's peer or a proxy's client is on this machine."""

import functools
import ipaddress
import os
import re
import stat

from authentication.principal import RequestHeaders

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LOCAL_NAMES = ("localhost", "ip6-localhost")
# Headers in which a proxy sends its client's address. RFC 7239 has one of its own: name=value
# pairs, of which `for` is the client.
FORWARDED_ADDRESSES = ("X-Forwarded-For", "X-Real-IP")
_FORWARDED_FOR = re.compile(r'(?:^|[;,])\s*for\s*=\s*("(?:[^"\\]|\\.)*"|[^;,\s]*)', re.IGNORECASE)
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d*)?|([0-9.]+):\d*")


@functools.lru_cache(maxsize=1024)
def address_of(text: str) -> Address | None:
    """The IP address in `text`, which may have brackets, a port and a zone; None if invalid.

    An IPv4 address mapped into IPv6 becomes the IPv4 address.
    """
    text = text.strip()
    matched = _WITH_PORT.fullmatch(text)
    if matched is not None:
        text = matched[1] or matched[2] or ""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


@functools.lru_cache(maxsize=1024)
def is_loopback(text: str) -> bool:
    """Whether `text` is a loopback address; names and paths are not."""
    found = address_of(text)
    return found is not None and found.is_loopback


def is_local(address: object) -> bool:
    """Whether a server on `address` is reachable from this machine only.

    address: a host, (host, port, …), or the path of a Unix socket, which must not be open to every
    account.
    """
    if isinstance(address, (tuple, list)):
        return is_local(address[0])
    if isinstance(address, bytes):
        return False  # an abstract Unix socket of Linux, which has no file mode
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
    """Whether REMOTE_ADDR is this machine; it is empty for a Unix socket."""
    return not address or is_loopback(address)


def remote_client_header(headers: RequestHeaders) -> str | None:
    """The header that shows that a proxy's client is not on this machine; None without one.

    A proxy that adds only Via does not name its client, which then counts as remote.
    """
    named = False
    for name in FORWARDED_ADDRESSES:
        given = headers.get(name)
        if given is not None:
            named = True
            if not all(map(is_loopback, given.split(","))):
                return name
    forwarded = headers.get("Forwarded")
    if forwarded is not None:
        clients = [found.strip('"') for found in _FORWARDED_FOR.findall(forwarded)]
        if not clients or not all(map(is_loopback, clients)):
            return "Forwarded"
        named = True
    return "Via" if not named and "Via" in headers else None


def refusal(place: object) -> str:
    """The sentence with which a server, or a request to it, is refused; place: where from."""
    return (
        f"AUTH is not set, and the server would be reachable from beyond this machine ({place}):"
        " set AUTH=keys, oidc or easyauth, or AUTH=none to open it to all clients."
    )
