"""Writes by foreign procedures happen once each: cut anywhere, and sent by many at a time.

bench/foreign_cuts.py cuts at every fifth byte; here some of them are enough. On PostgreSQL only,
for the proxy speaks to its socket.
"""

from __future__ import annotations

import itertools
import os
import uuid
from functools import partial

import pytest

from bench.foreign_cuts import foreign_cluster, judge, open_lane, serve_shop, twins
from embedded.cluster import API_ROLE
from testkit.cluster import socket_of
from testkit.cuts import answered
from testkit.load_client import ask
from testkit.proxy import Direction, How, Proxy

STEP = 97


@pytest.fixture(scope="module")
def cluster():
    with foreign_cluster(f"foreign-cuts-{os.getpid()}") as made:
        yield made


def test_no_cut_loses_or_doubles_a_write(cluster):
    with open_lane(cluster) as lane:
        outcomes = [lane.run(job) for job in lane.jobs(STEP)]
    assert judge(cluster, outcomes) == []
    assert sum(outcome.happened for outcome in outcomes) > 50
    assert any(outcome.reply.replayed for outcome in outcomes)


def test_twins_with_one_key_write_once_and_get_one_answer(cluster):
    with serve_shop(cluster.connection_string(role=API_ROLE)) as port:
        replies = twins(port, 100)
    assert {reply.status for reply in replies} == {201}
    assert sum(not reply.replayed for reply in replies) == 1
    kept = [reply.body for reply in replies if b"not stored" not in reply.body]
    assert len(set(kept)) == 1
    assert all(a == b for a, b in itertools.pairwise(kept))


def test_a_nontransactional_write_is_never_repeated_once_it_may_have_run(cluster):
    seen = set()
    with Proxy(socket_of(cluster)) as database:
        text = f"SERVER=127.0.0.1;PORT={database.port};DATABASE=app;UID={API_ROLE}"
        with serve_shop(text, pool_max_size=1) as port:
            for offset in range(0, 60, 7):
                label = f"alone-{uuid.uuid4().hex[:20]}"
                path, document = "/marks/archive", {"label": label, "times": 1}
                assert ask(port, "GET", f"/marks?label={label}").status == 200
                database.cut_after(offset, Direction.DOWN, How.FIN)
                reply = ask(port, "POST", path, document)
                database.disarm()
                look = partial(ask, port, "GET", f"/marks?label={label}")
                done = len(answered(look).json())
                assert done <= 1
                assert (reply.status, done) == (204, 1) or reply.status == 503
                if reply.status == 503:
                    assert "retry-after" not in reply.headers
                    assert b"may have run" in reply.body
                seen.add((reply.status, done))
    assert (503, 1) in seen
