"""Hot standbys of a cluster, made by pg_basebackup, that replay with a delay of their own."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

from embedded.cluster import OWNER, PORT, EmbeddedCluster


class Standby(EmbeddedCluster):
    """A physical copy of `primary` that follows it.

    name: its application_name, for synchronous_standby_names. delay: recovery_min_apply_delay.
    """

    def __init__(
        self, directory: Path, primary: EmbeddedCluster, *, name: str, delay: str = "0"
    ) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        super().__init__(directory)
        self._primary = primary
        self._name = name
        self._delay = delay

    @property
    def postmaster(self) -> int:
        """Its process id."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def kill(self) -> None:
        """kill -9 of its server."""
        os.kill(self.postmaster, signal.SIGKILL)

    def promote(self) -> None:
        """Make it a primary; returns when it accepts writes."""
        self._programs.run("pg_ctl", "promote", "-w", "-s", "-D", str(self.data))

    def __enter__(self) -> Standby:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _initdb(self) -> None:
        source = ("-h", str(self._primary.socket_directory), "-p", str(PORT), "-U", OWNER)
        fresh = Path(tempfile.mkdtemp(prefix="data.new-", dir=self._directory))
        self._folder.make(fresh)
        # --checkpoint=fast: without it the primary takes minutes to write its checkpoint.
        self._programs.run(
            "pg_basebackup", *source, "-D", str(fresh), "-X", "stream", "--checkpoint=fast"
        )
        copied = fresh / "postgresql.auto.conf"
        conninfo = f"host={source[1]} port={PORT} user={OWNER} application_name={self._name}"
        self._folder.write(
            copied,
            copied.read_text()
            + f"primary_conninfo = '{conninfo}'\n"
            + f"recovery_min_apply_delay = '{self._delay}'\n"
            # A read that conflicts with replay is cancelled at once, not after 30 s.
            + "max_standby_streaming_delay = '0'\nsynchronous_standby_names = ''\n",
        )
        self._folder.write(fresh / "standby.signal", "")
        fresh.rename(self.data)


def allow_standbys(cluster: EmbeddedCluster) -> None:
    """Let standbys connect to a cluster that runs."""
    rules = cluster.data / "pg_hba.conf"
    with rules.open("a") as file:
        file.write("local replication all peer map=embedded\n")
    cluster.run_sql("SELECT pg_reload_conf()")


def await_standbys(cluster: EmbeddedCluster, *names: str) -> None:
    """Commit on the primary only what one of the standbys has on its disk."""
    listed = ", ".join(names)
    cluster.run_sql(f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({listed})'")
    cluster.run_sql("SELECT pg_reload_conf()")
