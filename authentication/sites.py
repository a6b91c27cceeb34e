"""Which web sites may have a browser send requests: hosts, origins, and cross-site requests.

A browser sends along what it has, a cookie or its place on this machine, for every page that asks
it to. Fetch Metadata (Sec-Fetch-*) and Origin say which page that was; no page can change them.
"""

import functools
import ipaddress
import re
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from authentication.exposure import LOCAL_NAMES, is_loopback

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
ANY = "*"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_LONGEST_SHOWN = 100
_NEVER_IN_ORIGINS = re.compile(r"[^A-Za-z0-9.:/\[\]_-]")


def normal_origin(text: str) -> str:
    """An origin as browsers spell it: in lower case, without a default port, IPv6 shortened.

    Raises ValueError for what is no origin of http or https.
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
    """Whether a Host header is a name or address of this machine alone, with whatever port."""
    name, colon, port = host.lower().rpartition(":")
    if not (colon and port.isdecimal()):
        name = host.lower()
    name = name.removesuffix(".")
    if name.startswith("["):
        return name.endswith("]") and is_loopback(name)
    return name in LOCAL_NAMES or name.endswith(".localhost") or is_loopback(name)


def refused_host(headers: Mapping[str, str]) -> str | None:
    """Why a server for this machine alone does not answer to this Host; None where it does.

    A name that others own can be made to resolve to this machine (DNS rebinding): the browser
    then takes their page and this API for one site.
    """
    host = headers.get("Host")
    if host is None or is_local_host(host):
        return None
    return (
        f"AUTH is not set, so that only requests to this machine's own names are answered, and"
        f" Host is {_shown(host)}. Use localhost or 127.0.0.1, or set AUTH."
    )


def refused_site(
    method: str, headers: Mapping[str, str], origins: Collection[str], *, reads: bool
) -> str | None:
    """Why a request from another site's page is refused; None for one that may pass.

    origins: those whose pages may call, as normal_origin() gives them; * admits none here. reads:
    whether requests by safe methods are refused too; a link that is followed to here passes, for
    its page sees nothing of the answer.
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
        f"A page of {page} may not have a browser send this request."
        " If it may, name the page's origin in CORS_ORIGINS; * does not admit it here."
    )


def _follows_a_link(headers: Mapping[str, str]) -> bool:
    # A frame or an embedded object navigates too, but its destination is no document.
    mode, destination = headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")
    return (mode, destination) == ("navigate", "document")


def _host_of(origin: str) -> str | None:
    return origin.lower().partition("://")[2] or None


def _shown(text: str) -> str:
    return repr(_NEVER_IN_ORIGINS.sub("?", text[:_LONGEST_SHOWN]))
