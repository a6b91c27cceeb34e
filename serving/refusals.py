"""Prints the reason why the server does not start, in one sentence, once, as the last line.

Each worker finds the same mistake, and gunicorn logs the end of each worker. So a worker passes the
sentence to the master, which prints it at its end.
"""

import os
import sys
from pathlib import Path

_FILE = "SQL_PROCEDURES_API_REFUSAL_FILE"


def expect_refusals(folder: str) -> None:
    """Let workers pass their sentence in `folder`. For the master, before it forks."""
    os.environ[_FILE] = str(Path(folder, "refusal.txt"))


def is_worker() -> bool:
    """Whether a master started this process."""
    return _FILE in os.environ


def refuse(sentence: str) -> None:
    """Pass `sentence` to the master, or print it if there is none, as with `flask run`."""
    if path := os.environ.get(_FILE):
        Path(path).write_text(sentence, encoding="utf-8")
    else:
        print(sentence, file=sys.stderr)


def print_refusal() -> None:
    """Print the sentence that a worker passed, if any. For the master, at its end."""
    path = Path(os.environ.pop(_FILE, ""))
    if path.is_file():
        print(path.read_text(encoding="utf-8"), file=sys.stderr)
