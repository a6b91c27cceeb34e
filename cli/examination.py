"""What the routes require and a database lacks, for `flask sql check` and `flask doctor`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flask import current_app

from cli.catalogs import LOCK_FILE, ROOT, read_procedures

if TYPE_CHECKING:
    import pyodbc

    from catalog.operations import Catalog
    from catalog.procedure import Procedure


@dataclass
class Examination:
    """What was found in one database.

    required: the numbers of procedures and tables that Python resources use. missing: a sentence
    for each object or permission that is not there. notes: sentences about row policies.
    listed: the procedures of the exposed schemas; None if they could not be read.
    """

    procedures: int = 0
    tables: int = 0
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    listed: "list[Procedure] | None" = None

    @property
    def catalog_only(self) -> bool:
        return not (self.procedures or self.tables)


def examine(connection: "pyodbc.Connection", name: str, served: str) -> Examination:
    """Examine a database. Raises pyodbc.Error.

    name: as in the settings. served: EMBEDDED for the embedded default, else `name`.
    """
    import pyodbc

    from deploy.required_objects import missing, policies
    from operations.required_objects import required_objects_of

    needs = required_objects_of(current_app, name)
    found = Examination(
        len(needs.procedures),
        len(needs.tables),
        missing(connection, needs),
        policies(connection, needs),
    )
    try:
        found.listed = read_procedures(connection, served)
    except pyodbc.Error as error:
        found.missing.append(f"its procedures could not be read: {error.args[-1]}")
    return found


def contract_changes(
    procedures: "Mapping[str, list[Procedure]]", catalog: "Catalog", lock_file: Path | None
) -> list[str]:
    """A sentence for each change that breaks the contract in `lock_file`, by default LOCK_FILE
    where that exists. Raises CatalogError for an unusable file."""
    from catalog.contract_lock import breaking_changes

    if lock_file is None:
        lock_file = ROOT / LOCK_FILE
        if not lock_file.exists():
            return []
    text = lock_file.read_text(encoding="utf-8")
    return list(breaking_changes(text, catalog.operations, databases=procedures.keys()))


def operations_in(catalog: "Catalog", name: str) -> int:
    """The number of operations that a database adds to the catalog."""
    procedures = (operation.procedure for operation in catalog.operations)
    return sum(p is not None and p.database == name for p in procedures)
