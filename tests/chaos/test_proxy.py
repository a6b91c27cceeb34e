"""The proxy works exactly as documented; the other chaos tests depend on it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.proxy import Direction, How, Proxy

MESSAGE = bytes(range(256)) * 4


class Echo:
    """A server that returns what it receives, and keeps a copy."""

    def __init__(self, listener: socket.socket) -> None:
        self.received: list[bytes] = []
        self.ended = threading.Semaphore(0)
        self._listener = listener
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._serve(self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        got = b""
        with client, contextlib.suppress(OSError):
            while chunk := client.recv(65536):
                got += chunk
                client.sendall(chunk)
        self.received.append(got)
        self.ended.release()


@pytest.fixture(params=["tcp", "unix"])
def echo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Echo, Proxy]]:
    if request.param == "tcp":
        listener = socket.create_server(("127.0.0.1", 0))
        upstream = listener.getsockname()
    else:
        upstream = tmp_path / "s"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(upstream))
        listener.listen()
    server = Echo(listener)
    with Proxy(upstream) as proxy:
        yield server, proxy
    server.close()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def read(client: socket.socket, count: int) -> bytes:
    """`count` bytes, or fewer if the stream ends earlier."""
    got = b""
    while len(got) < count and (chunk := client.recv(count - len(got))):
        got += chunk
    return got


def test_bytes_arrive_unchanged_and_are_counted(echo: tuple[Echo, Proxy]):
    server, proxy = echo
    with connect(proxy) as client:
        client.sendall(MESSAGE)
        assert read(client, len(MESSAGE)) == MESSAGE
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    server.ended.acquire(timeout=10)
    assert server.received == [MESSAGE]
    assert proxy.passed() == dict.fromkeys(Direction, len(MESSAGE))


def test_a_slow_reader_receives_a_long_stream_completely(echo: tuple[Echo, Proxy]):
    _, proxy = echo
    sent = MESSAGE * 4096
    with connect(proxy) as client:
        sender = threading.Thread(target=client.sendall, args=(sent,))
        sender.start()
        assert read(client, len(sent)) == sent
        sender.join()


@pytest.mark.parametrize("how", How)
@pytest.mark.parametrize("count", [0, 1, 500, len(MESSAGE)])
def test_a_cut_passes_exactly_the_given_bytes_up(echo: tuple[Echo, Proxy], count: int, how: How):
    server, proxy = echo
    with connect(proxy) as client:
        proxy.cut_after(count, Direction.UP, how)
        client.sendall(MESSAGE)
        assert server.ended.acquire(timeout=10)
        assert server.received == [MESSAGE[:count]]
        assert_ended(client, how)
    assert not proxy.disarm()


@pytest.mark.parametrize("how", How)
@pytest.mark.parametrize("count", [0, 1, 500, len(MESSAGE)])
def test_a_cut_passes_exactly_the_given_bytes_down(echo: tuple[Echo, Proxy], count: int, how: How):
    _, proxy = echo
    with connect(proxy) as client:
        proxy.cut_after(count, Direction.DOWN, how)
        client.sendall(MESSAGE)
        assert read(client, count) == MESSAGE[:count]
        assert_ended(client, how)


def test_cut_happens_once_and_to_one_link(echo: tuple[Echo, Proxy]):
    _, proxy = echo
    proxy.cut_after(1, Direction.UP)
    with connect(proxy) as first:
        first.sendall(b"ab")
        assert_ended(first, How.FIN)
    with connect(proxy) as second:
        second.sendall(b"ab")
        assert read(second, 2) == b"ab"


def test_cut_all_ends_idle_connections(echo: tuple[Echo, Proxy]):
    _, proxy = echo
    with connect(proxy) as client:
        client.sendall(b"a")
        assert read(client, 1) == b"a"
        assert proxy.cut_all(How.RST) == 1
        assert_ended(client, How.RST)
    assert proxy.links() == 0


def test_frozen_bytes_arrive_after_the_thaw(echo: tuple[Echo, Proxy]):
    _, proxy = echo
    with connect(proxy) as before:
        proxy.freeze()
        before.sendall(b"a")
        with connect(proxy) as meanwhile:
            meanwhile.sendall(b"b")
            for client in (before, meanwhile):
                client.settimeout(0.05)
                with pytest.raises(TimeoutError):
                    client.recv(1)
                client.settimeout(10)
            proxy.thaw()
            assert read(before, 1) == b"a"
            # The server takes one client at a time.
            before.close()
            assert read(meanwhile, 1) == b"b"


def test_a_delay_applies_to_each_direction(echo: tuple[Echo, Proxy]):
    _, proxy = echo
    with connect(proxy) as client:
        proxy.delay(0.05)
        began = time.monotonic()
        client.sendall(b"a")
        assert read(client, 1) == b"a"
        assert time.monotonic() - began >= 0.1


def test_refuses_and_accepts_again_on_the_same_port(echo: tuple[Echo, Proxy]):
    _, proxy = echo
    with connect(proxy) as kept:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        kept.sendall(b"a")
        assert read(kept, 1) == b"a"
    proxy.accept()
    with connect(proxy) as client:
        client.sendall(b"b")
        assert read(client, 1) == b"b"


def test_close_ends_its_thread_and_every_link(echo: tuple[Echo, Proxy]):
    _, proxy = echo
    before = threading.active_count() - 1
    with connect(proxy) as client:
        client.sendall(b"a")
        assert read(client, 1) == b"a"
        proxy.close()
        assert client.recv(1) == b""
    assert threading.active_count() == before


def assert_ended(client: socket.socket, how: How) -> None:
    if how is How.RST:
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    else:
        assert client.recv(1) == b""
