"""A procedure or function as the database's catalog describes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from catalog.types import Column, Kind, ParameterType

# What SQL Server calls the one column of FOR JSON.
FOR_JSON = "JSON_F52E2B61-18A1-11d1-B105-00805F49916B"
# Outputs of these names go to HTTP, not to the client's document.
HTTP_OUTPUTS = ("etag", "next", "statuscode")


class Direction(Enum):
    IN = "in"
    OUT = "out"
    INOUT = "in and out"


@dataclass(frozen=True)
class Parameter:
    """One parameter. name: as declared, without @; compare by `folded`.

    required: whether it has no default; None where the catalog can't tell (then it may be left
    out, and the database says). default: its SQL text, for documentation only.
    """

    name: str
    type: ParameterType
    required: bool | None = True
    direction: Direction = Direction.IN
    default: str | None = None
    description: str = ""

    @cached_property
    def folded(self) -> str:
        return self.name.casefold()

    @property
    def is_input(self) -> bool:
        """Whether a client may send it. An output that becomes a header or status is not read."""
        return self.direction is not Direction.OUT and not (
            self.direction is Direction.INOUT and self.folded in HTTP_OUTPUTS
        )

    @property
    def is_output(self) -> bool:
        return self.direction is not Direction.IN


@dataclass(frozen=True)
class Result:
    """The result of a call. columns: of the first result set; None: only a call shows them.

    empty: it returns no result set, by declaration. many: several result sets (@results many).
    rows: whether a set of rows is declared; False: exactly one row; None: not declared.
    """

    columns: tuple[Column, ...] | None = None
    empty: bool = False
    many: bool = False
    rows: bool | None = None

    @cached_property
    def passes_text(self) -> bool:
        """Whether the first column is JSON text that passes through as it is."""
        if not self.columns:
            return False
        first = self.columns[0]
        is_json = first.name.startswith(FOR_JSON) or (
            first.type.kind is Kind.JSON and self.rows is False
        )
        return first.name.casefold() == "json" or (len(self.columns) == 1 and is_json)


@dataclass(frozen=True)
class Tags:
    """The @ lines of a description. routes: (method, path) of each @route.

    private: no route and no tool (@private); no_tool: a route, but no tool (@private mcp).
    """

    routes: tuple[tuple[str, str], ...] = ()
    private: bool = False
    no_tool: bool = False
    readonly: bool = False
    nontransactional: bool = False
    many_results: bool = False
    parameters: tuple[tuple[str, str], ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Procedure:
    """A procedure or function of one database, as its catalog declares it.

    engine: "sqlserver" or "postgresql". is_function: called by SELECT * FROM, else by EXEC or CALL.
    reads: declared to change nothing (STABLE, IMMUTABLE, @readonly). allowed: whether the API's
    login may execute it. reason: why it can't be called at all, such as an overload; else "".
    """

    database: str
    schema: str
    name: str
    engine: str
    parameters: tuple[Parameter, ...] = ()
    result: Result = field(default_factory=Result)
    summary: str = ""
    description: str = ""
    tags: Tags = field(default_factory=Tags)
    is_function: bool = False
    reads: bool = False
    allowed: bool = True
    reason: str = ""

    @cached_property
    def qualified(self) -> str:
        """schema.name, for people and log lines."""
        return f"{self.schema}.{self.name}"

    @cached_property
    def call_name(self) -> str:
        """schema.name, each quoted for SQL."""
        if self.engine == "postgresql":
            return ".".join(
                '"' + part.replace('"', '""') + '"' for part in (self.schema, self.name)
            )
        return ".".join("[" + part.replace("]", "]]") + "]" for part in (self.schema, self.name))

    @cached_property
    def inputs(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if p.is_input)

    @cached_property
    def outputs(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if p.is_output)
