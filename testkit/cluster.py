"""A PostgreSQL of one's own to torment: the product's, plus a ledger of every committed change."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from embedded.cluster import API_ROLE, PORT, EmbeddedCluster
from embedded.folder import unprivileged_account
from embedded.installation import find_binaries
from embedded.sample import deploy_and_fill
from testkit.places import TESTS

ROOT = Path(__file__).resolve().parents[1]

# The unique name is dropped because it would turn a doubled create into a 409, and hide it. The
# ledger tells a patch or a delete that was done twice, which leaves no other trace.
LEDGER = f"""
ALTER TABLE sales.customers DROP CONSTRAINT IF EXISTS "UQ_Sales_Customers_CustomerName";
CREATE SCHEMA chaos;
CREATE TABLE chaos.changes (
    "Change" text NOT NULL, "CustomerID" int NOT NULL, "CustomerName" text, "PhoneNumber" text);
CREATE FUNCTION chaos.record() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v sales.customers := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    INSERT INTO chaos.changes
    VALUES (TG_OP, v."CustomerID", v."CustomerName", v."PhoneNumber");
    RETURN NULL;
END $$;
CREATE TRIGGER ledger AFTER INSERT OR UPDATE OR DELETE ON sales.customers
    FOR EACH ROW EXECUTE FUNCTION chaos.record();
CREATE FUNCTION web.sleep(p_json text, OUT "Json" text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep((p_json::jsonb ->> 'seconds')::float8);
    "Json" := '[]';
END $$;
GRANT EXECUTE ON FUNCTION web.sleep(text) TO "{API_ROLE}";
"""


@contextlib.contextmanager
def fresh_cluster(name: str) -> Iterator[EmbeddedCluster]:
    """A new cluster in TESTS, with the procedures, the sample, and web.sleep.

    chaos.changes has one row for each committed change of a customer: Change (INSERT, UPDATE,
    DELETE), CustomerID, CustomerName and PhoneNumber as the change left them.
    """

    def prepare(cluster: EmbeddedCluster) -> None:
        deploy_and_fill(cluster)
        cluster.run_sql(LEDGER)

    with new_cluster(name, prepare) as cluster:
        yield cluster


@contextlib.contextmanager
def new_cluster(name: str, prepare: Callable[[EmbeddedCluster], None]) -> Iterator[EmbeddedCluster]:
    """A new cluster in TESTS, filled by `prepare` and removed at the end."""
    directory = TESTS / name
    shutil.rmtree(directory, ignore_errors=True)
    cluster = EmbeddedCluster(directory, prepare=prepare)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)


def socket_of(cluster: EmbeddedCluster) -> Path:
    """The path of the Unix socket that the server listens on."""
    return cluster.socket_directory / f".s.PGSQL.{PORT}"


def ledger(cluster: EmbeddedCluster, change: str, column: str) -> Counter[str]:
    """How often each value of `column` stands in chaos.changes with `change`."""
    rows = cluster.run_sql(
        f'SELECT "{column}", count(*) FROM chaos.changes'
        f' WHERE "Change" = \'{change}\' AND "{column}" IS NOT NULL GROUP BY 1'
    )
    pairs = (row.rsplit("|", 1) for row in rows.splitlines())
    return Counter({value: int(count) for value, count in pairs})


def restart(cluster: EmbeddedCluster, mode: str) -> float:
    """Stop the server, "fast" or "immediate" (as in a crash), and start it again.

    Returns the time.monotonic() at which it was seen to take connections.
    """
    as_account = {}
    if os.geteuid() == 0:
        account = unprivileged_account()
        as_account = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    # -W: pg_ctl itself looks only ten times a second whether the server is ready.
    subprocess.run(
        [
            *(str(find_binaries() / "pg_ctl"), "restart", "-s", "-W", "-m", mode),
            *("-D", str(cluster.data), "-l", str(cluster.directory / "postgresql.log")),
        ],
        check=True,
        cwd=cluster.directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        **as_account,
    )
    give_up = time.monotonic() + 60
    while not _ready(cluster.data / "postmaster.pid"):
        if time.monotonic() > give_up:
            raise TimeoutError("PostgreSQL did not come back within 60 s.")
        time.sleep(0.002)
    return time.monotonic()


def _ready(pid_file: Path) -> bool:
    """Whether the server's status, on line 8, is `ready` (miscadmin.h, LOCK_FILE_LINE_PM_STATUS)"""
    with contextlib.suppress(OSError):
        lines = pid_file.read_text().splitlines()
        return len(lines) >= 8 and lines[7].strip() == "ready"
    return False
