"""The credential that logs in to each database: a token, or what the connection string names."""

import logging
import re
from dataclasses import dataclass

from cli.connections import token_remedy
from settings import Settings

# Azure's services accept a token up to its expiry; a new one takes a moment.
EXPIRES_SOON_SECONDS = 3600.0


@dataclass(frozen=True)
class Login:
    """How the API logs in to the database `name`.

    message: one sentence. failed: no credential could be had; remedy: what to do about it. tried:
    a line for each credential that azure-identity tried. credential, audience, expires: of a
    token; expires is ISO 8601. seconds_left: until the token expires.
    """

    name: str
    message: str
    failed: bool = False
    remedy: str | None = None
    tried: tuple[str, ...] = ()
    credential: str | None = None
    audience: str | None = None
    expires: str | None = None
    seconds_left: float | None = None


def login_of(settings: Settings, name: str) -> Login:
    """The login of a database; a token is acquired, and never returned."""
    import time

    from database.connect.connection_string import ConnectionStringError
    from database.connect.drivers import server_of, wants_token
    from database.connect.tokens import TokenUnavailable, from_environment
    from database.connect.translation import to_odbc

    target = settings.targets.get(name)
    if target is None:
        what = "the embedded database" if settings.embedded else "not configured"
        return Login(name, f"{what}; no token needed.")
    try:
        given = to_odbc(target.connection_string, family=target.driver_family)
        if not wants_token(given, family=target.driver_family):
            return Login(name, f"{target.variable} has its own login; no token needed.")
        tokens = from_environment(settings.identity, server=server_of(given))
    except (ConnectionStringError, ValueError) as error:
        remedy = f"Correct {target.variable}, or TOKEN."
        return Login(name, f"{target.variable}: {error}", failed=True, remedy=remedy)
    try:
        # It logs a failure, which is returned below.
        logging.disable()
        token = tokens.get(timeout=settings.login_timeout_seconds)
        about = tokens.describe()
        left = None if token.expires_on is None else token.expires_on - time.time()
        return Login(
            name,
            f"a token from {about['credential']} for {about['audience']},"
            f" expires {token.expiry()}.",
            credential=str(about["credential"]),
            audience=str(about["audience"]),
            expires=token.expiry(),
            seconds_left=left,
        )
    except TokenUnavailable as error:
        # From azure-identity's long message, only one line for each credential that it tried.
        tried = re.findall(r"^\t(\w+: .*)$", str(error.__cause__), re.MULTILINE)
        return Login(name, str(error), failed=True, remedy=token_remedy(target), tried=tuple(tried))
    finally:
        logging.disable(logging.NOTSET)
        tokens.close()
