"""Finds the installed PostgreSQL server."""

import functools
import shutil
import subprocess
from pathlib import Path

from embedded import EmbeddedError

MINIMUM_VERSION = 14


def find_binaries() -> Path:
    """The folder of the newest PostgreSQL's programs. Raises EmbeddedError if none is usable."""
    folders = [Path(p).resolve().parent for p in [shutil.which("postgres")] if p]
    folders += Path("/usr/lib/postgresql").glob("*/bin")
    folders += Path("/usr").glob("pgsql-*/bin")
    found = [f for f in folders if all((f / p).exists() for p in ("initdb", "postgres", "psql"))]
    usable = [(binaries_version(f), f) for f in found]
    usable = [pair for pair in usable if pair[0] >= MINIMUM_VERSION]
    if not usable:
        raise EmbeddedError(
            f"No PostgreSQL server of version {MINIMUM_VERSION} or newer is installed for the"
            " embedded default: run `apt-get install postgresql odbc-postgresql`, or set"
            " SQLAZURECONNSTR_WWIF or POSTGRESQLCONNSTR_WWIF to use your own database."
        )
    return max(usable)[1]


@functools.cache
def binaries_version(folder: Path) -> int:
    """The major version of the PostgreSQL server in `folder`."""
    printed = subprocess.run(
        [str(folder / "postgres"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    return int(printed.split()[2].split(".")[0].rstrip("abcdefghijklmnopqrstuvwxyz"))
