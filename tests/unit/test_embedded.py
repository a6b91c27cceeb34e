"""The embedded default on real clusters: shared, crash-proof, and stopped after its last user."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embedded import EmbeddedError, installation
from embedded import cluster as embedded
from embedded.cluster import LOG_MAX_BYTES, LONGEST_SOCKET_DIRECTORY, EmbeddedCluster
from embedded.folder import unprivileged_account
from settings import ROOT

PATIENCE_SECONDS = 30
# Uses the cluster of argv[1] until it reads a line; prints "ready" when it has started.
USER = """
import signal, sys
from pathlib import Path
from embedded.cluster import EmbeddedCluster

# A job in the background of a script inherits it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def prepare(cluster):
    with open(cluster.directory / "prepared.log", "a") as log:
        print("prepared", file=log)

cluster = EmbeddedCluster(Path(sys.argv[1]), prepare=prepare, fingerprint="a user")
cluster.start()
print("ready", flush=True)
sys.stdin.readline()
cluster.stop()
"""
# The same, forked: the child prints its process id; the parent continues or ends at once.
FORKED = """
import os, sys
from pathlib import Path
from embedded.cluster import EmbeddedCluster

cluster = EmbeddedCluster(Path(sys.argv[1]))
cluster.start()
child = os.fork()
if child == 0:
    cluster.stop()
    cluster.stop()
    if sys.argv[2] == "child ends":
        os._exit(0)
    print(os.getpid(), flush=True)
    sys.stdin.readline()
    os._exit(0)
if sys.argv[2] == "parent ends":
    os._exit(0)
os.waitpid(child, 0)
print("ready", flush=True)
sys.stdin.readline()
cluster.stop()
"""


def table(cluster):
    cluster.run_sql("CREATE TABLE IF NOT EXISTS kept (n integer)")


@pytest.fixture(scope="module")
def model(run_folder):
    """The folder of a stopped cluster with a table: initdb takes a while, so there is one."""
    cluster = EmbeddedCluster(
        run_folder / f"model-{os.getpid()}", prepare=table, fingerprint="a table"
    )
    cluster.start()
    # kill -9 loses nothing that the operating system was given; only a power cut would.
    cluster.run_sql("ALTER SYSTEM SET fsync = off")
    cluster.stop()
    yield cluster.directory
    shutil.rmtree(cluster.directory)


@pytest.fixture
def cluster(model):
    """A cluster made before, not started; nothing of it runs when the test ends."""
    own = EmbeddedCluster(model, prepare=table, fingerprint="a table")
    yield own
    own.stop()
    until(lambda: not processes_of(model))


@pytest.fixture
def copy(folder, model):
    """A cluster of this test's own, made from the model, not started."""
    subprocess.run(["cp", "--archive", str(model), str(folder / "copy")], check=True)
    own = EmbeddedCluster(folder / "copy", prepare=table, fingerprint="a table")
    yield own
    own.stop()
    until(lambda: not processes_of(own.directory))


@pytest.fixture
def recovery(copy):
    """Holds a start of `copy` in recovery until called, or the test's end."""
    hold = copy.directory / "hold"
    hold.touch()
    os.chmod(copy.directory, 0o711)
    (copy.data / "recovery.signal").touch()
    shutil.chown(copy.data / "recovery.signal", unprivileged_account().pw_uid)
    with (copy.data / "postgresql.auto.conf").open("a") as settings:
        print(f"restore_command = 'while [ -e {hold} ]; do sleep 0.05; done; false'", file=settings)

    def end():
        hold.unlink(missing_ok=True)

    yield end
    end()


@pytest.fixture
def use():
    """Starts programs that use a cluster; what is left of them at the end is killed."""
    started = []

    def start(directory, *arguments, program=USER):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(directory), *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def ready(process):
    said = process.stdout.readline().strip()
    assert said
    return said


def done(process):
    """Have a user end as it should."""
    process.stdin.write("\n")
    process.stdin.close()
    assert process.wait(PATIENCE_SECONDS) == 0


def until(holds):
    """Return as soon as `holds()`; a failure if it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def processes_of(directory):
    """The command lines that name `directory`: the postmaster and its keeper."""
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"{directory}/" in line:
            lines.append(line)
    return lines


def postmaster(cluster):
    return int((cluster.data / "postmaster.pid").read_text().split()[0])


def recovers(cluster):
    """Whether the server of `cluster` is in recovery: the number of the process at it, or None."""
    if not (cluster.data / "postmaster.pid").exists():
        return None
    children = Path(f"/proc/{postmaster(cluster)}/task/{postmaster(cluster)}/children").read_text()
    for child in children.split():
        if b"startup" in Path("/proc", child, "cmdline").read_bytes():
            return int(child)
    return None


def when_it_recovers(cluster):
    def begun():
        try:
            return recovers(cluster)
        except (OSError, IndexError, ValueError):
            return None

    until(begun)
    return begun()


def shared_locks(cluster):
    """How many processes hold the users' lock."""
    place = f":{(cluster.directory / 'users.lock').stat().st_ino} "
    locks = Path("/proc/locks").read_text().splitlines()
    return sum(place in lock and " READ " in lock and "->" not in lock for lock in locks)


def lines_of_log(cluster):
    return (cluster.directory / "postgresql.log").read_text(errors="replace")


def fill(cluster, count):
    cluster.run_sql(f"TRUNCATE kept; INSERT INTO kept SELECT generate_series(1, {count})")


def rows(cluster):
    return int(cluster.run_sql("SELECT count(*) FROM kept"))


def answers(cluster):
    return cluster.run_sql("SELECT 'here'") == "here\n"


def test_a_first_start_makes_it_and_a_stop_leaves_nothing_running(folder, use):
    user = use(folder / "fresh")
    ready(user)
    assert len(processes_of(folder / "fresh")) == 2
    done(user)
    until(lambda: not processes_of(folder / "fresh"))


def test_what_was_written_is_there_after_a_stop_and_a_start(cluster):
    cluster.start()
    fill(cluster, 1)
    cluster.stop()
    cluster.start()
    assert rows(cluster) == 1


def test_start_and_stop_may_be_called_twice(cluster):
    cluster.start()
    cluster.start()
    assert answers(cluster)
    cluster.stop()
    cluster.stop()
    until(lambda: not processes_of(cluster.directory))


def test_it_has_no_tcp_port_and_its_socket_folder_is_private(cluster):
    cluster.start()
    assert cluster.run_sql("SHOW listen_addresses").strip() == ""
    assert cluster.socket_directory.stat().st_mode & 0o077 == 0
    assert cluster.data.stat().st_mode & 0o077 == 0


def test_postgresql_never_runs_as_root(cluster):
    cluster.start()
    owner = Path("/proc", str(postmaster(cluster))).stat().st_uid
    assert owner != 0
    assert pwd.getpwuid(owner).pw_uid == cluster.data.stat().st_uid


def test_the_apis_role_logs_in_by_peer_authentication_without_password(cluster):
    cluster.start()
    cluster.run_sql("CREATE ROLE webapp LOGIN")
    psql = [*cluster.psql(role="webapp"), "-w", "-A", "-t", "-c", "SELECT current_user"]
    assert subprocess.check_output(psql, text=True).strip() == "webapp"
    assert "PWD" not in cluster.connection_string()


def test_two_processes_share_it_and_the_last_one_out_stops_it(cluster, use):
    first, second = use(cluster.directory), use(cluster.directory)
    ready(first)
    ready(second)
    before = postmaster(cluster)
    done(first)
    assert postmaster(cluster) == before
    assert processes_of(cluster.directory)
    done(second)
    until(lambda: not processes_of(cluster.directory))


def test_of_two_concurrent_starts_one_creates_and_prepares_it(folder, use):
    directory = folder / "fresh"
    users = [use(directory), use(directory)]
    assert [ready(user) for user in users] == ["ready", "ready"]
    assert (directory / "prepared.log").read_text() == "prepared\n"
    for user in users:
        done(user)


def test_a_user_that_is_killed_leaves_nothing_running_and_loses_nothing(cluster, use):
    user = use(cluster.directory)
    ready(user)
    cluster.start()
    fill(cluster, 1)
    cluster.stop()
    user.kill()
    until(lambda: not processes_of(cluster.directory))
    cluster.start()
    assert rows(cluster) == 1


def test_a_user_that_is_killed_does_not_take_it_from_another(cluster, use):
    user = use(cluster.directory)
    ready(user)
    cluster.start()
    user.kill()
    user.wait()
    assert answers(cluster)


def test_after_kill_9_of_postgresql_the_next_start_recovers_every_row(cluster):
    cluster.start()
    fill(cluster, 100)
    os.kill(postmaster(cluster), signal.SIGKILL)
    cluster.stop()
    cluster.start()
    assert rows(cluster) == 100


def test_after_kill_9_of_both_the_next_start_recovers_every_row(cluster, use):
    user = use(cluster.directory)
    ready(user)
    cluster.start()
    fill(cluster, 100)
    cluster.stop()
    os.kill(postmaster(cluster), signal.SIGKILL)
    user.kill()
    user.wait()
    cluster.start()
    assert rows(cluster) == 100


def test_a_second_process_revives_a_postgresql_that_was_killed_under_the_first(cluster, use):
    cluster.start()
    os.kill(postmaster(cluster), signal.SIGKILL)
    user = use(cluster.directory)
    ready(user)
    assert answers(cluster)
    done(user)


def test_a_stop_during_a_recovery_that_hangs_is_bounded_and_the_next_start_answers(
    copy, recovery, use
):
    user = use(copy.directory)
    os.kill(when_it_recovers(copy), signal.SIGSTOP)
    user.send_signal(signal.SIGINT)
    user.wait(PATIENCE_SECONDS)
    until(lambda: not processes_of(copy.directory))
    recovery()
    copy.start()
    assert answers(copy)


def test_a_start_that_is_killed_during_recovery_leaves_nothing_running(copy, recovery, use):
    user = use(copy.directory)
    when_it_recovers(copy)
    user.kill()
    recovery()
    until(lambda: not processes_of(copy.directory))
    copy.start()
    assert answers(copy)


def test_a_start_waits_for_a_recovery_whose_starter_was_killed(copy, recovery, use):
    user = use(copy.directory)
    when_it_recovers(copy)
    before = postmaster(copy)
    user.kill()
    user.wait()
    second = use(copy.directory)
    # The starter's pg_ctl has the first.
    until(lambda: shared_locks(copy) == 2)
    recovery()
    ready(second)
    assert postmaster(copy) == before
    done(second)


def test_a_start_replaces_a_server_that_does_not_respond(cluster, use, monkeypatch):
    monkeypatch.setattr(embedded, "STOP_TIMEOUT_SECONDS", 1)
    user = use(cluster.directory)
    ready(user)
    os.kill(postmaster(cluster), signal.SIGSTOP)
    cluster.start()
    assert answers(cluster)
    done(user)


def test_a_start_ignores_a_reused_process_id_and_does_not_signal_it(cluster):
    cluster.start()
    cluster.stop()
    until(lambda: not processes_of(cluster.directory))
    account = unprivileged_account()
    as_account = {"user": account.pw_uid} if os.geteuid() == 0 else {}
    other = subprocess.Popen(["sleep", "60"], **as_account)
    try:
        left = cluster.data / "postmaster.pid"
        left.write_text(f"{other.pid}\n{cluster.data}\n1\n5432\n\n\n\nready\n")
        shutil.chown(left, account.pw_uid)
        cluster.start()
        assert answers(cluster)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_watched_server_that_is_killed_is_restarted_by_one_of_its_users(cluster, caplog):
    second = EmbeddedCluster(cluster.directory)
    for user in (cluster, second):
        user.start()
        user.watch()
    fill(cluster, 100)
    first = postmaster(cluster)
    os.kill(first, signal.SIGKILL)
    until(lambda: cluster._state() == "ready" and postmaster(cluster) != first)
    assert rows(cluster) == 100
    second.stop()
    assert rows(cluster) == 100
    assert caplog.text.count("restarting it") == 1
    # The first keeper still waits, so a second one gives up.
    until(lambda: len(processes_of(cluster.directory)) == 2)


def test_a_watched_server_stays_stopped_after_the_last_stop(cluster):
    cluster.start()
    cluster.watch()
    cluster.stop()
    until(lambda: not processes_of(cluster.directory))
    time.sleep(2 * embedded.WATCH_SECONDS)
    assert not processes_of(cluster.directory)


def test_the_log_has_no_text_of_a_failed_statement(cluster):
    cluster.start()
    cluster.run_sql("CREATE TABLE IF NOT EXISTS named (name text UNIQUE)")
    marked = "INSERT INTO named VALUES ('marked-by-test')"
    cluster.run_sql(f"TRUNCATE named; {marked}")
    for statement in (
        marked,
        "SELECT 'marked-by-test'::int",
        "SELECT pg_sleep(5), 'marked-by-test'",
    ):
        with pytest.raises(EmbeddedError):
            cluster.run_sql(f"SET statement_timeout = '50ms'; {statement}")
    assert "ready to accept connections" in lines_of_log(cluster)
    assert "marked-by-test" not in lines_of_log(cluster)


def test_the_log_has_no_text_of_a_statement_whose_process_was_killed(cluster):
    cluster.start()
    with pytest.raises(EmbeddedError):
        cluster.run_sql("SELECT 'marked-by-test', pg_terminate_backend(pg_backend_pid())")
    client = subprocess.Popen(
        [*cluster.psql(), "-c", "SELECT 'marked-by-test', pg_sleep(60)"], stderr=subprocess.DEVNULL
    )
    sleeping = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    until(lambda: cluster.run_sql(sleeping))
    os.kill(int(cluster.run_sql(sleeping)), signal.SIGKILL)
    client.wait(PATIENCE_SECONDS)
    until(lambda: "terminated by signal 9" in lines_of_log(cluster))
    assert "marked-by-test" not in lines_of_log(cluster)
    until(cluster._accepts)


def test_the_log_is_bounded_at_a_start_and_while_the_server_runs(cluster):
    log = cluster.directory / "postgresql.log"
    for start in (cluster.start, cluster.watch):
        with log.open("ab") as file:
            file.write(b"a line of a hundred letters\n" * (LOG_MAX_BYTES // 20))
        start()
        until(lambda: log.stat().st_size < LOG_MAX_BYTES)
    first = postmaster(cluster)
    os.kill(first, signal.SIGKILL)
    until(lambda: cluster._state() == "ready" and postmaster(cluster) != first)
    assert "automatic recovery in progress" in lines_of_log(cluster)
    assert log.stat().st_size < LOG_MAX_BYTES


def test_a_forked_child_leaves_it_to_its_parent(cluster, use):
    parent = use(cluster.directory, "child ends", program=FORKED)
    assert ready(parent) == "ready"
    assert processes_of(cluster.directory)
    done(parent)
    until(lambda: not processes_of(cluster.directory))


def test_a_forked_child_keeps_it_when_its_parent_is_gone(cluster, use):
    parent = use(cluster.directory, "parent ends", program=FORKED)
    child = int(ready(parent))
    parent.wait(PATIENCE_SECONDS)
    assert processes_of(cluster.directory)
    os.kill(child, signal.SIGKILL)
    until(lambda: not processes_of(cluster.directory))


def test_it_is_prepared_again_when_the_fingerprint_has_changed_and_not_before(cluster):
    calls = []

    def again(fingerprint):
        own = EmbeddedCluster(cluster.directory, prepare=calls.append, fingerprint=fingerprint)
        own.start()
        own.stop()

    again("one")
    calls.clear()
    again("one")
    assert len(calls) == 0
    again("another")
    again("another")
    assert len(calls) == 1


def test_a_failed_preparation_stops_the_start_and_is_retried(cluster):
    def fail(_):
        raise EmbeddedError("A script failed.")

    failing = EmbeddedCluster(cluster.directory, prepare=fail, fingerprint="failing")
    for _ in range(2):
        with pytest.raises(EmbeddedError, match="A script failed"):
            failing.start()
        until(lambda: not processes_of(cluster.directory))
    cluster.start()
    assert answers(cluster)


def test_an_interrupted_first_start_is_repeated(folder, use):
    left = folder / "fresh" / "data.new"
    left.mkdir(parents=True)
    (left / "PG_VERSION").write_text("half")
    user = use(folder / "fresh")
    ready(user)
    done(user)


def test_a_failed_script_raises_postgresqls_message(cluster):
    cluster.start()
    with pytest.raises(EmbeddedError, match='relation "nothing" does not exist'):
        cluster.run_sql("SELECT * FROM nothing")


def test_a_path_too_long_for_a_socket_gets_a_short_one(folder, model):
    deep = folder.joinpath("d" * 60, "e" * 60)
    deep.mkdir(parents=True)
    subprocess.run(["cp", "--archive", str(model), str(deep / "c")], check=True)
    own = EmbeddedCluster(deep / "c", prepare=table, fingerprint="a table")
    assert len(os.fsencode(deep / "c" / "socket")) > LONGEST_SOCKET_DIRECTORY
    own.start()
    try:
        assert answers(own)
        assert len(os.fsencode(own.socket_directory)) <= LONGEST_SOCKET_DIRECTORY
    finally:
        own.stop()
        shutil.rmtree(own.socket_directory)


def test_a_link_in_the_place_of_a_folder_is_refused_and_gives_nothing_away(folder, tmp_path):
    deep = folder.joinpath("d" * 60, "e" * 60)
    deep.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.mkdir()
    before = victim.stat()
    own = EmbeddedCluster(deep / "c")
    assert own.socket_directory.parent != deep / "c"
    for link in (own.directory, own.socket_directory):
        link.symlink_to(victim)
        try:
            with pytest.raises(EmbeddedError, match="is a symbolic link"):
                own._folder.make(link)
        finally:
            link.unlink()
    assert (victim.stat().st_uid, victim.stat().st_mode) == (before.st_uid, before.st_mode)


def test_a_link_in_the_place_of_a_file_gives_nothing_away(cluster, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    before = victim.stat().st_uid
    cluster.start()
    cluster.stop()
    for name in ("start.lock", "users.lock", "prepared"):
        (cluster.directory / name).unlink()
        (cluster.directory / name).symlink_to(victim)
        try:
            with pytest.raises(OSError, match="symbolic"):
                cluster.start()
        finally:
            (cluster.directory / name).unlink()
    assert victim.read_text() == "untouched"
    assert victim.stat().st_uid == before


def test_the_longest_socket_directory_still_holds_postgresqls_socket(tmp_path):
    name = ".s.PGSQL.5432"
    longest = "x" * (LONGEST_SOCKET_DIRECTORY + 1 + len(name))
    with socket.socket(socket.AF_UNIX) as opened, pytest.raises(FileNotFoundError):
        # Not "AF_UNIX path too long", which is an OSError of another kind.
        opened.connect(f"/{longest[1:]}")


def test_without_postgresql_one_sentence_names_the_package_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(installation.shutil, "which", lambda _: None)
    monkeypatch.setattr(installation, "Path", lambda path: tmp_path / path.lstrip("/"))
    with pytest.raises(EmbeddedError, match="apt-get install postgresql odbc-postgresql"):
        installation.find_binaries()


def test_a_cluster_of_another_version_is_refused_with_both_numbers(cluster):
    installed = installation.binaries_version(installation.find_binaries())
    (cluster.data / "PG_VERSION").write_text("9\n")
    try:
        with pytest.raises(EmbeddedError, match=f"PostgreSQL 9.*PostgreSQL {installed} "):
            cluster.start()
        assert not processes_of(cluster.directory)
    finally:
        (cluster.data / "PG_VERSION").write_text(f"{installed}\n")
    cluster.start()
    assert answers(cluster)


def test_a_folder_of_another_user_is_refused(cluster, monkeypatch):
    account = pwd.struct_passwd(("nobody", "x", 54_321, 54_321, "", "/", "/bin/false"))
    monkeypatch.setattr(cluster._folder, "account", account)
    monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    with pytest.raises(EmbeddedError, match="belongs to another user"):
        cluster.start()


def test_below_a_folder_closed_to_other_accounts_it_is_made_where_postgresql_gets_to(
    folder, model, use
):
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    own = EmbeddedCluster(closed / "cluster", prepare=table, fingerprint="a table")
    moved = own.directory != closed / "cluster"
    assert moved == (os.geteuid() == 0)
    own.directory.parent.mkdir(mode=0o755, exist_ok=True)
    subprocess.run(["cp", "--archive", str(model), str(own.directory)], check=True)
    try:
        own.start()
        assert answers(own)
        user = use(closed / "cluster")
        ready(user)
        own.stop()
        assert len(processes_of(own.directory)) == 2
        done(user)
        until(lambda: not processes_of(own.directory))
    finally:
        own.stop()
        shutil.rmtree(own.directory)


def test_folders_on_the_way_to_it_are_passable_whatever_the_umask(folder):
    before = os.umask(0o077)
    try:
        own = EmbeddedCluster(folder / "new" / "below" / "cluster")
        own._folder.make()
    finally:
        os.umask(before)
    passable = 0o755 if os.geteuid() == 0 else 0o700
    assert (folder / "new" / "below").stat().st_mode & 0o777 == passable
    assert own.directory.stat().st_mode & 0o777 == 0o700
