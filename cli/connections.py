"""Connections of the commands, outside of the pools."""

import re
from typing import TYPE_CHECKING

import click
from flask import current_app

from settings import TARGETS, SettingsError, Target, read_settings

if TYPE_CHECKING:
    import pyodbc


def served_target(name: str, *, role: str | None = None) -> Target | None:
    """A served database, or None; starts the embedded database if it is the one.

    role: a role of the embedded database; default: the API's.
    """
    from databases import EMBEDDED
    from embedded.cluster import API_ROLE, EmbeddedError

    settings = read_settings()
    if not settings.embedded:
        return settings.targets.get(name)
    if name not in (EMBEDDED, *TARGETS):
        return None
    try:
        cluster = current_app.extensions["databases"].cluster()
    except (EmbeddedError, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    return Target(name, "", cluster.connection_string(role=role or API_ROLE), "postgresql")


def connect(target: Target) -> "pyodbc.Connection":
    """A new connection to `target`, outside of the pool, in one attempt.

    Raises TokenUnavailable, DriverMissing, ValueError or pyodbc.Error.
    """
    from database.connect.connection_string import ConnectionString
    from database.connect.drivers import Driver, server_of
    from database.connect.tokens import from_environment, pack

    settings = read_settings()
    timeout = settings.login_timeout_seconds
    driver = Driver(target.connection_string, family=target.driver_family)
    if not driver.wants_token:
        return driver.connect(timeout)
    server = server_of(ConnectionString(target.connection_string))
    tokens = from_environment(settings.identity, server=server)
    try:
        return driver.connect(timeout, token=pack(tokens.get(timeout=timeout).value))
    finally:
        tokens.close()


def open_database(target: Target) -> "pyodbc.Connection":
    """connect(), repeated while the database resumes. Raises ClickException."""
    import pyodbc

    from database.connect.drivers import DriverMissing
    from database.connect.tokens import TokenUnavailable
    from deploy.runner import open_when_resumed

    def report(sentence: str) -> None:
        click.echo(sentence, err=True)

    try:
        return open_when_resumed(lambda: connect(target), report=report)
    except TokenUnavailable as error:
        raise click.ClickException(no_token_sentence(target, error)) from error
    except (DriverMissing, ValueError) as error:
        raise click.ClickException(f"{target.variable}: {error}") from error
    except pyodbc.Error as error:
        raise click.ClickException(
            f"{target.name} ({target.variable}) is unreachable: {plain(error)}"
        ) from error


def no_token_sentence(target: Target, error: Exception) -> str:
    return f"{error} {token_remedy(target)}"


def token_remedy(target: Target) -> str:
    return f"Run az login, or set TOKEN, or add a user and a password to {target.variable}."


def plain(error: "pyodbc.Error") -> str:
    """The driver's message on one line, without the bracketed prefixes and the codes at its end."""
    text = " ".join(str(error.args[-1]).split())
    return re.sub(r"^(\[[^]]*\] ?)+|( \(-?\d+\))? \(\w+\)$", "", text)
