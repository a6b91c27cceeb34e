"""The catalog: a database's procedures, and the operations that follow from them.

Knows procedures, parameters and the convention. Knows nothing of HTTP frameworks or drivers: a
database is reached through `Query`, which runs one statement and returns its rows.
"""

from collections.abc import Callable, Sequence
from typing import Any

# query(sql, *parameters): every row of the one result. Raises what its database layer raises.
Query = Callable[..., Sequence[Sequence[Any]]]


def query_on(connection: Any) -> Query:
    """The Query of a pyodbc connection, or of a pooled one."""
    return lambda sql, *parameters: connection.execute(sql, *parameters).fetchall()


class CatalogError(Exception):
    """The catalog can't be served as it is; the message is one sentence that names the remedy."""
