"""The procedures of the exposed schemas, as the commands read them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from flask import current_app

from cli.connections import open_database, served_target

if TYPE_CHECKING:
    import pyodbc

    from catalog.operations import Catalog
    from catalog.procedure import Procedure

ROOT = Path(__file__).resolve().parent.parent
# Where flask sql check looks for the contract.
LOCK_FILE = "procedures.lock.json"


def operations_of(
    procedures: "dict[str, list[Procedure]]", keyed: set[str] | None = None
) -> "Catalog":
    """The operations of all databases together. Raises CatalogError for a conflict.

    keyed: the databases whose key table is usable; None: not known, and all are assumed.
    """
    from catalog.operations import build
    from operations.python_routes import python_routes

    listed = [procedure for found in procedures.values() for procedure in found]
    return build(listed, taken=python_routes(current_app), keyed=keyed)


def read_procedures(connection: "pyodbc.Connection", name: str) -> "list[Procedure]":
    """The procedures of a database's exposed schemas. Raises pyodbc.Error."""
    from catalog import query_on
    from catalog.discovery import reader_of
    from database.dialects import dialect_of

    schemas = current_app.extensions["databases"].schemas_of(name)
    if not schemas:
        return []
    return reader_of(dialect_of(connection).name, name, schemas).read(query_on(connection))


def read_catalog() -> "Catalog":
    """The catalog of every database that is served, with the rights of the API itself.

    Raises ClickException for a database that can't be read, or for two procedures of one route.
    """
    import pyodbc

    from catalog import CatalogError, query_on
    from catalog.statements import key_table_usable
    from database.dialects import dialect_of

    procedures = {}
    keyed = set()
    databases = current_app.extensions["databases"]
    for name in databases.names():
        if not databases.schemas_of(name):
            continue
        found = served_target(name)
        assert found is not None, "a database of names() is served"
        connection = open_database(found)
        try:
            procedures[name] = read_procedures(connection, name)
            usable = key_table_usable(dialect_of(connection).name)
            if query_on(connection)(usable)[0][0]:
                keyed.add(name)
        except pyodbc.Error as error:
            raise click.ClickException(
                f"The procedures of {name} could not be read: {error.args[-1]}"
            ) from error
        finally:
            connection.close()
    try:
        return operations_of(procedures, keyed)
    except CatalogError as error:
        raise click.ClickException(str(error)) from error
