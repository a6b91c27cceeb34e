"""An access token, the interface of its sources, and the simplest source.

Source: ODBC Driver for SQL Server, "Using Microsoft Entra ID: authenticating with an access
token".
"""

import hashlib
import math
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone

from database.connect.credentials import jwt_claims, unquote


class TokenUnavailable(Exception):
    """No valid access token is available; `__cause__` is the credential's error."""


def pack(token: str) -> bytes:
    """The value of ODBC attribute 1256 (SQL_COPT_SS_ACCESS_TOKEN), the driver's ACCESSTOKEN
    struct: the length in bytes (int32, native order), then UTF-16-LE.

    Raises ValueError for an empty or blank token, which the driver would send unchecked.
    """
    if not token.strip():
        raise ValueError("An access token must not be empty.")
    encoded = token.encode("utf-16-le")
    return struct.pack("=i", len(encoded)) + encoded


# Connections are retired this many seconds before their token expires, so that a request that has
# just checked one out ends with a valid token.
EXPIRY_MARGIN = 60.0


@dataclass(frozen=True)
class AccessToken:
    """A bearer token. `expires_on` is in epoch seconds, None if unknown."""

    value: str = field(repr=False)
    expires_on: float | None = None

    def valid_at(self, now: float) -> bool:
        return self.expires_on is None or now < self.expires_on

    def connection_lifetime(self, now: float) -> float:
        """Seconds for which a connection made with this token may be checked out."""
        if self.expires_on is None:
            return math.inf
        return max(0.0, self.expires_on - EXPIRY_MARGIN - now)

    def expiry(self) -> str:
        """The time of expiry in UTC, for log lines and messages."""
        if self.expires_on is None:
            return "at an unknown time"
        moment = datetime.fromtimestamp(self.expires_on, timezone.utc)
        return moment.isoformat(timespec="seconds")

    def digest(self) -> bytes:
        """Identifies the token without revealing it (SHA-256)."""
        return hashlib.sha256(self.value.encode()).digest()


class TokenSource:
    """The source of one database's access tokens. Thread-safe, usable after a fork."""

    def get(self, *, timeout: float = 30.0) -> AccessToken:
        """A valid token, waiting at most `timeout` seconds. Raises TokenUnavailable."""
        raise NotImplementedError

    def reject(self, token: AccessToken) -> None:
        """The server refused `token`: the next get() requests another, once per distinct token."""

    def on_attempt(self, callback: Callable[[Exception | None], None]) -> None:
        """Call `callback(failure)` after each request to a credential, on the requesting thread;
        failure is None after a success."""

    def describe(self) -> dict[str, object]:
        """{"credential", "audience", "expires_on"}, without requesting a token."""
        raise NotImplementedError

    def close(self) -> None:
        """Make every later get() fail. Safe to call twice."""


class StaticToken(TokenSource):
    """The token in the setting TOKEN, never renewed. Raises ValueError for a malformed one."""

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

    def describe(self) -> dict[str, object]:
        token = self._token
        return {"credential": "TOKEN", "audience": self._audience, "expires_on": token.expires_on}
