"""A scripted server's catalog of procedures, by which the product discovers them.

It has what Babelfish has: sys.procedures and sys.sql_modules, and none of the other views.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable

from testkit.tds.messages import Column
from testkit.tds.script import Reply, Request, Rows

STATE = (
    Column("object_id", "int"),
    Column("schema", "nvarchar(128)"),
    Column("name", "nvarchar(128)"),
    Column("modify_date", "datetime"),
    Column("allowed", "int"),
)
SOURCES = (Column("object_id", "int"), Column("definition"))


class ScriptedCatalog:
    """Answers discovery with `sources`, headers by name such as api.get_order; any other statement
    is a call, answered by `calls`. Change `sources` by put().
    """

    def __init__(self, calls: Callable[[Request], Reply], **sources: str) -> None:
        self.calls = calls
        self.reads = 0
        self._numbers = itertools.count(1)
        self._found: dict[str, tuple[int, str]] = {}
        for name, header in sources.items():
            self.put(name, header)

    def put(self, name: str, header: str) -> None:
        """Create or alter api.`name`, whose parameters are `header`."""
        source = f"CREATE PROCEDURE api.{name} {header} AS SELECT 1"
        self._found[name] = next(self._numbers), source

    def drop(self, name: str) -> None:
        del self._found[name]

    def __call__(self, request: Request) -> Reply:
        text = request.statement
        if "sys.sql_modules" in text:
            self.reads += 1
            return Reply(Rows(SOURCES, [*self._found.values()]))
        if "FROM sys.procedures" in text:
            return Reply(Rows(STATE, [self._state(name) for name in sorted(self._found)]))
        if "COALESCE(OBJECT_ID" in text:
            return Reply(Rows((Column("", "int"),), [(None,)]))
        if "HAS_PERMS_BY_NAME" in text:
            return Reply(Rows((Column("", "int"),), [(1,)]))
        if "[api]." in text or "procedures_api" in text:
            return self.calls(request)
        return Reply(Rows((Column("", "int"),), [(1,)]))

    def _state(self, name: str) -> tuple[int, str, str, str, int]:
        number, _ = self._found[name]
        modified = datetime.datetime(2026, 1, 1) + datetime.timedelta(seconds=number)
        return number, "api", name, str(modified), 1
