"""The embedded default below a running server: what it logs, and that it is revived."""

import os
import signal
import time
from pathlib import Path

import pytest

from embedded.cluster import EmbeddedCluster
from testkit.api_client import Api, unique_name
from testkit.server import Server

PATIENCE_SECONDS = 30


@pytest.fixture(scope="module")
def served(run_folder):
    with Server(run_folder / f"embedded-{os.getpid()}") as server, Api(server.url) as api:
        assert api.get("/customer/123").status_code == 200
        yield server, api


@pytest.fixture
def cluster(served):
    """What the server made, as another process sees it; not started by the test."""
    return EmbeddedCluster(served[0].folder / "postgresql")


def workers(server):
    """The process numbers of the server's workers."""
    process = server._process.pid
    return set(Path(f"/proc/{process}/task/{process}/children").read_text().split())


def test_a_refused_write_leaves_nothing_of_its_body_in_the_databases_log(served, cluster):
    api = served[1]
    name, marked = unique_name(), unique_name()
    assert api.put("/customer", json={"CustomerName": name}).status_code == 201
    for _ in range(3):
        body = {"CustomerName": name, "WebsiteURL": f"https://{marked}.example"}
        assert api.put("/customer", json=body).status_code == 409
    log = (cluster.directory / "postgresql.log").read_text()
    assert "ready to accept connections" in log
    assert name not in log
    assert marked not in log


def postmaster(cluster):
    """The process id of the server; None while it is being started."""
    file = cluster.data / "postmaster.pid"
    return int(file.read_text().split()[0]) if file.exists() else None


def test_a_running_server_revives_a_database_that_was_killed(served, cluster):
    server, api = served
    before = workers(server)
    killed = postmaster(cluster)
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        response = api.put("/customer", json={"CustomerName": unique_name()})
        # A session of the killed server may still answer once.
        if response.status_code == 201 and postmaster(cluster) != killed:
            break
        if response.status_code != 201:
            assert response.status_code == 503, response.text
            assert int(response.headers["Retry-After"]) >= 1
        assert time.monotonic() < deadline
    assert workers(server) == before
    assert api.get("/customer/123").status_code == 200
