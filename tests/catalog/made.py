"""Procedures for tests, as discovery would make them."""

from dataclasses import replace

from catalog.description import read_description
from catalog.header import read_header
from catalog.procedure import Direction, Parameter, Procedure
from catalog.sql_types import postgresql_type, t_sql_type


def t_sql(source: str, *, described: str = "", database: str = "ERP", **changed) -> Procedure:
    """A procedure by its T-SQL header, such as `api.get_order @OrderID int`."""
    qualified = source.partition(" ")[0]
    schema, _, name = qualified.partition(".")
    description = read_description(described)
    parameters = tuple(
        Parameter(
            p.name,
            t_sql_type(p.type),
            p.default is None and not p.is_output,
            Direction.INOUT if p.is_output else Direction.IN,
            p.default,
        )
        for p in read_header(f"CREATE PROCEDURE {source} AS SELECT 1")
    )
    fields = {
        "summary": description.summary,
        "description": description.text,
        "tags": description.tags,
        "reads": description.tags.readonly,
        "parameters": parameters,
    }
    return replace(Procedure(database, schema, name, "sqlserver", **fields), **changed)


def postgresql(name: str, *types: tuple[str, str]) -> Procedure:
    """A function of schema api with required parameters of (name, type)."""
    parameters = tuple(Parameter(n, postgresql_type(t)) for n, t in types)
    return Procedure("ERP", "api", name, "postgresql", parameters, is_function=True)
