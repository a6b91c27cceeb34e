"""Lines are written at once and whole, and what a user adds to logging takes part."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest

from observability import logs
from observability.line_handler import LineHandler
from observability.logs import RequestLog, requests_log
from observability.observer import Observer


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    loggers = (logging.getLogger(), requests_log, logging.getLogger("werkzeug"))
    before = [(one.handlers[:], one.filters[:], one.level) for one in loggers]
    yield
    for logger, (handlers, filters, level) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.filters[:] = handlers, filters
        logger.setLevel(level)


@pytest.fixture
def file(tmp_path: Path, logging_as_it_was: None) -> Iterator[TextIO]:
    """A text stream with buffers; a test configures it itself, because pytest adds handlers."""
    with (tmp_path / "log").open("w", encoding="utf-8", errors="backslashreplace") as stream:
        yield stream


@pytest.fixture
def serve_one() -> Callable[[], None]:
    def app(environ: dict, start_response: Callable) -> list[bytes]:
        start_response("200 OK", [])
        return [b"body"]

    observed = Observer(RequestLog()).around(app)
    return lambda: [*observed({"REQUEST_METHOD": "GET"}, lambda *_: None)] and None


def text_of(file: TextIO) -> str:
    return Path(file.name).read_text(encoding="utf-8")


def requests_in(file: TextIO) -> list[dict]:
    lines = [json.loads(line) for line in text_of(file).splitlines()]
    return [line for line in lines if line.get("event") == "request"]


def test_a_line_is_in_the_file_when_its_request_has_ended(file, serve_one):
    logs.configure("json", stream=file)
    serve_one()
    logging.warning("lone \ud800")
    assert [line["bytes"] for line in requests_in(file)] == [4]
    assert "lone \\ud800" in text_of(file)


def test_lines_of_threads_do_not_mix(logging_as_it_was, serve_one):
    reading, writing = os.pipe()
    read: list[bytes] = []

    def read_all() -> None:
        with open(reading, "rb") as source:
            read.extend(source)

    reader = threading.Thread(target=read_all)
    reader.start()
    with open(writing, "w", encoding="utf-8") as stream:
        logs.configure("json", stream=stream)

        def write() -> None:
            for _ in range(100):
                serve_one()
                logging.warning("x" * 20_000)  # more than a pipe takes at once

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    reader.join()
    found = [json.loads(line) for line in read]
    assert len([line for line in found if line.get("event") == "request"]) == 400
    assert len([line for line in found if line.get("message") == "x" * 20_000]) == 400


def test_a_handler_that_is_added_gets_the_lines_too(file, serve_one):
    logs.configure("json", stream=file)
    for logger in (logging.getLogger(), requests_log):
        added = io.StringIO()
        handler = logging.StreamHandler(added)
        logger.addHandler(handler)
        serve_one()
        logger.removeHandler(handler)
        assert "GET unmatched 200" in added.getvalue()
    serve_one()
    assert len(requests_in(file)) == 3


def test_filters_levels_and_formatters_are_honoured(file, serve_one):
    logs.configure("json", stream=file)
    (handler,) = logging.getLogger().handlers
    assert type(handler) is LineHandler
    for filterer in (requests_log, handler):
        filterer.addFilter(lambda record: False)
        serve_one()
        filterer.filters.clear()
    for chosen in (requests_log, handler):
        before = chosen.level
        chosen.setLevel(logging.WARNING)
        serve_one()
        chosen.setLevel(before)
    requests_log.disabled = True
    serve_one()
    requests_log.disabled = False
    requests_log.propagate = False
    serve_one()
    requests_log.propagate = True
    assert requests_in(file) == []
    handler.setFormatter(logging.Formatter("own %(message)s"))
    serve_one()
    assert text_of(file).startswith("own GET unmatched 200")


def test_a_stream_that_fails_does_not_fail_the_request(logging_as_it_was, serve_one, capsys):
    with open("/dev/full", "w", encoding="utf-8") as stream:
        logs.configure("json", stream=stream)
        serve_one()
        logging.warning("lost")
        serve_one()
    assert "No space left on device" in capsys.readouterr().err


def test_other_streams_get_the_lines_by_their_own_methods(logging_as_it_was, tmp_path, serve_one):
    text = io.StringIO()
    logs.configure("json", stream=text)
    serve_one()
    assert text.getvalue().count("\n") == 1
    path = tmp_path / "other"
    with path.open("w", encoding="utf-16") as stream:
        logs.configure("json", stream=stream)
        serve_one()
        serve_one()
    assert len(path.read_text(encoding="utf-16").splitlines()) == 2
