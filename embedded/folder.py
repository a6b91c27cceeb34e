"""The cluster's folder: files and locks that belong to the account of the server.

As root, which PostgreSQL does not run as, they are given to another account.
"""

import contextlib
import fcntl
import hashlib
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from embedded import EmbeddedError


class ServerFolder:
    """A folder whose content belongs to `account`."""

    def __init__(self, path: Path, account: pwd.struct_passwd) -> None:
        self.path = path
        self.account = account

    @contextlib.contextmanager
    def lock(self, name: str, mode: int) -> Iterator[None]:
        """Hold a lock (fcntl.LOCK_SH or LOCK_EX) on the file `name`, after waiting for it."""
        descriptor = self.open_lock(name, mode)
        try:
            yield
        finally:
            os.close(descriptor)

    def open_lock(self, name: str, mode: int) -> int:
        """The descriptor of the file `name`, locked after waiting; closing it unlocks."""
        descriptor = self._open(self.path / name)
        fcntl.flock(descriptor, mode)
        return descriptor

    def make(self, path: Path | None = None) -> None:
        """Make the folder `path` (this one by default) and its parents, if they do not exist.

        Raises EmbeddedError for a folder of another user, and for a symbolic link, because root
        would give away what it points at.
        """
        path = path or self.path
        self._make_parents(path.parent)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            raise EmbeddedError(
                f"{path} is a symbolic link: remove it, or set LOCAL_DIR to its target."
            )
        if found.st_uid not in (self.account.pw_uid, os.geteuid()):
            raise EmbeddedError(f"{path} belongs to another user: remove it, or set LOCAL_DIR.")
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, 0o700)
            self._give_away(descriptor)
        finally:
            os.close(descriptor)

    def _make_parents(self, path: Path) -> None:
        for parent in reversed([path, *path.parents]):
            if not parent.exists():
                parent.mkdir(exist_ok=True)
                if os.geteuid() == 0:
                    # The server's account must be able to enter, whatever root's umask is.
                    parent.chmod(0o755)

    def write(self, path: Path, text: str) -> None:
        """Replace the content of a file, which belongs to the server's account."""
        with os.fdopen(self._open(path), "w") as file:
            file.truncate(0)
            file.write(text)

    def _open(self, path: Path) -> int:
        # The server's account could replace any file of its folder by a link.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        self._give_away(descriptor)
        return descriptor

    def _give_away(self, descriptor: int) -> None:
        if os.geteuid() == 0:
            os.fchown(descriptor, self.account.pw_uid, self.account.pw_gid)


def unprivileged_account() -> pwd.struct_passwd:
    """The account that runs the server: this user's, or another if this user is root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedError(
        "PostgreSQL does not run as root: create a user named postgres, or start as another user."
    )


def reachable_directory(directory: Path, account: pwd.struct_passwd) -> Path:
    """`directory`, or as root, if `account` can't enter its parents, a folder in /var/lib."""
    if os.geteuid() != 0 or account.pw_uid == 0:
        return directory
    for parent in directory.parents:
        if parent.exists() and not parent.stat().st_mode & 0o001:
            name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
            return Path("/var/lib") / "sql-procedures-api" / name
    return directory
