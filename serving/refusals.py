"""Why the server does not start: one sentence, printed once, after everything else.

Each worker finds the same mistake, and gunicorn logs the end of each; so a worker hands the
sentence to the master, which prints it last.
"""

import os
import sys
from pathlib import Path

_FILE = "SQL_PROCEDURES_API_REFUSAL_FILE"


def expect_refusals(folder: str) -> None:
    """In the master, before it forks: its workers hand over their sentence in `folder`."""
    os.environ[_FILE] = str(Path(folder, "refusal.txt"))


def is_worker() -> bool:
    """Whether a master started this process."""
    return _FILE in os.environ


def refuse(sentence: str) -> None:
    """Hand `sentence` to the master; print it where there is none, as under `flask run`."""
    if path := os.environ.get(_FILE):
        Path(path).write_text(sentence, encoding="utf-8")
    else:
        print(sentence, file=sys.stderr)


def print_refusal() -> None:
    """In the master, at its end."""
    path = Path(os.environ.pop(_FILE, ""))
    if path.is_file():
        print(path.read_text(encoding="utf-8"), file=sys.stderr)
