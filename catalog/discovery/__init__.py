"""Reads a database's own catalog. Each reader has changes(query) and read(query)."""

from collections.abc import Sequence

from catalog.discovery.postgresql import PostgreSQLReader
from catalog.discovery.sqlserver import SqlServerReader

READERS: dict[str, type[SqlServerReader] | type[PostgreSQLReader]] = {
    "sqlserver": SqlServerReader,
    "postgresql": PostgreSQLReader,
}


def reader_of(
    engine: str, database: str, schemas: Sequence[str]
) -> SqlServerReader | PostgreSQLReader:
    """The reader for `engine`, "sqlserver" or "postgresql"; `schemas` has one at least."""
    return READERS[engine](database, schemas)
