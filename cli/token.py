"""`flask token`: the credentials that log in to the databases."""

import logging
import re

import click

from cli.connections import no_token_sentence
from settings import read_settings


@click.command("token")
def token_command() -> None:
    """Print the credential that logs in to each database, and when its token expires.

    Fails if a token can't be acquired. Never prints the token itself.
    """
    from database.connect.connection_string import ConnectionStringError
    from database.connect.drivers import server_of, wants_token
    from database.connect.tokens import TokenUnavailable, from_environment
    from database.connect.translation import to_odbc

    settings = read_settings()
    failed = False
    for name in settings.database_names:
        target = settings.targets.get(name)
        if target is None:
            what = "the embedded database" if settings.embedded else "not configured"
            click.echo(f"{name}: {what}; no token needed.")
            continue
        try:
            given = to_odbc(target.connection_string, family=target.driver_family)
            if not wants_token(given, family=target.driver_family):
                click.echo(f"{name}: {target.variable} has its own login; no token needed.")
                continue
            tokens = from_environment(settings.identity, server=server_of(given))
        except (ConnectionStringError, ValueError) as error:
            click.echo(f"{name}: {target.variable}: {error}")
            failed = True
            continue
        try:
            # It logs a failure, which is printed below.
            logging.disable()
            token = tokens.get(timeout=settings.login_timeout_seconds)
            about = tokens.describe()
            click.echo(
                f"{name}: a token from {about['credential']} for {about['audience']},"
                f" expires {token.expiry()}."
            )
        except TokenUnavailable as error:
            click.echo(f"{name}: {no_token_sentence(target, error)}")
            # From azure-identity's long message, only one line for each credential that it tried.
            for tried in re.findall(r"^\t(\w+: .*)$", str(error.__cause__), re.MULTILINE):
                click.echo(f"  {tried}")
            failed = True
        finally:
            logging.disable(logging.NOTSET)
            tokens.close()
    if failed:
        click.get_current_context().exit(1)
