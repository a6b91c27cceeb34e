"""`flask procedures`: the routes of the exposed procedures."""

import json
from pathlib import Path

import click
from flask.cli import with_appcontext

from cli.catalogs import LOCK_FILE, read_catalog
from cli.help import examples


@click.command(
    "procedures",
    short_help="List the routes of your procedures, and lock their contract.",
    epilog=examples("flask procedures", "flask procedures --lock procedures.lock.json"),
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@click.option(
    *("--lock", "lock_file"),
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Write the contract to FILE, such as {LOCK_FILE}, for flask sql check.",
)
@with_appcontext
def procedures_command(*, as_json: bool, lock_file: Path | None) -> None:
    """Print the route of each procedure of EXPOSED_SCHEMAS, or the reason why it has none."""
    from catalog.contract_lock import lock
    from catalog.listing import document, table

    found = read_catalog()
    if lock_file is not None:
        lock_file.write_text(lock(found.operations), encoding="utf-8")
        click.echo(f"Wrote {len(found.operations)} operations to {lock_file}.")
    elif as_json:
        click.echo(json.dumps(document(found), indent=2, ensure_ascii=False))
    else:
        for line in table(found):
            click.echo(line)
