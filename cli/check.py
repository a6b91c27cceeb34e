"""`flask sql check`: what the routes require and a database lacks."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from flask import current_app
from flask.cli import with_appcontext

from cli.catalogs import LOCK_FILE, ROOT, operations_of, read_procedures
from cli.connections import open_database, served_target
from settings import read_settings

if TYPE_CHECKING:
    from catalog.procedure import Procedure


@click.command("check")
@click.option("--target", metavar="NAME", help="The database; default: all.")
@click.option(
    *("--lock", "lock_file"),
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"Contract of flask procedures --lock; else {LOCK_FILE} where it is.",
)
@with_appcontext
def check_sql(target: str | None, lock_file: Path | None) -> None:
    """List the objects and permissions that the routes require and a database lacks, and each
    change of a procedure that breaks the contract in the lock file.

    Connects as the API does, with its permissions. Fails if anything is missing.
    """
    import pyodbc

    from databases import EMBEDDED
    from deploy.required_objects import missing, policies
    from operations.required_objects import required_objects_of

    lacking = False
    procedures: dict[str, list[Procedure]] = {}
    own = set()  # databases that only the catalog uses
    for name in [target] if target else read_settings().database_names:
        found = served_target(name)
        if found is None:
            click.echo(f"{name}: not configured.")
            lacking |= target is not None
            continue
        served = EMBEDDED if read_settings().embedded else name
        needs = required_objects_of(current_app, name)
        notes: list[str] = []
        try:
            connection = open_database(found)
            try:
                sentences = missing(connection, needs)
                notes = policies(connection, needs)
                try:
                    procedures[served] = read_procedures(connection, served)
                except pyodbc.Error as error:
                    sentences.append(f"its procedures could not be read: {error.args[-1]}")
            finally:
                connection.close()
        except pyodbc.Error as error:
            sentences = [f"the check failed: {error.args[-1]}"]
        except click.ClickException as error:
            sentences = [error.message]
        for sentence in [*sentences, *notes]:
            click.echo(f"{name}: {sentence}")
        if not (needs.procedures or needs.tables):
            own.add(served)
        elif not sentences:
            click.echo(
                f"{name}: {len(needs.procedures)} procedures, {len(needs.tables)} tables:"
                " all there, and allowed."
            )
        lacking |= bool(sentences)
    lacking |= _breaks_contract(procedures, own, lock_file)
    if lacking:
        click.get_current_context().exit(1)


def _breaks_contract(
    procedures: "dict[str, list[Procedure]]", own: set[str], lock_file: Path | None
) -> bool:
    """Compare the operations of what was read with the lock file, if there is one."""
    from catalog import CatalogError
    from catalog.contract_lock import breaking_changes

    try:
        found = operations_of(procedures).operations
        for name in procedures:
            count = sum(o.procedure is not None and o.procedure.database == name for o in found)
            if count or name in own:
                click.echo(f"{name}: {count} operations out of the catalog.")
        if lock_file is None:
            lock_file = ROOT / LOCK_FILE
            if not lock_file.exists():
                return False
        changes = breaking_changes(
            lock_file.read_text(encoding="utf-8"), found, databases=procedures.keys()
        )
    except CatalogError as error:
        changes = [str(error)]
    for change in changes:
        click.echo(change)
    return bool(changes)
