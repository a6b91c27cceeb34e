"""What the settings say: their values, names without effect, and the callers that AUTH admits."""

import stat
from collections.abc import Iterator
from urllib.parse import urlsplit

from cli.checks import Finding
from settings import ROOT, SETTINGS, Settings, SettingsError, check_authentication

AREA = "settings"
# The longest wait for the storage of rates.
STORAGE_SECONDS = 2.0
NEW_KEY = "Make a key with flask auth new-key NAME, then set AUTH=keys and API_KEYS."


def check_settings(settings: Settings) -> Iterator[Finding]:
    for sentence in settings.warnings:
        yield Finding(
            AREA, "names", "warning", sentence, "Rename it, or remove it; see docs/settings.md."
        )
    if not settings.warnings:
        yield Finding(AREA, "values", "ok", f"{len(SETTINGS)} settings are valid.")
    yield from _file()
    yield from _authentication(settings)
    if settings.rate_limit_storage:
        yield _rate_limit_storage(settings.rate_limit_storage)


def wrong_settings(sentence: str) -> Finding:
    """The finding for settings that stop the start with `sentence`."""
    return Finding(
        *(AREA, "values", "error", sentence),
        "Correct it in the environment or in the file .env; docs/settings.md lists every setting.",
    )


def _file() -> Iterator[Finding]:
    file = ROOT / ".env"
    if file.exists() and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding(
            *(AREA, "file", "warning", f"Other accounts of this machine may open {file}."),
            f"Run chmod 600 {file}.",
        )


def _authentication(settings: Settings) -> Iterator[Finding]:
    check = "authentication"
    try:
        check_authentication(settings)
    except SettingsError as error:
        yield Finding(AREA, check, "error", str(error), "See docs/authentication.md.")
        return
    if settings.auth is None:
        yield Finding(AREA, check, "ok", "AUTH is not set: only this machine may send requests.")
    elif not settings.auth:
        yield Finding(
            AREA, check, "warning", "AUTH=none: any client may read, write and operate.", NEW_KEY
        )
    else:
        yield Finding(AREA, check, "ok", f"AUTH={','.join(settings.auth)}.")
    if "oidc" in (settings.auth or ()):
        yield _issuer(settings)


def _rate_limit_storage(url: str) -> Finding:
    from limits.storage import storage_from_string

    check = "rate-limit-storage"
    try:
        # It raises for a missing package, and returns False for a server that does not answer.
        answers = storage_from_string(
            url, socket_connect_timeout=STORAGE_SECONDS, socket_timeout=STORAGE_SECONDS
        ).check()
    except Exception:
        answers = False
    if answers:
        return Finding(AREA, check, "ok", "The server of RATE_LIMIT_STORAGE answers.")
    return Finding(
        *(AREA, check, "warning"),
        f"The server of RATE_LIMIT_STORAGE ({urlsplit(url).hostname}) does not answer: each process"
        " counts for itself.",
        "Check host, port and password in RATE_LIMIT_STORAGE, and that the package redis is"
        " installed.",
    )


def _issuer(settings: Settings) -> Finding:
    from authentication.documents import Unreadable, key_source

    try:
        keys = key_source(issuer=settings.oidc_issuer, jwks_url=settings.oidc_jwks_url)()
    except Unreadable as error:
        return Finding(
            *(AREA, "issuer", "error"),
            f"The signing keys of {settings.oidc_issuer} could not be read ({error}), so no token"
            " is accepted.",
            "Check OIDC_ISSUER and OIDC_JWKS_URL, and that this machine reaches the address.",
        )
    count = len(keys.get("keys", ()))
    return Finding(AREA, "issuer", "ok", f"{settings.oidc_issuer} has {count} signing keys.")
