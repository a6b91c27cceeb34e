"""Which routes the application has, and which of them a text speaks of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from werkzeug.exceptions import HTTPException

from app import close_app, create_app
from settings import read_settings

Route = tuple[str, str]  # method and rule, such as ("GET", "/customer/<int:customer_id>")
UNSPOKEN = {"HEAD", "OPTIONS"}
NOWHERE = "SERVER=127.0.0.1;PORT=1;DATABASE=x;UID=x"


@contextmanager
def application(folder: Path) -> Iterator[Flask]:
    """The application in this process, over databases without connections."""
    environment = {"POSTGRESQLCONNSTR_WWIF": NOWHERE, "POSTGRESQLCONNSTR_TAXI": NOWHERE}
    app = create_app(read_settings({**environment, "LOCAL_DIR": str(folder)}))
    try:
        yield app
    finally:
        close_app(app)


def routes(app: Flask) -> set[Route]:
    return {(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods} - {
        (method, rule.rule) for rule in app.url_map.iter_rules() for method in UNSPOKEN
    }


def spoken_of(app: Flask, requests: Iterable[tuple[str, str]]) -> set[Route]:
    """The routes that (method, path) pairs lead to; `<…>` in a path stands for any number.

    Raises AssertionError for a pair that leads nowhere.
    """
    adapter = app.url_map.bind("localhost")
    found = set()
    for method, path in requests:
        concrete = re.sub(r"<[^>]*>", "1", path.partition("?")[0])
        try:
            rule, _ = adapter.match(concrete, method, return_rule=True)
        except HTTPException as error:
            raise AssertionError(f"{method} {path} leads nowhere: {error}") from None
        found.add((method, rule.rule))
    return found
