"""A small JSON value that the workers of one server share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

Value = dict[str, Any]


class SharedValue:
    """An object in a JSON file, changed by one process at a time; without a file, in memory."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._value: Value = {}
        self._lock = threading.Lock()

    def read(self) -> Value:
        """The value: {} before the first change, and after a file was damaged."""
        with self._locked():
            return self._load()

    def change(self, change: Callable[[Value], Value | None]) -> None:
        """Replace the value by what `change` makes of it; None leaves it as it is."""
        with self._locked():
            changed = change(self._load())
            if changed is None:
                return
            if self._file is None:
                self._value = changed
                return
            written = self._file.with_suffix(".new")
            written.write_bytes(orjson.dumps(changed))
            os.replace(written, self._file)

    def _load(self) -> Value:
        if self._file is None:
            return self._value
        with contextlib.suppress(FileNotFoundError, ValueError):
            found: Value = orjson.loads(self._file.read_bytes())
            return found
        return {}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            if self._file is None:
                yield
                return
            descriptor = os.open(self._file.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
