"""The embedded default: a private PostgreSQL cluster that starts by itself.

It listens on a Unix socket only and authorizes, by peer authentication, only the user that made it.
Every process that uses it holds a shared lock on a file, which the operating system releases when
the process dies, however it dies. The last user stops the cluster: the process itself at a normal
end, otherwise a keeper, which waits for the lock. A process that serves requests also watches the
server, and restarts it if only the server was killed.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from embedded import EmbeddedError
from embedded.configuration import API_ROLE, CONFIGURATION, DATABASE, OWNER, PORT, QUIET_LOG
from embedded.folder import ServerFolder, reachable_directory, unprivileged_account
from embedded.installation import binaries_version, find_binaries
from embedded.programs import START, STOP, Programs

__all__ = ["API_ROLE", "DATABASE", "OWNER", "PORT", "EmbeddedCluster", "EmbeddedError"]

log = logging.getLogger(__name__)

# Crash recovery replays up to a gigabyte of WAL (max_wal_size).
START_TIMEOUT_SECONDS = 100
# For a fast stop, then for an immediate one. PostgreSQL kills the processes that remain 5 s after
# an immediate stop (postmaster.c, SIGKILL_CHILDREN_AFTER_SECS).
STOP_TIMEOUT_SECONDS = 8
STATE_POLL_SECONDS = 0.05
WATCH_SECONDS = 0.25
FAILED_RESTART_PAUSE_SECONDS = 5.0
LOG_MAX_BYTES = 1_000_000
LOG_KEPT_BYTES = 100_000
# sun_path holds 108 bytes with its final zero (unix(7)); the socket's name takes the last 14.
LONGEST_SOCKET_DIRECTORY = 92


class EmbeddedCluster:
    """A private PostgreSQL cluster in `directory`, shared by all processes that use the directory.

    `start()` makes the cluster or joins a running one, and returns when it accepts connections. It
    calls `prepare(cluster)` under the start lock if `fingerprint` differs from that of the last
    successful call (at the first start, and when the scripts have changed). `watch()` restarts the
    server when it dies. `stop()` ends this process's use of the cluster.
    Raises EmbeddedError with one sentence.
    """

    def __init__(
        self,
        directory: Path,
        *,
        prepare: "Callable[[EmbeddedCluster], None] | None" = None,
        fingerprint: str = "",
        report: Callable[[str], None] = log.info,
    ) -> None:
        self._binaries = find_binaries()
        account = unprivileged_account()
        self._directory = reachable_directory(directory.absolute(), account)
        self._folder = ServerFolder(self._directory, account)
        self._programs = Programs(self._binaries, self._folder)
        self._prepare = prepare
        self._fingerprint = fingerprint
        self._report = report
        self._users: int | None = None
        self._pid: int | None = None
        self._stopped = threading.Event()

    @property
    def directory(self) -> Path:
        return self._directory

    @property
    def data(self) -> Path:
        return self._directory / "data"

    @property
    def socket_directory(self) -> Path:
        inside = self._directory / "socket"
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_DIRECTORY:
            return inside
        name = hashlib.sha256(os.fsencode(self._directory)).hexdigest()[:16]
        # The name is predictable, for every process must find it; in /run only root can take it.
        short = Path("/run" if os.geteuid() == 0 else tempfile.gettempdir())
        return short / f"sql-procedures-api-{name}"

    def psql(self, *, role: str = OWNER, database: str = DATABASE) -> list[str]:
        """The argv prefix of a psql that connects as `role`."""
        return [
            *(str(self._binaries / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"),
            *("-h", str(self.socket_directory), "-p", str(PORT), "-U", role, "-d", database),
        ]

    def run_sql(self, text: str, *, database: str = DATABASE) -> str:
        """Run a psql script as the owner; returns its unaligned output. Stops at an error."""
        done = subprocess.run(
            [*self.psql(database=database), "-A", "-t"],
            input=text.encode(),
            capture_output=True,
            check=False,
            env={
                **os.environ,
                "PGCLIENTENCODING": "UTF8",
                "PGOPTIONS": "-c client_min_messages=warning",
            },
        )
        if done.returncode:
            printed = done.stderr.decode(errors="replace").strip()
            raise EmbeddedError(f"A script failed on the embedded database: {printed}")
        return done.stdout.decode()

    def conninfo(self, *, role: str = OWNER) -> str:
        """libpq's connection string for `role`."""
        # Imported here, because only loading trips needs it and it would slow every start.
        from psycopg.conninfo import make_conninfo

        return make_conninfo(host=str(self.socket_directory), port=PORT, user=role, dbname=DATABASE)

    def connection_string(self, *, role: str = API_ROLE) -> str:
        """An ODBC connection string without a driver, for `role`."""
        return f"SERVER={self.socket_directory};PORT={PORT};DATABASE={DATABASE};UID={role}"

    def start(self) -> None:
        """Make or join the cluster; returns when it accepts connections. Raises EmbeddedError."""
        if self._pid == os.getpid():
            return
        self._folder.make()
        with self._folder.lock("start.lock", fcntl.LOCK_EX):
            # Before checking the server, so that a keeper that is stopping it finishes first.
            self._users = self._folder.open_lock("users.lock", fcntl.LOCK_SH)
            self._pid = os.getpid()
            self._stopped = threading.Event()
            try:
                if not self.data.exists():
                    self._initdb()
                self._bring_up()
                self._prepare_once()
            except BaseException:
                self.stop()
                raise

    def watch(self) -> None:
        """Restart the server whenever it dies and limit its log, in a thread, until stop().

        For a process that serves requests, after start(). If several processes watch, one restarts
        the server. A failed restart is logged and retried.
        """
        threading.Thread(
            target=self._watch, args=(self._stopped,), name="embedded-database", daemon=True
        ).start()

    def stop(self) -> None:
        """End this process's use of the cluster; the last user stops it. Idempotent.

        Does nothing in a forked child, whose parent still uses the cluster.
        """
        if self._users is None or self._pid != os.getpid():
            return
        self._stopped.set()
        users, self._users, self._pid = self._users, None, None
        fcntl.flock(users, fcntl.LOCK_UN)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._stop_server()
        except BlockingIOError:
            # Returns at once if others use the cluster, else when the keeper has stopped it.
            fcntl.flock(users, fcntl.LOCK_SH)
        finally:
            os.close(users)

    def _initdb(self) -> None:
        self._report("Creating a private PostgreSQL cluster (first start only) …")
        for cut in self._directory.glob("data.new*"):
            shutil.rmtree(cut, ignore_errors=True)
        # A new name each time: an initdb whose caller was killed may still write to its folder.
        fresh = Path(tempfile.mkdtemp(prefix="data.new-", dir=self._directory))
        self._folder.make(fresh)
        self._programs.run(
            *("initdb", "-D", str(fresh), "-U", OWNER, "-A", "peer", "-E", "UTF8"),
            *("--locale", "C.UTF-8", "--no-instructions"),
        )
        self._folder.write(fresh / "postgresql.auto.conf", CONFIGURATION)
        self._folder.write(fresh / "pg_hba.conf", "local all all peer map=embedded\n")
        names = {pwd.getpwuid(os.geteuid()).pw_name, self._folder.account.pw_name}
        self._folder.write(
            fresh / "pg_ident.conf",
            "".join(f"embedded {name} {role}\n" for name in names for role in (OWNER, API_ROLE)),
        )
        fresh.rename(self.data)

    def _accepts(self) -> bool:
        return (
            self._programs.status(
                *("pg_isready", "-q", "-h", str(self.socket_directory), "-p", str(PORT)),
                # With a role that may log in; otherwise each check would add two lines to the log.
                *("-U", OWNER, "-d", "postgres"),
            )
            == 0
        )

    def _state(self) -> str | None:
        """A running server's state from postmaster.pid: starting, ready or stopping; else None."""
        # As in miscadmin.h: LOCK_FILE_LINE_PM_STATUS is 8.
        with contextlib.suppress(OSError, ValueError, IndexError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            process = Path("/proc", str(int(lines[0])))
            if (process / "comm").read_text() == "postgres\n" and os.path.samefile(
                process / "cwd", self.data
            ):
                return lines[7].strip()
        return None

    def _bring_up(self) -> None:
        """Start the server if necessary; returns when it accepts connections. Needs start.lock."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._accepts():
            # A server in recovery whose starter was killed will accept connections; no other will.
            if self._state() != "starting" or time.monotonic() > deadline:
                self._start_server()
                return
            time.sleep(STATE_POLL_SECONDS)

    def _start_server(self) -> None:
        version = (self.data / "PG_VERSION").read_text().strip()
        installed = binaries_version(self._binaries)
        if version != str(installed):
            raise EmbeddedError(
                f"The embedded database in {self.data} was made by PostgreSQL {version}, and"
                f" PostgreSQL {installed} is installed: install postgresql-{version}, or move the"
                " folder away to start with an empty one."
            )
        self._folder.make(self.socket_directory)
        self._stop_server()
        self._bound_log()
        options = {"unix_socket_directories": f"'{self.socket_directory}'", **QUIET_LOG}
        # In its own session, so that signals to this process's group do not interrupt it.
        self._programs.run(
            *("flock", "--shared", "--close", str(self._directory / "users.lock"), "sh", "-c"),
            *(START, "sh", str(self._directory / "keeper.lock")),
            *(str(self._directory / "users.lock"), STOP, *self._stop_arguments()),
            *("-w", "-s", "-t", str(START_TIMEOUT_SECONDS)),
            *("-D", str(self.data), "-l", str(self._log_file)),
            *("-o", " ".join(f"-c {name}={value}" for name, value in options.items())),
            named="pg_ctl",
            start_new_session=True,
        )

    def _stop_server(self) -> None:
        # Ignores the exit status: the server may have been stopped by hand.
        self._programs.status("sh", "-c", STOP, "sh", *self._stop_arguments())

    def _stop_arguments(self) -> list[str]:
        socket = self.socket_directory / f".s.PGSQL.{PORT}"
        pg_ctl = self._binaries / "pg_ctl"
        return [str(pg_ctl), str(self.data), str(socket), str(STOP_TIMEOUT_SECONDS)]

    def _watch(self, stopped: threading.Event) -> None:
        pause = WATCH_SECONDS
        while not stopped.wait(pause):
            pause = WATCH_SECONDS
            try:
                if self._state() is None:
                    self._revive(stopped)
                self._bound_log()
            except (EmbeddedError, OSError) as error:
                pause = FAILED_RESTART_PAUSE_SECONDS
                if not stopped.is_set():
                    log.error("The embedded database could not be restarted: %s", error)

    def _revive(self, stopped: threading.Event) -> None:
        with self._folder.lock("start.lock", fcntl.LOCK_EX):
            if stopped.is_set() or self._accepts():
                return
            log.warning("The embedded database's server has died; restarting it.")
            self._bring_up()

    @property
    def _log_file(self) -> Path:
        return self._directory / "postgresql.log"

    def _bound_log(self) -> None:
        """Keep the last LOG_KEPT_BYTES of a log that exceeds LOG_MAX_BYTES."""
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            if self._log_file.lstat().st_size <= LOG_MAX_BYTES:
                return
            # PostgreSQL appends through its own descriptor, so it continues at the new end.
            flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(self._log_file, flags), "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.seek(-LOG_KEPT_BYTES, os.SEEK_END)
                kept = file.read().partition(b"\n")[2]
                file.truncate(0)
                file.write(kept)

    def _prepare_once(self) -> None:
        if self._prepare is None:
            return
        marker = self._directory / "prepared"
        if marker.exists() and marker.read_text() == self._fingerprint:
            return
        create = f"SELECT 'CREATE DATABASE {DATABASE}' WHERE NOT EXISTS"
        self.run_sql(
            f"{create} (SELECT FROM pg_database WHERE datname = '{DATABASE}')\\gexec",
            database="postgres",
        )
        self._prepare(self)
        self._folder.write(marker, self._fingerprint)
