"""`flask sql check`: what the routes require and a database lacks."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from flask.cli import with_appcontext

from cli.catalogs import LOCK_FILE, operations_of
from cli.connections import open_database, served_target
from cli.examination import Examination, contract_changes, examine, operations_in
from cli.help import examples
from settings import read_settings

if TYPE_CHECKING:
    from catalog.procedure import Procedure


@click.command(
    "check",
    short_help="List what the routes require and a database lacks.",
    epilog=examples("flask sql check", "flask sql check --target ERP --lock procedures.lock.json"),
)
@click.option("--target", metavar="NAME", help="The database; default: all.")
@click.option(
    *("--lock", "lock_file"),
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"Contract of flask procedures --lock; else {LOCK_FILE} where it is.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@with_appcontext
def check_sql(target: str | None, lock_file: Path | None, *, as_json: bool) -> None:
    """List the objects and permissions that the routes require and a database lacks, and each
    change of a procedure that breaks the contract in the lock file.

    Connects as the API does, with its permissions. Fails if anything is missing.
    """
    from catalog import CatalogError
    from databases import EMBEDDED

    settings = read_settings()
    report = Report(echo=not as_json)
    procedures: dict[str, list[Procedure]] = {}
    own = set()  # databases that only the catalog uses
    for name in [target] if target else settings.database_names:
        served = EMBEDDED if settings.embedded else name
        found = _examined(name, served)
        if found is None:
            report.unconfigured(name, failed=target is not None)
            continue
        report.database(name, found)
        if found.listed is not None:
            procedures[served] = found.listed
        if found.catalog_only:
            own.add(served)
    try:
        catalog = operations_of(procedures)
        for name in procedures:
            count = operations_in(catalog, name)
            if count or name in own:
                report.operations(name, count)
        report.changes(contract_changes(procedures, catalog, lock_file))
    except CatalogError as error:
        report.changes([str(error)])
    if as_json:
        click.echo(json.dumps(report.document, indent=2, ensure_ascii=False))
    if report.failed:
        click.get_current_context().exit(1)


def _examined(name: str, served: str) -> Examination | None:
    """None for a database that is not configured."""
    import pyodbc

    target = served_target(name)
    if target is None:
        return None
    try:
        connection = open_database(target)
        try:
            return examine(connection, name, served)
        finally:
            connection.close()
    except pyodbc.Error as error:
        return Examination(missing=[f"the check failed: {error.args[-1]}"])
    except click.ClickException as error:
        return Examination(missing=[error.message])


class Report:
    """Prints what is found, or collects it for --json."""

    def __init__(self, *, echo: bool) -> None:
        self.failed = False
        self.document: dict[str, Any] = {"databases": {}, "operations": {}, "breakingChanges": []}
        self._echo = click.echo if echo else lambda _: None

    def unconfigured(self, name: str, *, failed: bool) -> None:
        self._echo(f"{name}: not configured.")
        self.document["databases"][name] = {"configured": False}
        self.failed |= failed

    def database(self, name: str, found: Examination) -> None:
        for sentence in [*found.missing, *found.notes]:
            self._echo(f"{name}: {sentence}")
        if not (found.catalog_only or found.missing):
            self._echo(
                f"{name}: {found.procedures} procedures, {found.tables} tables:"
                " all there, and allowed."
            )
        self.document["databases"][name] = {
            "configured": True,
            "procedures": found.procedures,
            "tables": found.tables,
            "missing": found.missing,
            "notes": found.notes,
        }
        self.failed |= bool(found.missing)

    def operations(self, name: str, count: int) -> None:
        self._echo(f"{name}: {count} operations out of the catalog.")
        self.document["operations"][name] = count

    def changes(self, sentences: list[str]) -> None:
        for sentence in sentences:
            self._echo(sentence)
        self.document["breakingChanges"] = sentences
        self.failed |= bool(sentences)
