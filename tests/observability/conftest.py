"""The whole app in this process, over the embedded default that the run's other suites share."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from app import close_app, create_app
from observability.logs import JsonFormatter
from settings import read_settings


@pytest.fixture
def make_app(run_folder: Path) -> Iterator[Callable[..., Flask]]:
    """make_app(span_processor=None, **settings): an app, with settings by their names."""
    made: list[Flask] = []

    def make(*, span_processor: object = None, **settings: str) -> Flask:
        environ = {"LOCAL_DIR": str(run_folder / "postgresql"), **settings}
        app = create_app(read_settings(environ), span_processor=span_processor)
        made.append(app)
        return app

    yield make
    for app in made:
        close_app(app)


@pytest.fixture
def log_stream() -> Iterator[io.StringIO]:
    """All that is logged meanwhile, as JSON lines."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)
