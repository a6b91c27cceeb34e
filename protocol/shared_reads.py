"""Identical concurrent reads share one query, across the threads and workers of this machine.

Synapse bills every query by the data it scans, so twenty identical concurrent reads run one query.
Within a worker SingleFlight merges them. Between workers each read has a file, which is locked
during the query (the system releases the lock if a worker dies). With a time to live the file then
keeps the result. If a file can't be opened, read or written, the query runs; no request fails.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from database.deadline import Deadline
from database.events import Observe, SharedRead, unobserved
from database.single_flight import SingleFlight

log = logging.getLogger(__name__)
# A result that takes less time than this is faster to query again than to share between workers.
WORTH_SHARING_SECONDS = 0.02
POLL_SECONDS = 0.005
MAX_QUICK_KEYS = 1000
_LENGTH_DIGITS = 20
# The file is locked by this request, which must run the query.
MINE = object()
# (text, age in seconds, outcome to observe), MINE, or None
Found = Any


class SharedReads:
    """Shared results by key, with their files in `directory`.

    ttl: seconds for which a result is reused; 0 disables. A key must contain everything that the
    result depends on, the caller included.
    """

    def __init__(self, directory: Path, *, ttl: float = 0.0, observe: Observe = unobserved) -> None:
        self._directory = directory
        self._ttl = ttl
        self._observe = observe
        self._swept = time.monotonic()
        self._in_this_worker: SingleFlight[tuple[str, float | None]] = SingleFlight()
        self._quick: set[str] = set()  # keys whose queries are too fast to share between workers
        self._warned = False

    @property
    def ttl(self) -> float:
        return self._ttl

    def get(
        self, key: str, query: Callable[[], str], *, deadline: Deadline
    ) -> tuple[str, float | None]:
        """The text, and its age in seconds; the age is None if this request ran the query.

        Raises what `query` raises, and DeadlineExceeded while waiting for another worker.
        """
        result, joined = self._in_this_worker.get(
            key, lambda: self._get(key, query, deadline), deadline
        )
        if joined:
            self._observe(SharedRead("joined"))
        return result

    def _get(
        self, key: str, query: Callable[[], str], deadline: Deadline
    ) -> tuple[str, float | None]:
        if key in self._quick and not self._ttl:
            self._observe(SharedRead("asked"))
            return self._timed(key, query)[0], None
        path = self._directory / hashlib.sha256(key.encode()).hexdigest()
        while True:
            try:
                descriptor = self._open(path)
            except OSError as error:
                self._warn(error)
                self._observe(SharedRead("asked"))
                return self._timed(key, query)[0], None
            try:
                found = self._find(path, descriptor, deadline)
                if found is MINE:
                    self._observe(SharedRead("asked"))
                    return self._run(path, descriptor, key, query), None
                if found is not None:
                    text, age, outcome = found
                    self._observe(SharedRead(outcome))
                    return text, age
            finally:
                os.close(descriptor)

    def _open(self, path: Path) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(path, flags, 0o600)

    def _find(self, path: Path, descriptor: int, deadline: Deadline) -> Found:
        """The result in the file, or MINE; None if another worker removed the file, which must then
        be opened again. Raises DeadlineExceeded."""
        try:
            if not self._lock(descriptor):
                self._wait(descriptor, deadline)
                shared = self._read(descriptor, fresh=False)
                return None if shared is None else (*shared, "shared")
            kept = self._read(descriptor)
            if kept is not None:
                return (*kept, "kept")
            return MINE if self._is_at(path, descriptor) else None
        except OSError as error:
            self._warn(error)
            return MINE

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            log.warning("reads are not shared among workers: %s", error.strerror)

    def _timed(self, key: str, query: Callable[[], str]) -> tuple[str, bool]:
        """The text, and whether the query was slow enough to share; updates the quick keys."""
        began = time.monotonic()
        text = query()
        slow = time.monotonic() - began > WORTH_SHARING_SECONDS
        if slow:
            self._quick.discard(key)
        else:
            if len(self._quick) >= MAX_QUICK_KEYS:
                self._quick.clear()
            self._quick.add(key)
        return text, slow

    def _run(self, path: Path, descriptor: int, key: str, query: Callable[[], str]) -> str:
        """Run the query, and write its result to the locked file for waiting workers."""
        keep = False
        try:
            with contextlib.suppress(OSError):
                # If the query fails, waiting workers must not find an old result.
                os.ftruncate(descriptor, 0)
            text, slow = self._timed(key, query)
            if self._ttl or slow:
                keep = self._write(descriptor, text) and self._ttl > 0
            return text
        finally:
            with contextlib.suppress(OSError):
                if not keep:
                    path.unlink()
                self._sweep()

    def _write(self, descriptor: int, text: str) -> bool:
        """Whether the file now contains all of `text`; its length in front shows a part of it."""
        content = text.encode()
        try:
            os.lseek(descriptor, 0, os.SEEK_SET)
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(f"{len(content):0{_LENGTH_DIGITS}}\n".encode() + content)
        except OSError as error:
            self._warn(error)
            return False
        return True

    def _read(self, descriptor: int, *, fresh: bool = True) -> tuple[str, float] | None:
        """The complete text in the file and its age, else None; fresh: only if younger than ttl."""
        status = os.fstat(descriptor)
        age = time.time() - status.st_mtime
        # A modification time in the future gives no age.
        if status.st_size <= _LENGTH_DIGITS or (fresh and not 0 <= age < self._ttl):
            return None
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(0)
            head = file.readline(_LENGTH_DIGITS + 1)
            try:
                whole = len(head) + int(head) == status.st_size
                return (file.read().decode(), max(0.0, age)) if whole else None
            except ValueError:
                return None

    @staticmethod
    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    @staticmethod
    def _wait(descriptor: int, deadline: Deadline) -> None:
        # flock() has no timeout, so it is polled until the deadline.
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(min(POLL_SECONDS, deadline.remaining()))
            else:
                return

    @staticmethod
    def _is_at(path: Path, descriptor: int) -> bool:
        """Whether the locked file is still at `path`; the previous worker may have removed it."""
        try:
            return os.path.samestat(os.fstat(descriptor), path.stat())
        except FileNotFoundError:
            return False

    def _sweep(self) -> None:
        if not self._ttl or time.monotonic() - self._swept < self._ttl:
            return
        self._swept = time.monotonic()
        for path in self._directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > 2 * self._ttl:
                    path.unlink()
