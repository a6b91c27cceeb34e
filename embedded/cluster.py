"""The embedded default: a private PostgreSQL cluster that starts by itself.

It listens on a Unix socket only and lets in, by peer authentication, nobody but the user it was
made by. Every process that uses it holds a shared lock on a file; the operating system drops the
lock of a process that dies, however it dies. Whoever finds the lock free of others stops the
cluster: the process itself at a normal end, else a keeper that waits for that moment. A process
that serves requests also watches the server, and restarts it when only the server was killed.
"""

import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

PORT = 5432
DATABASE = "app"
OWNER = "owner"
API_ROLE = "webapp"
MINIMUM_VERSION = 14
# Crash recovery takes as long as a gigabyte of WAL takes to replay (max_wal_size).
START_TIMEOUT_SECONDS = 100
# Of a fast stop, then of an immediate one. PostgreSQL itself kills what is left of an immediate
# stop after 5 s (postmaster.c, SIGKILL_CHILDREN_AFTER_SECS).
STOP_TIMEOUT_SECONDS = 8
STATE_POLL_SECONDS = 0.05
WATCH_SECONDS = 0.25
FAILED_RESTART_PAUSE_SECONDS = 5.0
LOG_MAX_BYTES = 1_000_000
LOG_KEPT_BYTES = 100_000
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
"""
# Given on the command line, so that clusters made before follow them too. Statements, their
# parameters, an error's message and its DETAIL all hold what clients sent; the API logs failed
# calls itself. log_min_messages=log leaves out errors of statements and keeps those of the server.
QUIET_LOG = {
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_duration": "off",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_autovacuum_min_duration": "-1",
    "log_checkpoints": "off",
    "log_connections": "off",
    "log_disconnections": "off",
    "log_lock_waits": "off",
    "log_temp_files": "-1",
}

# Arguments: pg_ctl, the data directory, the socket's path, the timeout. Run while no process may
# start the server. It never signals a process that is not of this cluster, although the number
# in postmaster.pid may by now be another program's. A killed server that its parent has not waited
# for (PID 1 of many containers never waits) still counts as alive to PostgreSQL, hence the rm.
STOP = """
pg_ctl=$1 data=$2 socket=$3 timeout=$4
ours() {
    read -r name <"/proc/$1/comm" || return 1
    case $name in postgres | pg_ctl) ;; *) return 1 ;; esac
    [ "/proc/$1/cwd" -ef "$data" ] || tr '\\0' '\\n' <"/proc/$1/cmdline" | grep -Fqx -- "$data"
}
left() { for p in /proc/[0-9]*; do ours "${p#/proc/}" && echo "${p#/proc/}"; done; }
stop() { "$pg_ctl" stop -w -s -t "$timeout" -m "$1" -D "$data"; }

pid=$(sed -n 1p "$data/postmaster.pid")
if [ -n "$pid" ] && ours "$pid"; then
    case $(sed -n 8p "$data/postmaster.pid") in
    starting*) stop immediate ;;
    *) stop fast || stop immediate ;;
    esac
fi
# What never got as far as postmaster.pid, outlived its postmaster, or answers no signal.
tries=100
while left=$(left); [ -n "$left" ]; do
    kill -KILL $left
    tries=$((tries - 1))
    [ $tries -gt 0 ] || exit 1
    sleep 0.05
done
rm -f "$data/postmaster.pid" "$socket" "$socket.lock"
"""

# Arguments: the keeper's lock, the users' lock, STOP, the four of STOP, then those of pg_ctl start.
# Run under a shared lock on the users' lock, which ends when the server is up: whichever process is
# killed meanwhile, there is no server without a keeper. One keeper is enough; a second one waits
# only for the moment in which the first may be at its end.
START = """
keeper=$1 users=$2 stop=$3 pg_ctl=$4
setsid --fork flock --no-fork --wait 2 "$keeper" flock --no-fork "$users" \\
    sh -c "$stop" sh "$4" "$5" "$6" "$7" </dev/null >/dev/null 2>&1
shift 7
exec "$pg_ctl" start "$@"
"""


class EmbeddedError(RuntimeError):
    """The embedded default can't run here; the message is one sentence that says what to do."""


class EmbeddedCluster:
    """A private PostgreSQL cluster in `directory`, shared by every process that names it.

    `start()` makes or adopts it and returns when it takes connections; `prepare(cluster)` is called
    under the start lock whenever `fingerprint` differs from that of the last successful call (at
    the first start, and after the scripts changed). `watch()` restarts the server when it dies.
    `stop()` ends this process's use of it.
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
        # Every process must find it, so the name can be guessed; in /run only root can take it.
        short = Path("/run" if os.geteuid() == 0 else tempfile.gettempdir())
        return short / f"sql-procedures-api-{name}"

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
        """Until stop(), restart the server whenever it dies and bound its log, in a thread.

        For a started cluster and a process that serves requests. Of several processes that watch,
        one restarts it. A failed restart is logged and tried again.
        """
        threading.Thread(
            target=self._watch, args=(self._stopped,), name="embedded-database", daemon=True
        ).start()

    def stop(self) -> None:
        """Let go of the cluster; the last process to do so stops it. Safe to call twice.

        A forked child that inherits a started cluster leaves it to its parent.
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
            # Other users hold it, and this returns at once, or the keeper is at its stopping work.
            fcntl.flock(users, fcntl.LOCK_SH)
        finally:
            os.close(users)

    def _initdb(self) -> None:
        self._report("Making a private PostgreSQL cluster (first start only) …")
        for cut in self._directory.glob("data.new*"):
            shutil.rmtree(cut, ignore_errors=True)
        # A name of its own: an initdb whose caller was killed may still be writing to the last one.
        fresh = Path(tempfile.mkdtemp(prefix="data.new-", dir=self._directory))
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

    def _accepts(self) -> bool:
        return (
            self._status(
                *("pg_isready", "-q", "-h", str(self.socket_directory), "-p", str(PORT)),
                # Without a role that is let in, each look would leave two lines in the log.
                *("-U", OWNER, "-d", "postgres"),
            )
            == 0
        )

    def _state(self) -> str | None:
        """What postmaster.pid says of a living server: starting, ready or stopping; else None."""
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
        """Return when the server takes connections. For the holder of start.lock."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._accepts():
            # One in recovery, whose starter was killed, is waited for; no other will ever answer.
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
                " folder away to begin anew."
            )
        self._make_directory(self.socket_directory)
        self._stop_server()
        self._bound_log()
        options = {"unix_socket_directories": f"'{self.socket_directory}'", **QUIET_LOG}
        # In a session of its own: signals to this process's group must not cut it short.
        self._run(
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
        # Exit status ignored: it may have been stopped by hand.
        self._status("sh", "-c", STOP, "sh", *self._stop_arguments())

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
        with self._lock("start.lock", fcntl.LOCK_EX):
            if stopped.is_set() or self._accepts():
                return
            log.warning("The embedded database's server is gone; restarting it.")
            self._bring_up()

    @property
    def _log_file(self) -> Path:
        return self._directory / "postgresql.log"

    def _bound_log(self) -> None:
        """Cut a log that has grown beyond LOG_MAX_BYTES to its end."""
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            if self._log_file.lstat().st_size <= LOG_MAX_BYTES:
                return
            # PostgreSQL's own descriptor appends, so it goes on where the file ends.
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
        self._write(marker, self._fingerprint)

    @contextlib.contextmanager
    def _lock(self, name: str, mode: int):
        descriptor = self._open_lock(name, mode)
        try:
            yield
        finally:
            os.close(descriptor)

    def _open_lock(self, name: str, mode: int) -> int:
        descriptor = self._open(self._directory / name)
        fcntl.flock(descriptor, mode)
        return descriptor

    def _make_directory(self, path: Path) -> None:
        """Make it and its parents, or take one that is there and belongs to the server's account.

        Refuses a symbolic link, which would lead root to give away what it points at.
        """
        self._make_parents(path.parent)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            raise EmbeddedError(
                f"{path} is a symbolic link: remove it, or set LOCAL_DIR to where it leads."
            )
        if found.st_uid not in (self._account.pw_uid, os.geteuid()):
            raise EmbeddedError(f"{path} belongs to another user: remove it, or set LOCAL_DIR.")
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, 0o700)
            self._give(descriptor)
        finally:
            os.close(descriptor)

    def _make_parents(self, path: Path) -> None:
        for parent in reversed([path, *path.parents]):
            if not parent.exists():
                parent.mkdir(exist_ok=True)
                if os.geteuid() == 0:
                    # Whatever root's umask is, the server's account must pass.
                    parent.chmod(0o755)

    def _write(self, path: Path, text: str) -> None:
        with os.fdopen(self._open(path), "w") as file:
            file.truncate(0)
            file.write(text)

    def _open(self, path: Path) -> int:
        # The server's account could put a link in the place of any file of its folder.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        self._give(descriptor)
        return descriptor

    def _give(self, descriptor: int) -> None:
        if os.geteuid() == 0:
            os.fchown(descriptor, self._account.pw_uid, self._account.pw_gid)

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
            [self._path_of(program), *arguments],
            **self._as_account(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        ).returncode

    def _run(
        self, program: str, *arguments: str, named: str = "", start_new_session: bool = False
    ) -> None:
        # To a file and not to a pipe: the server that pg_ctl starts would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [self._path_of(program), *arguments],
                **self._as_account(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=start_new_session,
                check=False,
            )
            if done.returncode:
                output.seek(0)
                said = output.read().decode(errors="replace").strip()
                raise EmbeddedError(
                    f"{named or program} failed for the embedded database in {self._directory}:"
                    f" {said}"
                )

    def _path_of(self, program: str) -> str:
        own = self._binaries / program
        return str(own) if own.exists() else program


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
