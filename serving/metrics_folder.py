"""The folder through which the workers of one server share their metrics."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "sql-procedures-api-metrics-"
LOCK = "in-use"


def make_metrics_folder() -> str:
    """Create a folder, locked while this process or a worker forked from it lives.

    Removes the folders of killed servers, which no process holds a lock on.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _remove_unused(folder)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    # Stays open until the process ends; children inherit the file and the lock with it.
    fcntl.flock(os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600), fcntl.LOCK_EX)
    return str(folder)


def _remove_unused(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            return
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)
