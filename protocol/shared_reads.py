"""Identical reads at one time share one query, among all threads and workers of this machine.

Synapse bills every query by what it scans, so the same question asked twenty times at once is
asked once. The threads of a worker agree among themselves; for the workers, a file per question
carries a lock while it is being answered (the system drops the lock of a worker that dies) and,
where a time to live is set, the answer afterwards.
"""

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from database.deadline import Deadline
from database.events import Observe, SharedRead, unobserved
from database.single_flight import SingleFlight

# An answer that was had faster than this is quicker asked for again than handed over.
WORTH_SHARING_SECONDS = 0.02
POLL_SECONDS = 0.005
QUICK_REMEMBERED = 1000
_LENGTH_DIGITS = 20


class SharedReads:
    """Answers by question, `directory` holding what is under way; ttl: seconds, 0 keeps nothing.

    The questions must hold all that the answer depends on, the caller included where rows
    depend on the caller.
    """

    def __init__(self, directory: Path, *, ttl: float = 0.0, observe: Observe = unobserved) -> None:
        self._directory = directory
        self._ttl = ttl
        self._observe = observe
        self._made = False
        self._swept = time.monotonic()
        self._in_this_worker: SingleFlight[tuple[str, float | None]] = SingleFlight()
        self._quick: set[str] = set()  # questions not worth sharing with other workers

    @property
    def ttl(self) -> float:
        return self._ttl

    def get(
        self, question: str, ask: Callable[[], str], *, deadline: Deadline
    ) -> tuple[str, float | None]:
        """(answer, its age in seconds if another request asked for it, else None).

        Raises what `ask` raises, DeadlineExceeded while waiting for another's answer.
        """
        answer, joined = self._in_this_worker.get(
            question, lambda: self._get(question, ask, deadline), deadline
        )
        if joined:
            self._observe(SharedRead("joined"))
        return answer

    def _get(
        self, question: str, ask: Callable[[], str], deadline: Deadline
    ) -> tuple[str, float | None]:
        if question in self._quick and not self._ttl:
            self._observe(SharedRead("asked"))
            return self._timed(question, ask)[0], None
        if not self._made:
            # Not at the start, which needs no place to write.
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._made = True
        path = self._directory / hashlib.sha256(question.encode()).hexdigest()
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if self._lock(descriptor):
                    kept = self._read(descriptor)
                    if kept is not None:
                        self._observe(SharedRead("kept"))
                        return kept
                    if self._is_at(path, descriptor):
                        self._observe(SharedRead("asked"))
                        return self._ask(path, descriptor, question, ask), None
                else:
                    self._wait(descriptor, deadline)
                    shared = self._read(descriptor, fresh=False)
                    if shared is not None:
                        self._observe(SharedRead("shared"))
                        return shared
            finally:
                os.close(descriptor)

    def _timed(self, question: str, ask: Callable[[], str]) -> tuple[str, bool]:
        """(the answer, whether it took long enough to be worth sharing), which is remembered."""
        began = time.monotonic()
        answer = ask()
        worth = time.monotonic() - began > WORTH_SHARING_SECONDS
        if worth:
            self._quick.discard(question)
        else:
            if len(self._quick) >= QUICK_REMEMBERED:
                self._quick.clear()
            self._quick.add(question)
        return answer, worth

    def _ask(self, path: Path, descriptor: int, question: str, ask: Callable[[], str]) -> str:
        keep = False
        try:
            answer, worth = self._timed(question, ask)
            if self._ttl or worth:
                text = answer.encode()
                os.ftruncate(descriptor, 0)
                with os.fdopen(os.dup(descriptor), "wb") as file:
                    file.write(f"{len(text):0{_LENGTH_DIGITS}}\n".encode() + text)
            keep = self._ttl > 0
            return answer
        finally:
            if not keep:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
            self._sweep()

    def _read(self, descriptor: int, *, fresh: bool = True) -> tuple[str, float] | None:
        """The answer in the file, if it is whole and, where asked for, not older than the ttl."""
        status = os.fstat(descriptor)
        age = max(0.0, time.time() - status.st_mtime)
        if status.st_size <= _LENGTH_DIGITS or (fresh and age >= self._ttl):
            return None
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(0)
            length = int(file.readline())
            text = file.read()
        return (text.decode(), age) if len(text) == length else None

    @staticmethod
    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    @staticmethod
    def _wait(descriptor: int, deadline: Deadline) -> None:
        # flock() can't be given a timeout, so the deadline wants polling.
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(min(POLL_SECONDS, deadline.remaining()))
            else:
                return

    @staticmethod
    def _is_at(path: Path, descriptor: int) -> bool:
        """Whether the locked file is still the one at `path`: its last owner may have gone."""
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
