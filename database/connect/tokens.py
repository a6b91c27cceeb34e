"""Access tokens for Azure SQL and Synapse, from azure-identity and its cache."""

import contextlib
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, TimeoutError
from functools import partial

from database.connect.access_token import (
    AccessToken,
    StaticToken,
    TokenSource,
    TokenUnavailable,
    pack,
)
from database.connect.credentials import (
    AUDIENCE,
    AppService2017Credential,
    Credential,
    cloud_of,
    default_credential,
    name_of,
    unquote,
)

__all__ = [
    "AUDIENCE",
    "AccessToken",
    "CredentialToken",
    "StaticToken",
    "TokenSource",
    "TokenUnavailable",
    "from_environment",
    "pack",
]

# Seconds between two requests for a successor while the current token is still valid.
RENEWAL_INTERVAL = 30.0

log = logging.getLogger(__name__)


class CredentialToken(TokenSource):
    """Tokens of an azure-identity credential, which `make_credential` creates at the first get().

    The credential caches and refreshes; this class adds what a pool needs: a get() that returns
    within its timeout, one request in flight however many threads wait, and a way past the
    credential's cache for a token that the server rejected. The token in hand is served during a
    request for its successor, which starts with the first get() after half of its lifetime.
    """

    def __init__(
        self,
        make_credential: Callable[[], Credential],
        *,
        name: str,
        audience: str = AUDIENCE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._make_credential, self._name, self._audience = make_credential, name, audience
        self._clock = clock
        self._attempt_callbacks: list[Callable[[Exception | None], None]] = []
        self._token: AccessToken | None = None
        self._renew_at = 0.0  # when to request the successor of a token that is still valid
        self._rejected: deque[bytes] = deque(maxlen=64)
        self._closed = False
        self._reset()
        _sources.add(self)

    def _reset(self) -> None:
        """State of this process alone: a forked child has none of its parent's threads, and must
        not use the sockets of its credential."""
        self._lock = threading.Lock()
        self._request: Future[AccessToken] | None = None
        self._credential: Credential | None = None

    def get(self, *, timeout: float = 30.0) -> AccessToken:
        with self._lock:
            if self._closed:
                raise TokenUnavailable("The token source is closed.")
            now = self._clock()
            token = self._token if self._token and self._token.valid_at(now) else None
            if token is not None and now < self._renew_at:
                return token
            request = self._request
            if request is None:
                request = self._request = Future()
                threading.Thread(
                    target=self._run, args=(request,), name="token-request", daemon=True
                ).start()
        if token is not None:
            return token
        missing = f"{self._name} gave no access token for {self._audience}"
        try:
            error = request.exception(timeout)
        except CancelledError:
            raise TokenUnavailable("The token source is closed.") from None
        except TimeoutError:
            raise TokenUnavailable(f"{missing} within {timeout:g} s.") from None
        if error is not None:
            raise TokenUnavailable(f"{missing} ({type(error).__name__}).") from error
        return request.result()

    def reject(self, token: AccessToken) -> None:
        with self._lock:
            is_current = self._token is not None and self._token.value == token.value
            if is_current and token.digest() not in self._rejected:
                self._rejected.append(token.digest())
                self._token = None

    def on_attempt(self, callback: Callable[[Exception | None], None]) -> None:
        self._attempt_callbacks.append(callback)

    def describe(self) -> dict[str, object]:
        expires_on = self._token.expires_on if self._token else None
        return {"credential": self._name, "audience": self._audience, "expires_on": expires_on}

    def close(self) -> None:
        with self._lock:
            self._closed, self._token = True, None
            # The request of a hanging endpoint must not delay the shutdown.
            if self._request is not None:
                self._request.cancel()
        self._drop_credential()

    def _run(self, request: "Future[AccessToken]") -> None:
        """Request one token, in a thread of its own."""
        result = self._fetch()
        with self._lock:
            rejected = isinstance(result, AccessToken) and result.digest() in self._rejected
        if rejected:
            # The credential answered from its cache; a new one has nothing cached.
            self._drop_credential()
            result = self._fetch()
        failure = None if isinstance(result, AccessToken) else result
        for callback in self._attempt_callbacks:
            try:
                callback(failure)
            except Exception:
                log.exception("a listener to token requests failed")
        if failure is not None:
            log.warning("no access token from %s (%s)", self._name, type(failure).__name__)
        with self._lock:
            self._request = None
            if not request.set_running_or_notify_cancel():  # closed meanwhile
                self._drop_credential()
                return
            if isinstance(result, AccessToken):
                self._accept(result)
            else:
                self._renew_at = self._clock() + RENEWAL_INTERVAL
        if isinstance(result, AccessToken):
            request.set_result(result)
        else:
            request.set_exception(result)

    def _fetch(self) -> AccessToken | Exception:
        try:
            if self._credential is None:
                self._credential = self._make_credential()
            answer = self._credential.get_token(self._audience + ".default")
            token = AccessToken(answer.token, float(answer.expires_on))
            if not token.valid_at(self._clock()):
                raise ValueError("The credential answered with an expired token.")
        except Exception as failure:
            return failure
        return token

    def _accept(self, token: AccessToken) -> None:
        self._name = name_of(self._credential)
        now = self._clock()
        if self._token is not None and self._token.value == token.value:
            # Still the credential's cached token, which is no failure.
            self._renew_at = now + RENEWAL_INTERVAL
            return
        self._token = token
        self._renew_at = now + ((token.expires_on or now) - now) / 2
        log.info("access token renewed by %s, expires %s", self._name, token.expiry())

    def _drop_credential(self) -> None:
        credential, self._credential = self._credential, None
        close = getattr(credential, "close", None)
        if close is not None:
            with contextlib.suppress(Exception):
                close()


def from_environment(
    environ: Mapping[str, str], *, server: str = "", clock: Callable[[], float] = time.time
) -> TokenSource:
    """The token source for `environ`: TOKEN, else MSI_ENDPOINT where it is the only managed
    identity, else DefaultAzureCredential (which reads the process's environment).

    server: the value of Server=; its suffix chooses the cloud, and so the tokens' audience.

    Raises ValueError for a TOKEN that cannot be one.
    """
    if unquote(environ.get("TOKEN", "")):
        return StaticToken(environ["TOKEN"], clock=clock)
    client_id = environ.get("AZURE_CLIENT_ID") or None
    audience = cloud_of(server).audience
    endpoint, secret = environ.get("MSI_ENDPOINT"), environ.get("MSI_SECRET")
    if endpoint and secret and not environ.get("IDENTITY_ENDPOINT"):
        credential = AppService2017Credential(
            endpoint, secret, client_id=client_id, audience=audience
        )
        return CredentialToken(
            lambda: credential, name=name_of(credential), audience=audience, clock=clock
        )
    make, name = partial(default_credential, client_id), "DefaultAzureCredential"
    return CredentialToken(make, name=name, audience=audience, clock=clock)


_sources: "weakref.WeakSet[CredentialToken]" = weakref.WeakSet()


def _after_fork() -> None:
    for source in _sources:
        source._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
