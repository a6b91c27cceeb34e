"""Protection against other web sites: DNS rebinding and cross-site requests.

A browser attaches cookies, and its access to this machine, to the requests of any page. The headers
Sec-Fetch-* (Fetch Metadata) and Origin identify that page, and a page can't change them.
"""

import functools
import ipaddress
import re
from collections.abc import Collection
from urllib.parse import urlsplit

from authentication.exposure import LOCAL_NAMES, is_loopback
from authentication.principal import RequestHeaders

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
ANY = "*"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_LONGEST_SHOWN = 100
_NEVER_IN_ORIGINS = re.compile(r"[^A-Za-z0-9.:/\[\]_-]")


def normal_origin(text: str) -> str:
    """An origin as browsers spell it: in lower case, without a default port, IPv6 shortened.

    Raises ValueError for anything but an origin of http or https.
    """
    parts = urlsplit(text.lower())
    host, port = parts.hostname or "", parts.port
    if parts.scheme not in _DEFAULT_PORTS or parts.netloc.endswith(":"):
        raise ValueError(text)
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc or text[-1] in "?#":
        raise ValueError(text)
    if "[" in parts.netloc:
        host = f"[{ipaddress.IPv6Address(host)}]"
    elif not _NAME.fullmatch(host):
        raise ValueError(text)
    default = port is None or port == _DEFAULT_PORTS[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if default else f":{port}")


@functools.lru_cache(maxsize=256)
def is_local_host(host: str) -> bool:
    """Whether a Host header is a loopback name or address, with any port."""
    name, colon, port = host.lower().rpartition(":")
    if not (colon and port.isdecimal()):
        name = host.lower()
    name = name.removesuffix(".")
    if name.startswith("["):
        return name.endswith("]") and is_loopback(name)
    return name in LOCAL_NAMES or name.endswith(".localhost") or is_loopback(name)


def refused_host(headers: RequestHeaders) -> str | None:
    """Why a server without AUTH refuses this Host; None if it is a loopback name or address.

    The owner of a domain can make it resolve to this machine (DNS rebinding); a browser then treats
    the owner's page and this API as one site.
    """
    host = headers.get("Host")
    if host is None or is_local_host(host):
        return None
    return (
        f"AUTH is not set, so only requests to a loopback name are accepted, but Host is"
        f" {_shown(host)}. Use localhost or 127.0.0.1, or set AUTH."
    )


def refused_site(
    method: str, headers: RequestHeaders, origins: Collection[str], *, reads: bool
) -> str | None:
    """Why a request from another site's page is refused; None if it is allowed.

    origins: the allowed ones, as normal_origin() returns them; * allows none here. reads: whether
    safe methods are refused too; following a link is allowed, because the page that contains the
    link can't read the response.
    """
    if method in SAFE_METHODS and not (reads and method != "OPTIONS"):
        return None
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    if site in ("same-origin", "none"):
        return None
    if origin in origins and origin != ANY:
        return None
    if site is None and (origin is None or _host_of(origin) == headers.get("Host", "").lower()):
        return None
    if method in SAFE_METHODS and _follows_a_link(headers):
        return None
    page = "another site" if origin is None else _shown(origin)
    return (
        f"A page of {page} caused this request, which is not allowed."
        " To allow it, add the page's origin to CORS_ORIGINS; * has no effect here."
    )


def _follows_a_link(headers: RequestHeaders) -> bool:
    # Frames and embedded objects navigate too, but their destination is not "document".
    mode, destination = headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")
    return (mode, destination) == ("navigate", "document")


def _host_of(origin: str) -> str | None:
    return origin.lower().partition("://")[2] or None


def _shown(text: str) -> str:
    return repr(_NEVER_IN_ORIGINS.sub("?", text[:_LONGEST_SHOWN]))
