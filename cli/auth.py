"""`flask auth new-key`: credentials for clients of the API."""

import json
import re

import click
from flask.cli import AppGroup

from cli.help import examples

auth_commands = AppGroup("auth", help="Create keys for clients of the API.")


@auth_commands.command(
    "new-key",
    epilog=examples(
        "flask auth new-key reports --groups read",
        "flask auth new-key erp --groups read,write --json",
    ),
)
@click.argument("name")
@click.option("--groups", default="read", help="Comma-separated: read, write, operate.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document, with the key in it.")
def new_api_key(name: str, groups: str, *, as_json: bool) -> None:
    """Create an API key for NAME and print it once; the settings store only its digest."""
    from authentication.api_keys import HEADER, new_key, setting_line

    key = new_key()
    try:
        line = setting_line(name, re.findall(r"[^,+\s]+", groups), key)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps({"name": name, "header": HEADER, "key": key, "API_KEYS": line}))
        return
    click.echo(f"{HEADER}: {key}", err=True)
    click.echo("Add this line to API_KEYS, separated by a comma from other keys:", err=True)
    click.echo(line)
