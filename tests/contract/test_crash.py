"""kill -9 of server and PostgreSQL at once, during writes: no acknowledged write is lost."""

import os
import signal
import threading
import time
import uuid

import requests

from embedded.cluster import EmbeddedCluster
from testkit.api_client import Api, one, unique_name
from testkit.server import Server

CLIENTS = 4
ANSWERED_BEFORE_THE_CUT = 60
PATIENCE_SECONDS = 60


class Writer(threading.Thread):
    """Makes customers one after the other until the server is gone.

    made: number by name, of those answered 201; in_doubt: (name, key) of the one that was not.
    """

    def __init__(self, url):
        super().__init__()
        self._url = url
        self.made = {}
        self.in_doubt = None

    def run(self):
        with Api(self._url) as api:
            while True:
                name, key = unique_name(), uuid.uuid4().hex
                self.in_doubt = name, key
                try:
                    response = create(api, name, key)
                except requests.RequestException:
                    return
                if response.status_code == 201:
                    self.made[name] = one(response)["CustomerID"]


def create(api, name, key):
    return api.put("/customer", json={"CustomerName": name}, headers={"Idempotency-Key": key})


def kill_both(server):
    cluster = EmbeddedCluster(server.folder / "postgresql")
    postmaster = int((cluster.data / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)
    server.kill()


def test_every_write_that_was_answered_is_there_and_one_in_doubt_is_done_once(folder):
    server = Server(folder).start()
    with Api(server.url) as api:
        assert api.get("/customer/123").status_code == 200
    writers = [Writer(server.url) for _ in range(CLIENTS)]
    for writer in writers:
        writer.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while sum(len(w.made) for w in writers) < ANSWERED_BEFORE_THE_CUT:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    kill_both(server)
    for writer in writers:
        writer.join(PATIENCE_SECONDS)

    with Server(folder) as again, Api(again.url) as api:
        for writer in writers:
            for name, number in writer.made.items():
                assert one(api.get(f"/customer/{number}"))["CustomerName"] == name
            name, key = writer.in_doubt
            response = create(api, name, key)
            assert response.status_code == 201, response.text
            assert len(api.named(name)) == 1
