"""`flask token`: the credentials that log in to the databases."""

import json

import click

from cli.help import examples
from cli.logins import Login, login_of
from settings import read_settings


@click.command(
    "token",
    short_help="Show how the API logs in to each database.",
    epilog=examples("flask token", "flask token --json"),
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
def token_command(*, as_json: bool) -> None:
    """Show the credential that logs in to each database, and when its token expires.

    Fails if a token can't be acquired. Never prints the token itself.
    """
    settings = read_settings()
    logins = [login_of(settings, name) for name in settings.database_names]
    if as_json:
        click.echo(json.dumps({"databases": [_document(login) for login in logins]}, indent=2))
    else:
        for login in logins:
            click.echo(" ".join(filter(None, (f"{login.name}:", login.message, login.remedy))))
            for tried in login.tried:
                click.echo(f"  {tried}")
    if any(login.failed for login in logins):
        click.get_current_context().exit(1)


def _document(login: Login) -> dict[str, object]:
    return {
        "name": login.name,
        "ok": not login.failed,
        "message": login.message,
        "remedy": login.remedy,
        "tried": list(login.tried),
        "credential": login.credential,
        "audience": login.audience,
        "expires": login.expires,
    }
