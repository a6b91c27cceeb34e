"""A primary with two standbys, shared by the tests of this folder; the app over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from app import close_app, create_app
from settings import read_settings
from testkit.replicated import Replicated, replicated
from testkit.server import bare_environment

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")


@pytest.fixture(scope="session")
def pair() -> Iterator[Replicated]:
    """Standby 1 replays at once, standby 2 after one second. Tests leave both as they are."""
    with replicated(f"replicas-{WORKER}", "0", "1s") as made:
        yield made


@pytest.fixture
def make_app() -> Iterator[Callable[..., Flask]]:
    """make_app(settings): an app in this process."""
    made: list[Flask] = []

    def make(settings: dict[str, str]) -> Flask:
        made.append(create_app(read_settings(bare_environment(**settings))))
        return made[-1]

    yield make
    for app in made:
        close_app(app)
