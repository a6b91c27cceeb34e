"""`flask auth new-key`: credentials for clients of the API."""

import re

import click
from flask.cli import AppGroup

auth_commands = AppGroup("auth", help="Create the credentials that AUTH requires.")


@auth_commands.command("new-key")
@click.argument("name")
@click.option("--groups", default="read", help="Comma-separated: read, write, operate.")
def new_api_key(name: str, groups: str) -> None:
    """Create an API key for NAME and print it once; the settings store only its digest."""
    from authentication.api_keys import HEADER, new_key, setting_line

    key = new_key()
    try:
        line = setting_line(name, re.findall(r"[^,+\s]+", groups), key)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{HEADER}: {key}", err=True)
    click.echo("Add this line to API_KEYS, separated by a comma from other keys:", err=True)
    click.echo(line)
