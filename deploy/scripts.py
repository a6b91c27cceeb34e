"""Plans a deployment: the numbered scripts of a folder, cut into batches, with templates filled.

A T-SQL script is cut at its `GO` lines, as sqlcmd does. A PostgreSQL script is one batch, which the
simple protocol runs in one transaction.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from deploy import DeploymentError
from deploy.lexer import pieces
from deploy.templates import fill

_NUMBERED = re.compile(r"(\d+)_.+\.sql", re.IGNORECASE)
_SEPARATOR = re.compile(r"^[ \t]*GO(?:[ \t]+(\d+))?[ \t\r]*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Batch:
    """A text sent in one call. line: its first line in the file, from 1; count: times to run it."""

    sql: str
    line: int = 1
    count: int = 1


@dataclass(frozen=True)
class Step:
    """One batch of a plan: number `number`, from 1, of the `total` batches of `script`."""

    script: Path
    number: int
    total: int
    batch: Batch

    def __str__(self) -> str:
        times = f", {self.batch.count} times" if self.batch.count != 1 else ""
        name = Path(self.script.parent.name, self.script.name)
        return f"{name}, batch {self.number} of {self.total} (line {self.batch.line}){times}"


def split_batches(text: str) -> list[Batch]:
    """The batches of a T-SQL script, separated by GO lines in any case, optionally with a count.

    A GO inside a string, a quoted identifier or a comment is text; a comment may follow a GO.
    Batches of only comments and blanks are omitted. (sqlcmd utility, "GO [count]".)
    """
    text = text.removeprefix("\ufeff")
    masked = _masked(text)
    batches, start = [], 0
    for separator in _SEPARATOR.finditer(masked):
        batches += _batch(text, masked, start, separator.start(), int(separator[1] or 1))
        start = separator.end()
    return batches + _batch(text, masked, start, len(text), 1)


def scripts(folder: Path) -> list[Path]:
    """The files `<number>_<name>.sql` of `folder` in number order.

    Raises DeploymentError if there is none, or a .sql file without a number.
    """
    numbered = []
    for file in folder.glob("*.sql"):
        if file.is_file():
            name = _NUMBERED.fullmatch(file.name)
            if name is None:
                raise DeploymentError(
                    f"{file.name} has no number, so its order is unclear: rename it to 010_….sql."
                )
            numbered.append((int(name[1]), file.name, file))
    if not numbered:
        raise DeploymentError(f"There is no script in {folder}.")
    return [file for _, _, file in sorted(numbered)]


def plan(
    folder: Path,
    *,
    engine: str,
    variables: Mapping[str, str],
    skip: Collection[str] = (),
) -> list[Step]:
    """The steps of a deployment of `folder`, with every template filled; runs nothing.

    skip: patterns (fnmatch) of file names to leave out. Raises DeploymentError.
    """
    steps = []
    for script in scripts(folder):
        if any(fnmatch(script.name, pattern) for pattern in skip):
            continue
        steps += plan_script(script, engine=engine, variables=variables)
    return steps


def plan_script(script: Path, *, engine: str, variables: Mapping[str, str]) -> list[Step]:
    """The batches of one script, with every template filled. Raises DeploymentError."""
    text = script.read_text(encoding="utf-8-sig")
    try:
        filled = fill(text, variables, engine=engine)
    except DeploymentError as error:
        raise DeploymentError(f"{script.parent.name}/{script.name}: {error}") from None
    batches = [Batch(filled)] if engine == "postgresql" else split_batches(filled)
    return [Step(script, number, len(batches), batch) for number, batch in enumerate(batches, 1)]


def _batch(text: str, masked: str, start: int, stop: int, count: int) -> list[Batch]:
    if not masked[start:stop].strip():
        return []
    sql = text[start:stop]
    first = start + len(sql) - len(sql.lstrip())
    return [Batch(sql.strip(), text.count("\n", 0, first) + 1, count)]


def _masked(text: str) -> str:
    """`text` at the same length, with blanks for comments and x for quoted parts."""
    masked = []
    for kind, start, stop in pieces(text, "sqlserver"):
        if kind == "code":
            masked.append(text[start:stop])
        else:
            masked.append((" " if kind == "comment" else "x") * (stop - start))
    return "".join(masked)
