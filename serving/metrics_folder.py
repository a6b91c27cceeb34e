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
    """A new folder, locked for as long as this process or a worker forked from it lives.

    Folders of servers that were killed are removed: nothing holds their lock.
    """
    place = Path(tempfile.gettempdir())
    for folder in place.glob(f"{PREFIX}*"):
        _remove_unused(folder)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    # Held open until the process ends, and by its children, who inherit the lock with the file.
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
