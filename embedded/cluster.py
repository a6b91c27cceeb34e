"""The embedded default: a private PostgreSQL cluster that starts by itself.

It listens on a Unix socket only and lets in, by peer authentication, nobody but the user it was
made by. Every process that uses it holds a shared lock on a file; the operating system drops the
lock of a process that dies, however it dies. Whoever finds the lock free of others stops the
cluster: the process itself at a normal end, else a keeper that waits for that moment.
"""

import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

PORT = 5432
DATABASE = "app"
OWNER = "owner"
API_ROLE = "webapp"
MINIMUM_VERSION = 14
START_TIMEOUT_SECONDS = 60
# sun_path holds 108 bytes with its final zero (unix(7)); the socket's name takes the last 14.
LONGEST_SOCKET_DIRECTORY = 92

CONFIGURATION = f"""
listen_addresses = ''
port = {PORT}
max_connections = 200
shared_buffers = 256MB
timezone = 'UTC'
log_timezone = 'UTC'
logging_collector = off
log_min_duration_statement = -1
"""


class EmbeddedError(RuntimeError):
    """The embedded default can't run here; the message is one sentence that says what to do."""


class EmbeddedCluster:
    """A private PostgreSQL cluster in `directory`, shared by every process that names it.

    `start()` makes or adopts it and returns when it takes connections; `prepare(cluster)` is called
    under the start lock whenever `fingerprint` differs from that of the last successful call (at
    the first start, and after the scripts changed). `stop()` ends this process's use of it.
    Raises EmbeddedError with a sentence for the person at the terminal.
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
        self._account = unprivileged_account()
        self._directory = reachable_directory(directory.absolute(), self._account)
        self._prepare = prepare
        self._fingerprint = fingerprint
        self._report = report
        self._users: int | None = None
        self._pid: int | None = None

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
        return Path(tempfile.gettempdir()) / f"sql-procedures-api-{name}"

    def psql(self, *, role: str = OWNER, database: str = DATABASE) -> list[str]:
        """The argv prefix of a psql that is connected as `role`."""
        return [
            *(str(self._binaries / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"),
            *("-h", str(self.socket_directory), "-p", str(PORT), "-U", role, "-d", database),
        ]

    def run_sql(self, text: str, *, database: str = DATABASE) -> str:
        """Run a psql script as the owner; what it printed, unaligned. Stops at the first error."""
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
            said = done.stderr.decode(errors="replace").strip()
            raise EmbeddedError(f"A script failed on the embedded database: {said}")
        return done.stdout.decode()

    def conninfo(self, *, role: str = OWNER) -> str:
        """libpq's connection string for `role`."""
        # Imported here: only loading trips needs it, and it would slow down every start.
        from psycopg.conninfo import make_conninfo

        return make_conninfo(host=str(self.socket_directory), port=PORT, user=role, dbname=DATABASE)

    def connection_string(self, *, role: str = API_ROLE) -> str:
        """An ODBC connection string without a driver, for `role`."""
        return f"SERVER={self.socket_directory};PORT={PORT};DATABASE={DATABASE};UID={role}"

    def start(self) -> None:
        if self._pid == os.getpid():
            return
        self._make_directory(self._directory)
        with self._lock("start.lock", fcntl.LOCK_EX):
            # Taken before the look at the server: a keeper that is stopping it now is waited for.
            self._users = self._open_lock("users.lock", fcntl.LOCK_SH)
            self._pid = os.getpid()
            try:
                if not self.data.exists():
                    self._initdb()
                if not self._running():
                    self._start_server()
                    self._start_keeper()
                self._prepare_once()
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Let go of the cluster; the last process to do so stops it. Safe to call twice.

        A forked child that inherits a started cluster leaves it to its parent.
        """
        if self._users is None or self._pid != os.getpid():
            return
        users, self._users, self._pid = self._users, None, None
        fcntl.flock(users, fcntl.LOCK_UN)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._stop_server()
        except BlockingIOError:
            # Other users hold it, and this returns at once, or the keeper is at its stopping work.
            fcntl.flock(users, fcntl.LOCK_SH)
        finally:
            os.close(users)

    def _initdb(self) -> None:
        self._report("Making a private PostgreSQL cluster (first start only) …")
        fresh = self._directory / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        self._make_directory(fresh)
        self._run(
            *("initdb", "-D", str(fresh), "-U", OWNER, "-A", "peer", "-E", "UTF8"),
            *("--locale", "C.UTF-8", "--no-instructions"),
        )
        self._write(fresh / "postgresql.auto.conf", CONFIGURATION)
        self._write(fresh / "pg_hba.conf", "local all all peer map=embedded\n")
        names = {pwd.getpwuid(os.geteuid()).pw_name, self._account.pw_name}
        self._write(
            fresh / "pg_ident.conf",
            "".join(f"embedded {name} {role}\n" for name in names for role in (OWNER, API_ROLE)),
        )
        fresh.rename(self.data)

    def _running(self) -> bool:
        return self._status("pg_ctl", "status", "-D", str(self.data)) == 0 and self._accepts()

    def _accepts(self) -> bool:
        return (
            self._status(
                *("pg_isready", "-q", "-h", str(self.socket_directory), "-p", str(PORT)),
            )
            == 0
        )

    def _start_server(self) -> None:
        version = (self.data / "PG_VERSION").read_text().strip()
        installed = binaries_version(self._binaries)
        if version != str(installed):
            raise EmbeddedError(
                f"The embedded database in {self.data} was made by PostgreSQL {version}, and"
                f" PostgreSQL {installed} is installed: install postgresql-{version}, or move the"
                " folder away to begin anew."
            )
        self._make_directory(self.socket_directory)
        log_file = self._directory / "postgresql.log"
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                self._run(
                    *("pg_ctl", "start", "-w", "-s", "-t", str(START_TIMEOUT_SECONDS)),
                    *("-D", str(self.data), "-l", str(log_file)),
                    *("-o", f"-c unix_socket_directories='{self.socket_directory}'"),
                )
                return
            except EmbeddedError:
                # After kill -9 the orphaned backends hold the shared memory for a moment.
                if time.monotonic() > deadline or not self._orphans(log_file):
                    raise
                time.sleep(0.1)

    @staticmethod
    def _orphans(log_file: Path) -> bool:
        tail = log_file.read_text(errors="replace")[-2000:]
        return "pre-existing shared memory block" in tail or "Is another postmaster" in tail

    def _stop_server(self) -> None:
        # Exit status ignored: it may have been stopped by hand.
        self._status("pg_ctl", "stop", "-w", "-s", "-m", "fast", "-D", str(self.data))

    def _start_keeper(self) -> None:
        # Forked away for good, so that it outlives a group of processes that is killed together.
        subprocess.run(
            [
                *("setsid", "--fork", "flock", "--exclusive"),
                *(str(self._directory / "users.lock"), str(self._binaries / "pg_ctl")),
                *("stop", "-w", "-s", "-m", "fast", "-D", str(self.data)),
            ],
            **self._as_account(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )

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
        marker.write_text(self._fingerprint)

    @contextlib.contextmanager
    def _lock(self, name: str, mode: int):
        descriptor = self._open_lock(name, mode)
        try:
            yield
        finally:
            os.close(descriptor)

    def _open_lock(self, name: str, mode: int) -> int:
        path = self._directory / name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._give(path)
        fcntl.flock(descriptor, mode)
        return descriptor

    def _make_directory(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_uid not in (self._account.pw_uid, os.geteuid()):
            raise EmbeddedError(f"{path} belongs to another user: remove it, or set LOCAL_DIR.")
        self._give(path)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        self._give(path)

    def _give(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _as_account(self) -> dict:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        # A terminal's language would choose the language that the server logs in.
        options = {"env": {**environment, "LC_ALL": "C.UTF-8"}, "cwd": self._directory}
        if os.geteuid() == 0:
            options |= {
                "user": self._account.pw_uid,
                "group": self._account.pw_gid,
                "extra_groups": [],
            }
        return options

    def _status(self, program: str, *arguments: str) -> int:
        return subprocess.run(
            [str(self._binaries / program), *arguments],
            **self._as_account(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        ).returncode

    def _run(self, program: str, *arguments: str) -> None:
        # To a file and not to a pipe: the server that pg_ctl starts would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [str(self._binaries / program), *arguments],
                **self._as_account(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if done.returncode:
                output.seek(0)
                said = output.read().decode(errors="replace").strip()
                raise EmbeddedError(
                    f"{program} failed for the embedded database in {self._directory}: {said}"
                )


def find_binaries() -> Path:
    """The folder of the newest PostgreSQL server installed; EmbeddedError where there is none."""
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
            " SQLAZURECONNSTR_WWIF or POSTGRESQLCONNSTR_WWIF to use a database of your own."
        )
    return max(usable)[1]


@functools.cache
def binaries_version(folder: Path) -> int:
    """The major version of the PostgreSQL server in `folder`."""
    printed = subprocess.run(
        [str(folder / "postgres"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    return int(printed.split()[2].split(".")[0].rstrip("abcdefghijklmnopqrstuvwxyz"))


def unprivileged_account() -> pwd.struct_passwd:
    """Who runs the server: this user, or as root (whom PostgreSQL refuses) another."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedError("PostgreSQL refuses to run as root, and there is no user postgres.")


def reachable_directory(directory: Path, account: pwd.struct_passwd) -> Path:
    """`directory`, or as root where `account` can't enter its parents a folder under /var/lib."""
    if os.geteuid() != 0 or account.pw_uid == 0:
        return directory
    for parent in directory.parents:
        if parent.exists() and not parent.stat().st_mode & 0o001:
            name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
            return Path("/var/lib") / "sql-procedures-api" / name
    return directory
