"""The scripted TDS server's vocabulary: requests as they arrived, and replies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from testkit.tds.messages import Column, Parameter

Cut = Literal["fin", "rst"]
Stage = Literal["accept", "prelogin", "login"]
FRAGMENT_CHARACTERS = 2033  # where FOR JSON splits its text into rows
JSON = Column("Json")
EXECUTIONS = frozenset({"prepexec", "execute", "executesql", "prepexecrpc", "batch"})


@dataclass(frozen=True)
class Rows:
    """One result set. finished: False leaves it open, for an error among its rows."""

    columns: tuple[Column, ...]
    rows: Iterable[tuple[Any, ...]]
    finished: bool = True


@dataclass(frozen=True)
class ServerError:
    """An error token; number 1205 rolls an open transaction back as well."""

    number: int
    message: str = "scripted error"
    severity: int = 16
    state: int = 1
    procedure: str = ""


class Reply:
    """The server's reply to one request or one login.

    `cut_after` sends that many bytes of the answer and then cuts the connection, with a FIN or
    a RST. `hold` sends the parts and never the end: only an ATTENTION is read after that.
    """

    def __init__(
        self,
        *parts: Rows | ServerError,
        cut_after: int | None = None,
        cut: Cut = "fin",
        hold: bool = False,
    ):
        if hold and cut_after is not None:
            raise ValueError("A reply is either held or cut, not both.")
        self.parts, self.cut_after, self.cut, self.hold = parts, cut_after, cut, hold

    @property
    def failed(self) -> bool:
        return any(isinstance(part, ServerError) for part in self.parts)


@dataclass(frozen=True)
class Request:
    """One request as it arrived.

    `kind`: prepexec, prepare, execute, unprepare, executesql, prepexecrpc, rpc (any other
    procedure, named by `statement`), batch, transaction or attention. `reset` is the header's
    RESETCONNECTION bit.
    """

    kind: str
    connection_id: int
    statement: str = ""
    declared: str = ""
    parameters: tuple[Parameter, ...] = ()
    reset: bool = False

    @property
    def values(self) -> tuple[Any, ...]:
        return tuple(parameter.value for parameter in self.parameters)

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(parameter.type for parameter in self.parameters)


def json_rows(text: str, *, size: int | None = None) -> Rows:
    """`text` in one row, or in rows of `size` characters as FOR JSON splits it."""
    step = size or max(1, len(text))
    return Rows((JSON,), [(text[at : at + step],) for at in range(0, len(text), step)])
