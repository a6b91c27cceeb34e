"""A server over the embedded default with procedures of its own, deployed as an adopter would."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from settings import ROOT
from testkit.server import Server, bare_environment

SCRIPT = Path(__file__).with_name("procedures.sql")


def flask(folder: Path, *words: str, **environment: str) -> str:
    """Run `flask …` with LOCAL_DIR `folder`; its output. Raises AssertionError where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", *words],
        cwd=ROOT,
        env=bare_environment(LOCAL_DIR=str(folder), **environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def procedure_server(folder: Path, script: Path = SCRIPT, **options: Any) -> Iterator[Server]:
    """A running server that serves the sample and the procedures of `script`.

    options: of Server.
    """
    folder.mkdir(parents=True, exist_ok=True)
    flask(folder, "sql", "run", str(script), "--target", "embedded")
    with Server(folder, **options) as server:
        yield server
