"""Clients that hold connections, send partial requests or stop reading do not delay others."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.callers import Headers, api_keys
from testkit.observed_server import Served, serve
from testkit.raw_http import request_bytes, send
from tests.security.flood import closed_within, connections, reset_within, timed

HEAD_SECONDS, BODY_SECONDS, STALL_SECONDS = 3.0, 3.0, 2.0
QUICK_SECONDS = 1.0
LATE_SECONDS = 3.0  # from the end of a limit until the connection is closed, on a busy machine
SECRET = "s3cr3t-of-the-client"
HALF_HEAD = b"GET /customer/123 HTTP/1.1\r\nHost: localhost\r\nX-Sl"
NO_BODY = request_bytes("PUT", "/customer", length=100)


@pytest.fixture(scope="module")
def keys() -> tuple[str, dict[str, Headers]]:
    return api_keys([("writer", "read,write")])


@pytest.fixture(scope="module")
def served(run_folder: Path, keys) -> Iterator[Served]:
    with serve(
        run_folder / "connections.log",
        run_folder / "postgresql",
        workers=1,
        POOL_MAX_SIZE="4",
        POOL_MAX_WAITING="4",  # 16 threads
        AUTH="keys",
        API_KEYS=keys[0],
        HEAD_SECONDS=str(HEAD_SECONDS),
        BODY_SECONDS=str(BODY_SECONDS),
        STALL_SECONDS=str(STALL_SECONDS),
    ) as running:
        yield running


@pytest.fixture
def key(keys) -> tuple[str, str]:
    return next(iter(keys[1]["writer"].items()))


@pytest.fixture
def url(served: Served) -> str:
    return f"http://127.0.0.1:{served.port}"


def assert_quick(served: Served, key: tuple[str, str], *, within: float = QUICK_SECONDS) -> None:
    answers = [timed(served.port, "/customer/123", **dict([key])) for _ in range(20)]
    assert {status for status, _ in answers} == {200}
    assert max(seconds for _, seconds in answers) < within


def test_silent_clients_and_partial_heads_are_closed_and_delay_no_request(served: Served, key):
    with (
        connections(served.port, 200) as silent,
        connections(served.port, 40, HALF_HEAD) as half,
    ):
        assert_quick(served, key)
        assert closed_within([*silent, *half], HEAD_SECONDS + LATE_SECONDS) == 240


def test_a_slowly_sent_head_is_ended_within_its_time_limit(served: Served, key):
    with connections(served.port, 40, HALF_HEAD) as slow:
        ended = threading.Event()

        def trickle() -> None:
            while not ended.wait(0.2):
                for connection in slow:
                    with contextlib.suppress(OSError):
                        connection.send(b"x")

        trickling = threading.Thread(target=trickle)
        trickling.start()
        try:
            assert_quick(served, key)
            assert closed_within(slow, HEAD_SECONDS + LATE_SECONDS) == 40
        finally:
            ended.set()
            trickling.join()


def test_missing_bodies_are_refused_and_delay_no_request(served: Served, key):
    with (
        connections(served.port, 40, NO_BODY) as refused,
        connections(
            served.port, 40, request_bytes("PUT", "/customer", [key], b"{", length=99)
        ) as late,
    ):
        assert_quick(served, key)
        began = time.monotonic()
        statuses = [connection.recv(12) for connection in (*refused, *late)]
        assert statuses == [b"HTTP/1.1 401"] * 40 + [b"HTTP/1.1 408"] * 40
        assert closed_within([*refused, *late], BODY_SECONDS + LATE_SECONDS) == 80
        assert time.monotonic() - began < BODY_SECONDS + 2 * LATE_SECONDS


def test_stalled_readers_are_closed_and_hold_no_thread(served: Served, key):
    pipelined = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200
    with connections(served.port, 20, pipelined) as stalled:
        # Until the server can send no more to most of them, it is busy.
        assert_quick(served, key, within=5 * QUICK_SECONDS)
        assert reset_within(stalled, 30.0) == 20


@pytest.mark.parametrize(
    "refused",
    [
        ("/customer", "application/json", 3_000_000, 413),
        ("/customer", "text/xml", 500_000, 415),
        ("/nowhere", "application/json", 500_000, 404),
        ("/customers", "application/json", 500_000, 405),
    ],
)
def test_a_request_refused_before_its_body_was_read_does_not_affect_the_next(
    served: Served, key, refused
):
    path, media_type, length, status = refused
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    headers = {key[0]: key[1], "Content-Type": media_type}
    for _ in range(60):
        # Refused before the end of the body; the answer is there.
        with contextlib.suppress(ConnectionError):
            connection.request("PUT", path, b"x" * length, headers)
        response = connection.getresponse()
        response.read()
        assert response.status == status
        # Reconnects only if the response has `Connection: close`.
        connection.request("GET", "/health/live")
        response = connection.getresponse()
        response.read()
        assert response.status == 200
    connection.close()


def test_a_body_that_ends_early_is_not_executed(served: Served, key, url):
    name = f"Short {time.time_ns()}"
    body = json.dumps({"CustomerName": name}).encode()
    with socket.create_connection(("127.0.0.1", served.port), 30) as connection:
        connection.sendall(request_bytes("PUT", "/customer", [key], body, length=len(body) + 5))
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"\r\nConnection: close\r\n" in answer
    query = name.replace(" ", "%20")
    found = send(url, request_bytes(target=f"/customers?name={query}", headers=[key]))
    assert (found.status, found.body) == (200, b"[]")


def test_100_continue_is_sent_after_authorization(served: Served, key):
    body = b'{"CustomerName":"Expected"}'
    for headers, first in (([], b"HTTP/1.1 401"), ([key], b"HTTP/1.1 100")):
        expecting = request_bytes(
            "PUT", "/customer", [*headers, ("Expect", "100-continue")], length=len(body)
        )
        with socket.create_connection(("127.0.0.1", served.port), 30) as connection:
            connection.sendall(expecting)
            answer = connection.recv(65536)
            assert answer.startswith(first)
            if headers:
                connection.sendall(body)
                assert b"HTTP/1.1 201" in answer + connection.recv(65536)


def test_a_request_without_a_host_is_refused(url, key):
    line = f"{key[0]}: {key[1]}\r\nConnection: close\r\n\r\n".encode()
    assert send(url, b"GET /customer/123 HTTP/1.1\r\n" + line).status == 400
    assert send(url, b"GET /customer/123 HTTP/1.0\r\n" + line).status == 200


def test_a_header_can_not_set_the_script_name(url, key):
    for name in ("SCRIPT_NAME", "PATH_INFO"):
        raw = request_bytes(headers=[key, (name, "/customer")])
        assert send(url, raw).status == 200
    raw = request_bytes(target="/health/live", headers=[("SCRIPT_NAME", "/x")])
    assert send(url, raw).status == 200


def test_no_refused_request_is_repeated_in_the_log(served: Served, url):
    head = b"GET /customer/123?name=%b HTTP/1.1\r\nHost: localhost\r\n" % SECRET.encode()
    refused = [
        b"GET /customer/\xe9?name=%b HTTP/1.1\r\n\r\n" % SECRET.encode(),
        b"GET /?%b HTTP/9.9\r\n\r\n" % SECRET.encode(),
        head + b"X-API-Key: %b\x00\r\n\r\n" % SECRET.encode(),
        head + b"X-API-Key %b\r\n\r\n" % SECRET.encode(),
        head + b"Expect: %b\r\n\r\n" % SECRET.encode(),
        head + b"Transfer-Encoding: %b\r\n\r\n" % SECRET.encode(),
        b"PUT /customer HTTP/1.1\r\n%b\r\n\r\n" % SECRET.encode(),
        b"%b / HTTP/1.1\r\n\r\n" % SECRET.encode(),
        request_bytes("PUT", "/customer", [("Transfer-Encoding", "chunked")])
        + f"{SECRET}\r\n".encode(),
    ]
    answers = [send(url, raw) for raw in refused]
    assert all(400 <= answer.status < 502 for answer in answers)
    assert [SECRET in answer.body.decode() for answer in answers] == [False] * len(answers)
    log = served.log.read_text()
    assert "Invalid request from 127.0.0.1: " in log
    assert SECRET not in log


def test_idle_connections_beyond_the_limit_of_descriptors_stop_no_worker(
    run_folder: Path, keys, key
):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        running = serve(
            run_folder / "descriptors.log",
            run_folder / "postgresql",
            workers=1,
            AUTH="keys",
            API_KEYS=keys[0],
        )
        served = running.__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        workers = served.workers()
        with connections(served.port, 600):
            assert_quick(served, key)
        assert served.workers() == workers
    finally:
        running.__exit__(None, None, None)


def test_workers_without_their_arbiter_exit_and_the_next_start_cleans_up(
    run_folder: Path, folder: Path
):
    with serve(
        run_folder / "orphans.log", run_folder / "postgresql", TMPDIR=str(folder)
    ) as running:
        orphans = running.workers()
        with connections(running.port, 20):
            running.process.send_signal(signal.SIGKILL)
            running.process.wait()
            give_up = time.monotonic() + 2.0
            while time.monotonic() < give_up:
                try:
                    socket.create_connection(("127.0.0.1", running.port), 1).close()
                except OSError:
                    break
                time.sleep(0.02)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", running.port), 1)
            while time.monotonic() < give_up + 2.0 and any(map(lives, orphans)):
                time.sleep(0.02)
            assert not any(map(lives, orphans))
    (left,) = folder.glob("sql-procedures-api-metrics-*")
    with serve(run_folder / "next.log", run_folder / "postgresql", TMPDIR=str(folder)):
        (used,) = folder.glob("sql-procedures-api-metrics-*")
        assert used != left
    assert list(folder.glob("sql-procedures-api-metrics-*")) == []


def lives(pid: int) -> bool:
    """Whether the process runs: one that ended may wait for its new parent to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
