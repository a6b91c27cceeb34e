"""A progress bar for work that takes long."""

import sys
from types import TracebackType
from typing import Any

import click

CLEAR_LINE = "\r\x1b[K"


class ProgressBar:
    """A bar on standard error if that is a terminal; elsewhere only the sentences are printed.

    The bar appears with the first update(), which has the total.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, at)

    def update(self, done: int, total: int) -> None:
        """`done` of `total` pieces of work are done."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar = click.progressbar(
                length=total, label=self._label, show_pos=True, file=sys.stderr
            )
            self._bar.__enter__()
        self._bar.update(done - self._bar.pos)

    def print(self, sentence: str) -> None:
        """Print a sentence on a line of its own; the bar continues below it."""
        if self._bar is not None:
            click.echo(CLEAR_LINE, nl=False, err=True)
        click.echo(sentence)
