"""A Redis or Valkey server of one's own, on a Unix socket."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

START_SECONDS = 20.0
PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server")


@contextlib.contextmanager
def rate_storage() -> Iterator[tuple[str, subprocess.Popen]]:
    """(URL for RATE_LIMIT_STORAGE, process) of a server that keeps nothing on disk."""
    assert PROGRAM is not None
    # A short path, because the path of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "storage.sock")
        process = subprocess.Popen(
            [
                *(PROGRAM, "--port", "0", "--unixsocket", str(path)),
                *("--save", "", "--appendonly", "no"),
            ],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            give_up = time.monotonic() + START_SECONDS
            while not _accepts(path):
                assert process.poll() is None, "the server has ended"
                assert time.monotonic() < give_up, "the server is not up"
                time.sleep(0.02)
            yield f"redis+unix://{path}", process
        finally:
            process.terminate()
            process.wait(START_SECONDS)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.connect(str(path))
        return True
    return False
