"""A request is finished before the last part of its response is returned, whatever the body is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from database.events import Usage
from observability.observer import Observer, Subscriber
from observability.request import RequestRecord, current

OK = "200 OK"


class Witness(Subscriber):
    """Notes (status, bytes, complete) of each request that is finished."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, bool]] = []

    def finished(self, request: RequestRecord) -> None:
        self.seen.append((request.status, request.sent, request.complete))


class Closing(list):
    closed = False

    def close(self) -> None:
        self.closed = True


def observed(body: Callable[[Callable], Iterable[bytes]]) -> tuple[Witness, Iterable[bytes]]:
    """A witness, and what the observed application returns: body(start_response)."""
    witness = Witness()
    app = Observer(witness).around(lambda environ, start: body(start))
    return witness, app({"REQUEST_METHOD": "GET"}, lambda *_: None)


def started(body: Iterable[bytes], *headers: tuple[str, str]) -> Callable:
    def app(start: Callable) -> Iterable[bytes]:
        start(OK, list(headers))
        return body

    return app


@pytest.mark.parametrize("body", [(), [], (b"four",), [b"four"], Closing([b"four"])])
def test_a_body_of_one_part_is_returned_as_it_is(body):
    witness, returned = observed(started(body))
    assert returned is body
    assert witness.seen == [(200, len(b"".join(body)), True)]
    assert current.request is None


def test_the_last_of_several_parts_is_returned_after_the_end():
    length = ("Content-Length", "6")
    witness, returned = observed(started([b"one", b"two"], length))
    parts = iter(returned)
    assert next(parts) == b"one"
    assert witness.seen == []
    assert next(parts) == b"two"
    assert witness.seen == [(200, 6, True)]
    returned.close()
    assert len(witness.seen) == 1


def test_parts_without_a_length_end_with_the_iterator():
    witness, returned = observed(started(iter([b"one", b"two"])))
    assert next(returned) + next(returned) == b"onetwo"
    assert witness.seen == []
    assert list(returned) == []
    assert witness.seen == [(200, 6, True)]


def test_an_application_may_start_its_response_with_the_first_part():
    def app(start: Callable) -> Iterator[bytes]:
        start(OK, [("Content-Length", "3")])
        yield b"one"

    witness, returned = observed(app)
    assert next(returned) == b"one"
    assert witness.seen == [(200, 3, True)]


def test_a_body_that_is_left_is_incomplete_and_closed():
    body = Closing([b"one", b"two"])
    witness, returned = observed(started(body))
    next(returned)
    returned.close()
    assert witness.seen == [(200, 3, False)]
    assert body.closed
    assert current.request is None


def test_a_failed_application_is_an_incomplete_request():
    def fails(start: Callable) -> Iterable[bytes]:
        raise LookupError

    witness = Witness()
    app = Observer(witness).around(lambda environ, start: fails(start))
    with pytest.raises(LookupError):
        app({"REQUEST_METHOD": "GET"}, lambda *_: None)
    assert witness.seen == [(0, 0, False)]


def test_a_handler_gets_its_events_only_and_the_request_all_of_them():
    usages = []
    subscriber = Subscriber()
    subscriber.handlers = {Usage: usages.append}
    observer = Observer(subscriber, Witness())
    noted = []

    def app(environ: dict, start: Callable) -> list[bytes]:
        observer.observe(Usage("WWIF", 0.5))
        observer.observe("another")
        noted.extend(current.request.events)
        start(OK, [])
        return []

    list(observer.around(app)({"REQUEST_METHOD": "GET"}, lambda *_: None))
    assert usages == [Usage("WWIF", 0.5)]
    assert noted == [Usage("WWIF", 0.5), "another"]
