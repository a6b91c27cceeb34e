"""Runs PostgreSQL's programs, and the scripts that start and stop it, as the server's account."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embedded import EmbeddedError
from embedded.folder import ServerFolder

# Arguments: pg_ctl, the data directory, the socket's path, the timeout. To be run while no process
# may start the server. It never signals a process of another cluster, although the number in
# postmaster.pid may meanwhile belong to another program. PostgreSQL takes a killed server that its
# parent has not waited for (PID 1 of many containers never waits) for alive, hence the rm.
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
# Processes that never wrote postmaster.pid, outlived their postmaster, or ignore signals.
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
# To be run under a shared lock on the users' lock, which ends when the server is up, so that no
# server exists without a keeper, whichever process is killed. One keeper is enough; a second one
# waits in case the first is about to end.
START = """
keeper=$1 users=$2 stop=$3 pg_ctl=$4
setsid --fork flock --no-fork --wait 2 "$keeper" flock --no-fork "$users" \\
    sh -c "$stop" sh "$4" "$5" "$6" "$7" </dev/null >/dev/null 2>&1
shift 7
exec "$pg_ctl" start "$@"
"""


class Programs:
    """PostgreSQL's programs in the folder `binaries`, for the cluster in `folder`."""

    def __init__(self, binaries: Path, folder: ServerFolder) -> None:
        self._binaries = binaries
        self._folder = folder

    def _as_account(self) -> dict[str, Any]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        # Otherwise the server would log in the terminal's language.
        options: dict[str, Any] = {
            "env": {**environment, "LC_ALL": "C.UTF-8"},
            "cwd": self._folder.path,
        }
        if os.geteuid() == 0:
            options |= {
                "user": self._folder.account.pw_uid,
                "group": self._folder.account.pw_gid,
                "extra_groups": [],
            }
        return options

    def status(self, program: str, *arguments: str) -> int:
        """Run a program without output; returns its exit status."""
        return subprocess.run(
            [self._path_of(program), *arguments],
            **self._as_account(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        ).returncode

    def run(
        self, program: str, *arguments: str, named: str = "", start_new_session: bool = False
    ) -> None:
        """Run a program. Raises EmbeddedError with its output if it fails.

        named: the program's name in that message, if it differs.
        """
        # Output goes to a file, because the server that pg_ctl starts would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            with _on_the_cpus_of_the_parent():
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
                printed = output.read().decode(errors="replace").strip()
                raise EmbeddedError(
                    f"{named or program} failed for the embedded database in"
                    f" {self._folder.path}: {printed}"
                )

    def _path_of(self, program: str) -> str:
        own = self._binaries / program
        return str(own) if own.exists() else program


@contextlib.contextmanager
def _on_the_cpus_of_the_parent() -> Iterator[None]:
    """Let this thread use the CPUs of the parent process, gunicorn's arbiter: a worker may keep to
    one CPU (serving/cores.py), and all of PostgreSQL would inherit that."""
    own: set[int] = set()
    with contextlib.suppress(OSError, AttributeError):  # no such call, or forbidden
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, own | os.sched_getaffinity(os.getppid()))
    try:
        yield
    finally:
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setaffinity(0, own)
