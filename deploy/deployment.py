"""Deployment: runs a folder of numbered SQL scripts, batch by batch, and stops at the first error.

A T-SQL script is cut at its `GO` lines as sqlcmd does it; a PostgreSQL script is one text, which
the simple protocol runs in one transaction. Templates `$(Name)` are those of sqlcmd, but filled
so that a value stays inside the literal or identifier it stands in.

T-SQL modules are written as CREATE OR ALTER, which keeps the grants on them. For an engine that
refuses it, each one is dropped and created, and granted again, in one transaction.
"""

import contextlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pyodbc
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_fixed

from database.dialects import dialect_of
from database.errors import NATIVE_ERROR, Kind, classify

_NUMBERED = re.compile(r"(\d+)_.+\.sql", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\((\w+)\)")
_SEPARATOR = re.compile(r"^[ \t]*GO(?:[ \t]+(\d+))?[ \t\r]*$", re.IGNORECASE | re.MULTILINE)
_OPENER = re.compile(r"--|/\*|['\"\[$]")
_DOLLAR_TAG = re.compile(r"\$(?:[^\W\d]\w*)?\$")
# What opens a literal or an identifier, and what closes it, doubled where it stands inside.
_CLOSERS = {"'": "'", '"': '"', "[": "]"}
_IDENTIFIER_LENGTH = {"sqlserver": 128, "postgresql": 63}
_OR_ALTER = re.compile(
    r"\bCREATE\s+OR\s+ALTER\s+(PROCEDURE|VIEW|FUNCTION|TRIGGER)\b", re.IGNORECASE
)
_MODULE_NAME = re.compile(r"\s+((?:\w+|\[[^\]']+\])(?:\.(?:\w+|\[[^\]']+\]))?)")
# A syntax error: 102 and 156 of SQL Server before 2016 SP1; Babelfish's number for what has none.
_PARSE_ERRORS = (102, 156, 33557097)
# In columns, for their collations differ and could not be joined to one text.
_GRANTS = """
SELECT p.state, p.permission_name, u.name
FROM sys.database_permissions AS p
INNER JOIN sys.database_principals AS u ON u.principal_id = p.grantee_principal_id
WHERE p.class = 1 AND p.minor_id = 0 AND p.major_id = OBJECT_ID(?)
"""
# A database that was paused takes about a minute to resume.
RESUME_SECONDS = 90.0
NO_OR_ALTER = (
    "This engine refuses CREATE OR ALTER: each module is dropped, created and granted again in one"
    " transaction."
)
_RESUME_PAUSE_SECONDS = 5.0


class DeploymentError(Exception):
    """A script could not be planned or run; the message names file, batch number and line."""


@dataclass(frozen=True)
class Batch:
    """What is sent at once. line: where it begins in its file, from 1; count: times to run it."""

    sql: str
    line: int = 1
    count: int = 1


@dataclass(frozen=True)
class Step:
    """One batch of the plan: the `number`th, from 1, of the `total` batches of `script`."""

    script: Path
    number: int
    total: int
    batch: Batch

    def __str__(self) -> str:
        times = f", {self.batch.count} times" if self.batch.count != 1 else ""
        name = f"{self.script.parent.name}/{self.script.name}"
        return f"{name}, batch {self.number} of {self.total} (line {self.batch.line}){times}"


def split_batches(text: str) -> list[Batch]:
    """The batches of a T-SQL script: cut at lines that are GO, in any case, with a count or none.

    A GO inside a string, a quoted identifier or a comment is text; a comment may follow a GO.
    Batches of comments and blanks only are left out. (sqlcmd utility, "GO [count]".)
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

    Raises DeploymentError where there is none, or a .sql file without a number.
    """
    found = [f for f in folder.glob("*.sql") if f.is_file()]
    for file in found:
        if not _NUMBERED.fullmatch(file.name):
            raise DeploymentError(f"{file.name} has no number in front: its place is not known.")
    if not found:
        raise DeploymentError(f"There is no script in {folder}.")
    return sorted(found, key=lambda f: (int(_NUMBERED.fullmatch(f.name)[1]), f.name))


def fill(text: str, variables: Mapping[str, str], *, engine: str = "sqlserver") -> str:
    """`text` with each `$(Name)` replaced by its value, quoted for the place where it stands.

    Inside '…', […] or "…" the closing sign is doubled; in bare code the value becomes a quoted
    identifier; in a comment nothing is replaced. engine: "sqlserver" or "postgresql".
    Raises DeploymentError for a variable without a value and a value that can't be one.
    """
    filled, end = [], 0
    for kind, start, stop in _pieces(text, engine):
        for found in _VARIABLE.finditer(text, start, stop):
            if kind == "comment":
                continue
            value = _quoted(found[1], variables, kind=kind, engine=engine)
            filled += [text[end : found.start()], value]
            end = found.end()
    return "".join(filled) + text[end:]


def plan(
    folder: Path,
    *,
    engine: str,
    variables: Mapping[str, str],
    skip: Collection[str] = (),
) -> list[Step]:
    """What a deployment of `folder` would run, with every template filled; runs nothing.

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


def deploy(
    connection: pyodbc.Connection,
    folder: Path,
    *,
    variables: Mapping[str, str],
    report: Callable[[Step | str], None],
    skip: Collection[str] = (),
) -> int:
    """Run the scripts of `folder` on an autocommit connection; the number of batches run.

    All is planned before anything runs. `report` gets each step before it runs, and one sentence
    if the engine refuses CREATE OR ALTER. Scripts are re-runnable, so a deployment that stopped is
    simply run again.
    Raises DeploymentError at the first error, ValueError for a connection that is in a transaction.
    """
    if not connection.autocommit:
        raise ValueError("A deployment needs an autocommit connection: some DDL refuses any other.")
    engine = dialect_of(connection).name
    return _run_all(connection, plan(folder, engine=engine, variables=variables, skip=skip), report)


def run_scripts(
    connection: pyodbc.Connection,
    files: Iterable[Path],
    *,
    variables: Mapping[str, str],
    report: Callable[[Step], None],
) -> int:
    """Run script files of any name in the given order, as deploy() does; the number of batches.

    Raises DeploymentError at the first error.
    """
    engine = dialect_of(connection).name
    steps = [s for f in files for s in plan_script(f, engine=engine, variables=variables)]
    return _run_all(connection, steps, report)


def _run_all(
    connection: pyodbc.Connection, steps: Sequence[Step], report: Callable[[Step], None]
) -> int:
    or_alter: bool | None = None if dialect_of(connection).name == "sqlserver" else True
    for step in steps:
        report(step)
        modules = {} if or_alter else _modules(step.batch.sql)
        try:
            for _ in range(step.batch.count):
                if modules and or_alter is None:
                    or_alter = _accepts_or_alter(connection, step.batch.sql)
                    if not or_alter:
                        report(NO_OR_ALTER)
                        _replace(connection, step.batch.sql, modules)
                elif modules and not or_alter:
                    _replace(connection, step.batch.sql, modules)
                else:
                    _run(connection, step.batch.sql)
        except pyodbc.Error as error:
            raise DeploymentError(f"{step}: {error.args[-1]}") from error
    return len(steps)


def open_when_resumed(
    connect: Callable[[], pyodbc.Connection],
    *,
    report: Callable[[str], None],
    seconds: float = RESUME_SECONDS,
    pause: float = _RESUME_PAUSE_SECONDS,
) -> pyodbc.Connection:
    """`connect()`, tried again for `seconds` while the database resumes or scales (40613, 42109).

    `report` gets a sentence before each further attempt. Raises what the last attempt raised;
    any other failure at once.
    """

    def announce(state: RetryCallState) -> None:
        number = classify(state.outcome.exception()).native
        report(f"The database is resuming or scaling ({number}); next attempt in {pause:g} s.")

    retrying = Retrying(
        retry=retry_if_exception(
            lambda error: isinstance(error, pyodbc.Error) and classify(error).kind is Kind.RESUMING
        ),
        stop=stop_after_delay(seconds),
        wait=wait_fixed(pause),
        before_sleep=announce,
        reraise=True,
    )
    return retrying(connect)


def _run(connection: pyodbc.Connection, sql: str) -> None:
    cursor = connection.cursor()
    # The text is for the server: no ODBC escape sequence or parameter marker is in it.
    cursor.noscan = True
    try:
        cursor.execute(sql)
        # An error after a complete result shows at nextset() only.
        while cursor.nextset():
            pass
    finally:
        cursor.close()


def _modules(sql: str) -> dict[str, str]:
    """What a batch makes by CREATE OR ALTER, also inside the literal of an EXEC: kind by name."""
    found = {}
    for kind, start, stop in _pieces(sql, "sqlserver"):
        for made in _OR_ALTER.finditer(sql, start, stop) if kind != "comment" else ():
            if name := _MODULE_NAME.match(sql, made.end()):
                found[name[1]] = made[1].upper()
    return found


def _accepts_or_alter(connection: pyodbc.Connection, sql: str) -> bool:
    """Runs `sql`, the first batch with CREATE OR ALTER; False if the engine can't parse it."""
    try:
        _run(connection, sql)
    except pyodbc.Error as error:
        number = NATIVE_ERROR.search(str(error.args[-1]))
        if number and int(number[1]) in _PARSE_ERRORS:
            return False
        raise
    return True


def _replace(connection: pyodbc.Connection, sql: str, modules: Mapping[str, str]) -> None:
    """Drop `modules`, run `sql` with CREATE alone and repeat the grants, in one transaction."""
    grants = [grant for name in modules for grant in _grants(connection, name)]
    drops = [
        f"IF OBJECT_ID(N'{name}') IS NOT NULL DROP {kind} {name}" for name, kind in modules.items()
    ]
    connection.autocommit = False
    try:
        for statement in [*drops, _OR_ALTER.sub(r"CREATE \1", sql), *grants]:
            _run(connection, statement)
        connection.commit()
    except pyodbc.Error:
        with contextlib.suppress(pyodbc.Error):
            connection.rollback()
        raise
    finally:
        # Not on a connection that broke: the first error is the one to show.
        with contextlib.suppress(pyodbc.Error):
            connection.autocommit = True


def _grants(connection: pyodbc.Connection, name: str) -> Iterator[str]:
    for state, permission, grantee in connection.execute(_GRANTS, name).fetchall():
        verb = "DENY" if state == "D" else "GRANT"
        option = " WITH GRANT OPTION" if state == "W" else ""
        quoted = grantee.replace("]", "]]")
        yield f"{verb} {permission} ON {name} TO [{quoted}]{option}"


def _batch(text: str, masked: str, start: int, stop: int, count: int) -> list[Batch]:
    if not masked[start:stop].strip():
        return []
    sql = text[start:stop]
    first = start + len(sql) - len(sql.lstrip())
    return [Batch(sql.strip(), text.count("\n", 0, first) + 1, count)]


def _masked(text: str) -> str:
    """`text` of the same length, blanks for comments and x for what is in quotes or brackets."""
    masked = []
    for kind, start, stop in _pieces(text, "sqlserver"):
        if kind == "code":
            masked.append(text[start:stop])
        else:
            masked.append((" " if kind == "comment" else "x") * (stop - start))
    return "".join(masked)


def _pieces(text: str, engine: str) -> Iterator[tuple[str, int, int]]:
    """(kind, start, stop) in order, without gaps. kind: code, comment, dollar, ', " or [."""
    yield from _scan(text, 0, len(text), engine, "code")


def _scan(text: str, start: int, stop: int, engine: str, code: str) -> Iterator:
    begun = at = start
    while opener := _OPENER.search(text, at, stop):
        at = opener.start()
        kind, end = _opened(text, at, stop, engine)
        if kind is None:
            at += 1
            continue
        if begun < at:
            yield code, begun, at
        if kind == "dollar":
            # A dollar-quoted body is code again, with its own strings and comments.
            tag = _DOLLAR_TAG.match(text, at)[0]
            yield code, at, at + len(tag)
            body_end = max(at + len(tag), end - len(tag))
            yield from _scan(text, at + len(tag), body_end, engine, "dollar")
            if body_end < end:
                yield code, body_end, end
        else:
            yield kind, at, end
        begun = at = end
    if begun < stop:
        yield code, begun, stop


def _opened(text: str, at: int, stop: int, engine: str) -> tuple[str | None, int]:
    """What opens at `at`, and where it ends; (None, at) for plain code. Unclosed: at `stop`."""
    sign = text[at]
    if text.startswith("--", at):
        end = text.find("\n", at, stop)
        return "comment", stop if end < 0 else end
    if text.startswith("/*", at):
        return "comment", _comment_end(text, at, stop)
    if sign in _CLOSERS and not (sign == "[" and engine == "postgresql"):
        return sign, _quote_end(text, at + 1, stop, _CLOSERS[sign])
    if sign == "$" and engine == "postgresql" and (tag := _DOLLAR_TAG.match(text, at, stop)):
        end = text.find(tag[0], tag.end(), stop)
        return "dollar", stop if end < 0 else end + len(tag[0])
    return None, at


def _comment_end(text: str, at: int, stop: int) -> int:
    """Block comments nest, in T-SQL and in PostgreSQL."""
    depth = 0
    for sign in re.compile(r"/\*|\*/").finditer(text, at, stop):
        depth += 1 if sign[0] == "/*" else -1
        if depth == 0:
            return sign.end()
    return stop


def _quote_end(text: str, at: int, stop: int, closer: str) -> int:
    while (end := text.find(closer, at, stop)) >= 0:
        if not text.startswith(closer, end + 1) or end + 1 >= stop:
            return end + 1
        at = end + 2
    return stop


def _quoted(name: str, variables: Mapping[str, str], *, kind: str, engine: str) -> str:
    value = variables.get(name, "")
    if not value:
        raise DeploymentError(f"$({name}) has no value: give it one.")
    if not value.isprintable():
        raise DeploymentError(f"The value of $({name}) has a character that can not be printed.")
    if engine == "postgresql" and "$" in value:
        # It could end a dollar-quoted body that the place to fill stands in.
        raise DeploymentError(f"The value of $({name}) has a $, which PostgreSQL might misread.")
    opener = kind
    if kind in ("code", "dollar"):
        opener = '"' if engine == "postgresql" else "["
    closer = _CLOSERS[opener]
    if opener != "'" and len(value) > _IDENTIFIER_LENGTH[engine]:
        raise DeploymentError(f"The value of $({name}) is longer than a name may be.")
    value = value.replace(closer, closer * 2)
    return value if opener == kind else opener + value + closer
