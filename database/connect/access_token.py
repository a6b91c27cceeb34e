"""An access token, what a source of them promises, and the simplest source.

Source: ODBC Driver for SQL Server, "Using Microsoft Entra ID: authenticating with an access
token".
"""

import hashlib
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone

from database.connect.credentials import jwt_claims, unquote


class TokenUnavailable(Exception):
    """No valid access token can be had now; the credential's own error is the cause."""


def pack(token: str) -> bytes:
    """The value of ODBC attribute 1256 (SQL_COPT_SS_ACCESS_TOKEN), the driver's ACCESSTOKEN
    struct: the length in bytes (int32, native order), then UTF-16-LE.

    Raises ValueError for an empty or blank token, which the driver would send unchecked.
    """
    if not token.strip():
        raise ValueError("An access token must not be empty.")
    encoded = token.encode("utf-16-le")
    return struct.pack("=i", len(encoded)) + encoded


@dataclass(frozen=True)
class AccessToken:
    """A bearer token. `expires_on` is in epoch seconds, None if unknown; `generation` counts
    the distinct tokens of one source from 1, so a lower number means an older token.
    """

    value: str = field(repr=False)
    expires_on: float | None = None
    generation: int = 1

    def valid_at(self, now: float) -> bool:
        return self.expires_on is None or now < self.expires_on

    def expiry(self) -> str:
        """When it expires, in UTC, for people."""
        if self.expires_on is None:
            return "at an unknown time"
        moment = datetime.fromtimestamp(self.expires_on, timezone.utc)
        return moment.isoformat(timespec="seconds")

    def digest(self) -> bytes:
        """Tells tokens apart without keeping them (SHA-256)."""
        return hashlib.sha256(self.value.encode()).digest()


class TokenSource:
    """What one database asks for its tokens. Thread-safe, usable after a fork."""

    generation = 0

    def get(self, *, timeout: float = 30.0) -> AccessToken:
        """A valid token, waiting at most `timeout` seconds. Raises TokenUnavailable."""
        raise NotImplementedError

    def reject(self, token: AccessToken) -> None:
        """The server refused `token`: the next get() asks anew, once per distinct token."""

    def on_refresh(self, callback: Callable[[int], None]) -> None:
        """Have `callback(generation)` called on the refreshing thread, after each token that
        replaces an older one."""

    def on_attempt(self, callback: Callable[[Exception | None], None]) -> None:
        """Have `callback(failure)` called after each time a credential was asked, on the thread
        that asked; failure is None where there was none."""

    def describe(self) -> dict:
        """{"credential", "audience", "expires_on"}: what is known without asking for a token."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop refreshing; get() fails from now on. May be called twice."""


class StaticToken(TokenSource):
    """A token given by hand; nothing can renew it. Raises ValueError if it cannot be one."""

    generation = 1

    def __init__(self, text: str, *, clock: Callable[[], float] = time.time) -> None:
        value = unquote(text)
        if not value or any(character.isspace() for character in value):
            raise ValueError("TOKEN must be one access token, without spaces or line breaks.")
        claims = jwt_claims(value)
        exp = claims.get("exp")
        self._token = AccessToken(value, exp if isinstance(exp, int | float) else None)
        self._audience = str(claims.get("aud", "unknown"))
        self._clock = clock

    def get(self, *, timeout: float = 30.0) -> AccessToken:
        if not self._token.valid_at(self._clock()):
            raise TokenUnavailable(f"The token in TOKEN expired {self._token.expiry()}.")
        return self._token

    def describe(self) -> dict:
        token = self._token
        return {"credential": "TOKEN", "audience": self._audience, "expires_on": token.expires_on}
