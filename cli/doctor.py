"""`flask doctor`: everything that the API depends on, and a remedy for each fault."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from urllib.parse import urlsplit

import click
from flask import current_app
from flask.cli import with_appcontext

from cli.checks import Finding
from cli.checks.configuration import check_settings, wrong_settings
from cli.checks.databases import check_databases
from cli.checks.machine import check_machine
from cli.help import examples
from observability.redaction import redact
from settings import Settings, read_settings

HEADINGS = {"machine": "This machine", "settings": "Settings", "procedures": "Procedures"}
# Of the variables that log in to Azure.
SECRET = re.compile("TOKEN$|SECRET|PASSWORD|HEADER")
COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


@click.command(
    "doctor",
    short_help="Check what the API depends on, and say how to mend it.",
    epilog=examples("flask doctor", "flask doctor --json"),
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@with_appcontext
def doctor_command(*, as_json: bool) -> None:
    """Check drivers, settings, tokens, databases and clocks; say what to do about each fault.

    Changes nothing, except that it starts the embedded database where that serves. Fails if there
    is an error; warnings don't fail. Prints no secret.
    """
    settings = None
    if "start_error" not in current_app.extensions:
        settings = read_settings()
    findings = []
    for finding in _findings(settings):
        findings.append(finding)
        if not as_json:
            _print(finding, first=len(findings) == 1 or findings[-2].area != finding.area)
    counts = Counter(finding.status for finding in findings)
    if as_json:
        status = next((s for s in ("error", "warning") if counts[s]), "ok")
        document = {"status": status, "findings": [asdict(finding) for finding in findings]}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        click.echo(
            f"\n{_number(counts['error'], 'error')}, {_number(counts['warning'], 'warning')}."
        )
    if counts["error"]:
        click.get_current_context().exit(1)


def _findings(settings: Settings | None) -> Iterator[Finding]:
    """settings: None if they stop the start."""
    secrets = _secrets(settings)
    for finding in _all(settings):
        yield Finding(
            *(finding.area, finding.check, finding.status),
            _without(secrets, finding.message),
            None if finding.remedy is None else _without(secrets, finding.remedy),
        )


def _all(settings: Settings | None) -> Iterator[Finding]:
    yield from check_machine(settings)
    if settings is None:
        yield wrong_settings(current_app.extensions["start_error"])
        return
    yield from check_settings(settings)
    yield from check_databases(settings)


def _secrets(settings: Settings | None) -> list[str]:
    """Texts that no finding may contain, the longest first: a driver could repeat one of them."""
    from database.connect.connection_string import ConnectionString, ConnectionStringError

    found = {os.environ.get("TOKEN", "")}
    if settings is not None:
        found |= {settings.traces_to, settings.rate_limit_storage}
        found.add(urlsplit(settings.rate_limit_storage).password or "")
        found |= {text for name, text in settings.identity.items() if SECRET.search(name)}
        databases = settings.targets.values()
        for target in [*databases, *(replica for d in databases for replica in d.replicas)]:
            found.add(target.connection_string)
            try:
                given = ConnectionString(target.connection_string)
            except ConnectionStringError:
                continue
            found.add(given.get("PWD", "PASSWORD") or "")
    return sorted((text for text in found if len(text) > 3), key=len, reverse=True)


def _without(secrets: list[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return redact(text)


def _print(finding: Finding, *, first: bool) -> None:
    if first:
        click.echo(f"\n{click.style(HEADINGS.get(finding.area, finding.area), bold=True)}")
    status = click.style(f"{finding.status:7}", fg=COLOURS[finding.status])
    click.echo(f"  {status}  {finding.message}")
    if finding.remedy is not None:
        click.echo(f"           {finding.remedy}")


def _number(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
