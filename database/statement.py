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

    text: ends with a semicolon; returns no result set.
    """

    text: str
    values: tuple[Any, ...]

    def before(self, statement: Statement) -> Statement:
        """`statement` behind this guard, in one round trip. It must not be `alone`."""
        assert not statement.alone
        return statement._replace(
            text=self.text + statement.text, values=(*self.values, *statement.values)
        )

    def then(self, other: "Guard") -> "Guard":
        """Both guards."""
        return Guard(self.text + other.text, (*self.values, *other.values))


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


def reach_result(cursor: Any, skip: int = 0) -> bool:
    """Move a pyodbc cursor to its first result set after `skip`; whether there is one."""
    while cursor.description is None or skip:
        skip -= cursor.description is not None
        if not cursor.nextset():
            return False
    return True


def columns_of(description: Any) -> tuple[ResultColumn, ...]:
    """The columns of a pyodbc cursor's description."""
    return tuple(
        ResultColumn(name, kind, precision or 0, scale or 0)
        for name, kind, _, _, precision, scale, _ in description
    )
