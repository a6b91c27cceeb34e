"""The JSON documents of an OpenID Connect issuer: its discovery document and its keys."""

import functools
import http.client
import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 3.0
MAX_BYTES = 512 * 1024
CHUNK_BYTES = 64 * 1024
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


class Unreadable(Exception):
    """A document could not be fetched or is unusable; the message is for logs."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, because they lead to addresses outside the configuration."""

    def redirect_request(self, *_: Any) -> None:
        return None


def is_safe(url: str) -> bool:
    """Whether documents from `url` can't be altered in transit: https, or this machine."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL_HOSTS)
        )
    except ValueError:
        return False


def get_document(url: str) -> dict[str, Any]:
    """The JSON object at `url`, of at most MAX_BYTES, within TIMEOUT_SECONDS. Raises Unreadable."""
    if not is_safe(url):
        raise Unreadable("the address is not https")
    ends = time.monotonic() + TIMEOUT_SECONDS
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        request = urllib.request.Request(url, headers={"Accept": "application/json"})
        with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            text = b""
            while chunk := response.read1(CHUNK_BYTES):
                text += chunk
                if len(text) > MAX_BYTES:
                    raise Unreadable("the document is too long")
                if time.monotonic() > ends:
                    raise Unreadable("the document took too long")
        document = json.loads(text)
    except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
        raise Unreadable(type(error).__name__) from error
    if not isinstance(document, dict):
        raise Unreadable("the document is not a JSON object")
    return document


def key_source(*, issuer: str, jwks_url: str = "") -> Callable[[], dict[str, Any]]:
    """A function that fetches the JWKS: from `jwks_url`, else from the discovered address."""
    if jwks_url:
        return functools.partial(get_document, jwks_url)
    return functools.partial(_discovered, issuer)


def _discovered(issuer: str) -> dict[str, Any]:
    document = get_document(issuer.rstrip("/") + "/.well-known/openid-configuration")
    # Required by OpenID Connect Discovery 1.0, 4.3.
    if document.get("issuer") != issuer:
        raise Unreadable("the discovery document is of another issuer")
    return get_document(str(document.get("jwks_uri")))
