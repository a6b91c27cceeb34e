"""Access tokens for Azure SQL and Synapse, kept fresh. Nothing here knows a connection."""

import contextlib
import logging
import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
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

LONGEST_BACKOFF = 30.0  # seconds between attempts to renew a token that is still valid

log = logging.getLogger(__name__)


class CredentialToken(TokenSource):
    """Tokens of an azure-identity credential (an object with `get_token(scope)` that answers
    `.token` and `.expires_on`), which `make_credential` makes when one is first needed.

    One daemon thread does every fetch, so at most one is ever in flight; it starts with the
    first get() and ends with close(). A token is renewed `margin` seconds before it expires,
    or a fifth of its lifetime if that is less, the margin cut by up to a fifth at random.
    """

    def __init__(
        self,
        make_credential: Callable[[], object],
        *,
        name: str,
        audience: str = AUDIENCE,
        clock: Callable[[], float] = time.time,
        wait: Callable[[threading.Condition, float | None], object] = threading.Condition.wait,
        jitter: Callable[[], float] = random.random,
        margin: float = 300.0,
    ) -> None:
        if margin <= 0:
            raise ValueError("margin must be more than 0 seconds.")
        self._make_credential, self._name, self._audience = make_credential, name, audience
        self._clock, self._wait, self._jitter = clock, wait, jitter
        self._margin = margin
        self._callbacks: list[Callable[[int], None]] = []
        self._attempt_callbacks: list[Callable[[Exception | None], None]] = []
        # (token, when to renew it): replaced whole, so get() may read it without the lock
        self._current: tuple[AccessToken, float] | None = None
        self._rejected: deque[bytes] = deque(maxlen=64)
        self._anew = False  # the current token was rejected: bypass the credential's own cache
        self._closed = False
        self._failures = 0  # in a row
        self._attempts = 0
        self._error: Exception | None = None  # of the last attempt
        self._restart()
        _sources.add(self)

    def _restart(self) -> None:
        """State of this process alone: a forked child has no refreshing thread, and its copy
        of the lock may be held by a thread that does not exist."""
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wanted = False  # somebody waits: there is no valid token

    def get(self, *, timeout: float = 30.0) -> AccessToken:
        current = self._current
        if current is not None and self._clock() < current[1]:
            return current[0]
        deadline = time.monotonic() + timeout
        missing = f"{self._name} gave no access token for {self._audience}"
        with self._changed:
            attempts = self._attempts
            while True:
                if self._closed:
                    raise TokenUnavailable("The token source is closed.")
                current = self._current
                valid = current is not None and current[0].valid_at(self._clock())
                if not valid and self._error is not None and attempts != self._attempts:
                    reason = f"({type(self._error).__name__})"
                    raise TokenUnavailable(f"{missing} {reason}.") from self._error
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._refresh, name="token-refresh", daemon=True
                    )
                    self._thread.start()
                if valid:
                    # After a machine's suspension the thread's own wait ends too late.
                    self._changed.notify_all()
                    return current[0]
                if not self._wanted:  # else each woken waiter would wake all the others
                    self._wanted = True
                    self._changed.notify_all()
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TokenUnavailable(f"{missing} within {timeout:g} s.")

    def reject(self, token: AccessToken) -> None:
        with self._changed:
            is_current = self._current is not None and self._current[0].value == token.value
            if is_current and token.digest() not in self._rejected:
                self._rejected.append(token.digest())
                self._current, self._anew = None, True

    def on_refresh(self, callback: Callable[[int], None]) -> None:
        self._callbacks.append(callback)

    def on_attempt(self, callback: Callable[[Exception | None], None]) -> None:
        self._attempt_callbacks.append(callback)

    def describe(self) -> dict:
        current = self._current
        expires_on = current[0].expires_on if current else None
        return {"credential": self._name, "audience": self._audience, "expires_on": expires_on}

    def close(self) -> None:
        with self._changed:
            self._closed, self._current = True, None
            thread = self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=1.0)  # a fetch that hangs must not hold up a shutdown

    def _due(self) -> bool:
        return self._wanted or (self._current is not None and self._clock() >= self._current[1])

    def _refresh(self) -> None:
        credential = None
        while True:
            with self._changed:
                while not self._closed and not self._due():
                    pause = self._current and max(0.0, self._current[1] - self._clock())
                    self._wait(self._changed, pause)
                if self._closed:
                    break
                anew = self._anew
            if anew:
                _close(credential)
                credential = None
            token, error = None, None
            try:
                credential = credential or self._make_credential()
                answer = credential.get_token(self._audience + ".default")
                token = AccessToken(answer.token, float(answer.expires_on))
                if not token.valid_at(self._clock()):
                    raise ValueError("The credential answered with an expired token.")
            except Exception as failure:
                token, error = None, failure
            with self._changed:
                if self._closed:
                    break
                self._name = name_of(credential) if token else self._name
                renewed = self._settle(token, error, anew=anew)
                self._changed.notify_all()
            for callback in self._attempt_callbacks:
                callback(error)
            if error is not None:
                log.warning("no access token from %s (%s)", self._name, type(error).__name__)
            if renewed:
                log.info("access token renewed by %s, expires %s", self._name, token.expiry())
                # Before the first token no connection was made that could be retired
                for callback in self._callbacks if self.generation > 1 else ():
                    try:
                        callback(self.generation)
                    except Exception:
                        log.exception("a listener to token renewals failed")
        _close(credential)

    def _settle(self, token: AccessToken | None, error: Exception | None, *, anew: bool) -> bool:
        """Take the outcome of one attempt, the lock held; True if there is a new token."""
        now = self._clock()
        if token is not None and self._anew and not anew and token.digest() in self._rejected:
            return False  # rejected while this attempt was under way: the waiters want another
        self._wanted = False
        self._attempts += 1
        self._error = error
        current = self._current[0] if self._current else None
        if token is not None and (current is None or token.value != current.value):
            self._failures, self._anew = 0, False
            self.generation += 1
            margin = min(self._margin, max(0.0, token.expires_on - now) / 5)
            margin *= 1 - self._jitter() / 5
            token = replace(token, generation=self.generation)
            self._current = token, token.expires_on - margin
            return True
        if current is None or not current.valid_at(now):
            self._current = None
            return False
        # An unchanged token is no failure: azure-identity and App Service keep their own caches.
        self._failures += 1
        backoff = min(LONGEST_BACKOFF, 2.0 ** min(self._failures - 1, 10))
        again = now + backoff * (1 - self._jitter() / 2)
        # get() trusts a token until its renewal is due, which must therefore not be too late
        self._current = current, min(again, current.expires_on)
        return False


def from_environment(
    environ: Mapping[str, str], *, server: str = "", clock: Callable[[], float] = time.time
) -> TokenSource:
    """The token source that `environ` asks for: TOKEN, else MSI_ENDPOINT where it is the only
    managed identity, else DefaultAzureCredential (which reads the process's environment).

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


def _close(credential: object | None) -> None:
    with contextlib.suppress(Exception):
        credential.close()


_sources: "weakref.WeakSet[CredentialToken]" = weakref.WeakSet()


def _after_fork() -> None:
    for source in _sources:
        source._restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
