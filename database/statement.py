"""One statement with its values, and the result sets that it returns."""

from typing import Any, NamedTuple


class Statement(NamedTuple):
    """SQL text with a ? for each value, run in one round trip.

    skip: how many result sets in front of the procedure's own are dropped.
    fetch_from: the name of the cursor that the text opens, for rows in batches; "" for none.
    alone: the text may end transactions, so it is sent in a message of its own.
    """

    text: str
    values: tuple[Any, ...] = ()
    skip: int = 0
    fetch_from: str = ""
    alone: bool = False


class Guard(NamedTuple):
    """Statements that go in front of a read, in the same batch; one that raises ends the batch.

    text: ends with a semicolon. results: the result sets that it returns.
    """

    text: str
    values: tuple[Any, ...]
    results: int = 0

    def before(self, statement: Statement) -> Statement:
        """`statement` behind this guard, in one round trip. It must not be `alone`."""
        assert not statement.alone
        return statement._replace(
            text=self.text + statement.text,
            values=(*self.values, *statement.values),
            skip=self.results + statement.skip,
        )

    def then(self, other: "Guard") -> "Guard":
        """Both guards."""
        return Guard(
            self.text + other.text, (*self.values, *other.values), self.results + other.results
        )


class ResultColumn(NamedTuple):
    """A column as the driver describes it. type: the Python class of its values."""

    name: str
    type: type
    precision: int
    scale: int


class ResultSet(NamedTuple):
    """All rows of one result set."""

    columns: tuple[ResultColumn, ...]
    rows: list[Any]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def columns_of(description: Any) -> tuple[ResultColumn, ...]:
    """The columns of a pyodbc cursor's description."""
    return tuple(
        ResultColumn(name, kind, precision or 0, scale or 0)
        for name, kind, _, _, precision, scale, _ in description
    )
