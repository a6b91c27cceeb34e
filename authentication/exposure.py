"""Whether a server can be reached from beyond this machine, which wants a choice of AUTH."""

import functools
import ipaddress

LOCAL_NAMES = ("localhost", "ip6-localhost")


@functools.lru_cache(maxsize=1024)
def is_local(address: object) -> bool:
    """Whether only this machine reaches `address`: a host, (host, port, …) or a socket's path."""
    if isinstance(address, bytes):
        return True  # Linux's abstract Unix sockets
    host = address[0] if isinstance(address, (tuple, list)) else str(address)
    if isinstance(address, str) and ("/" in host or not host):
        return True  # a Unix socket, bound or without a name
    host = host.strip("[]")
    if host.lower() in LOCAL_NAMES:
        return True
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def refusal(place: object) -> str:
    """The sentence with which a server refuses to start."""
    return (
        f"AUTH is not set, and the server would be reachable from beyond this machine ({place}):"
        " set AUTH=keys, oidc or easyauth, or AUTH=none to let everybody in."
    )
