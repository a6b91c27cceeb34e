"""The procedures of the exposed schemas, as the commands read them."""

from pathlib import Path
from typing import TYPE_CHECKING

from flask import current_app

if TYPE_CHECKING:
    import pyodbc

    from catalog.operations import Catalog
    from catalog.procedure import Procedure

ROOT = Path(__file__).resolve().parent.parent
# Where flask sql check looks for the contract.
LOCK_FILE = "procedures.lock.json"


def operations_of(procedures: "dict[str, list[Procedure]]") -> "Catalog":
    """The operations of all databases together. Raises CatalogError for a conflict."""
    from catalog.operations import build
    from operations.python_routes import python_routes

    listed = [procedure for found in procedures.values() for procedure in found]
    return build(listed, taken=python_routes(current_app))


def read_procedures(connection: "pyodbc.Connection", name: str) -> "list[Procedure]":
    """The procedures of a database's exposed schemas. Raises pyodbc.Error."""
    from catalog import query_on
    from catalog.discovery import reader_of
    from database.dialects import dialect_of

    schemas = current_app.extensions["databases"].schemas_of(name)
    if not schemas:
        return []
    return reader_of(dialect_of(connection).name, name, schemas).read(query_on(connection))
