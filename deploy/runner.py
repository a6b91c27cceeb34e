"""Runs planned scripts on a connection, batch by batch, and stops at the first error."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pyodbc
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_fixed

from database.dialects import dialect_of
from database.errors import Kind, classify
from deploy import DeploymentError
from deploy.or_alter import accepts_or_alter, execute, modules_of, replace_modules
from deploy.scripts import Step, plan, plan_script

# A paused database takes about a minute to resume.
RESUME_SECONDS = 90.0
NO_OR_ALTER = (
    "This engine rejects CREATE OR ALTER: each module is dropped, created and granted again in one"
    " transaction."
)
_RESUME_PAUSE_SECONDS = 5.0


def deploy(
    connection: pyodbc.Connection,
    folder: Path,
    *,
    variables: Mapping[str, str],
    report: Callable[[Step | str], None],
    skip: Collection[str] = (),
) -> int:
    """Run the scripts of `folder` on an autocommit connection; returns the number of batches.

    Plans everything before it runs anything. `report` gets each step before it runs, and one
    sentence if the engine rejects CREATE OR ALTER. Scripts are idempotent: after an error, run the
    deployment again.
    Raises DeploymentError at the first error, ValueError for a connection in a transaction.
    """
    if not connection.autocommit:
        raise ValueError("A deployment needs an autocommit connection: some DDL allows no other.")
    engine = dialect_of(connection).name
    return _run_all(connection, plan(folder, engine=engine, variables=variables, skip=skip), report)


def run_scripts(
    connection: pyodbc.Connection,
    files: Iterable[Path],
    *,
    variables: Mapping[str, str],
    report: Callable[[Step | str], None],
) -> int:
    """Run script files of any name in the given order, as deploy() does; the number of batches.

    Raises DeploymentError at the first error.
    """
    engine = dialect_of(connection).name
    steps = [s for f in files for s in plan_script(f, engine=engine, variables=variables)]
    return _run_all(connection, steps, report)


def open_when_resumed(
    connect: Callable[[], pyodbc.Connection],
    *,
    report: Callable[[str], None],
    seconds: float = RESUME_SECONDS,
    pause: float = _RESUME_PAUSE_SECONDS,
) -> pyodbc.Connection:
    """`connect()`, retried for `seconds` while the database resumes or scales (40613, 42109).

    `report` gets a sentence before each retry. Raises the error of the last attempt; any other
    error at once.
    """

    def announce(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        number = classify(error).native if isinstance(error, pyodbc.Error) else None
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


def _run_all(
    connection: pyodbc.Connection, steps: Sequence[Step], report: Callable[[Step | str], None]
) -> int:
    # None: unknown until the first batch that has a CREATE OR ALTER.
    or_alter: bool | None = None if dialect_of(connection).name == "sqlserver" else True
    for step in steps:
        report(step)
        modules = {} if or_alter else modules_of(step.batch.sql)
        try:
            for _ in range(step.batch.count):
                if modules and or_alter is None:
                    or_alter = accepts_or_alter(connection, step.batch.sql)
                    if not or_alter:
                        report(NO_OR_ALTER)
                        replace_modules(connection, step.batch.sql, modules)
                elif modules and not or_alter:
                    replace_modules(connection, step.batch.sql, modules)
                else:
                    execute(connection, step.batch.sql)
        except pyodbc.Error as error:
            raise DeploymentError(f"{step}: {error.args[-1]}") from error
    return len(steps)
