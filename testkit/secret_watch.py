"""Notes every secret that the tests use as it goes by, and searches all logs for them at the end.

Noted are access tokens, connection strings and their passwords, API keys, the headers that carry
any of them, and the variables of started processes that do. Searched are all that the tests'
processes logged, and the logs of every server that they started. Values below SHORTEST characters
are left out: they are words that occur anyway.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

from authentication import api_keys
from database.connect.access_token import AccessToken
from database.connect.connection_string import ConnectionString
from observability.logs import JsonFormatter
from observability.request import RequestRecord

SHORTEST = 10
HEADERS = ("authorization", "x-api-key", "x-identity-header", "secret", "x-ms-client-principal")
VARIABLE = re.compile(r".*CONNSTR_.*|TOKEN|API_KEYS?|MSI_SECRET|IDENTITY_HEADER|.*PASSWORD.*")
PASSWORD = re.compile(r"(?i)(?:pwd|password)\s*=\s*(\{(?:[^}]|\}\})*\}|[^;]+)")
FOLDER = "secrets"


class SecretWatch:
    """Of one process of a run; `folder` is shared by all of them."""

    def __init__(self, folder: Path) -> None:
        self._noted: set[str] = set()
        self._lock = threading.Lock()
        (folder / FOLDER).mkdir(exist_ok=True)
        self._file = (folder / FOLDER / f"{os.getpid()}.txt").open("a", encoding="utf-8")
        self._handler = logging.FileHandler(folder / f"process-{os.getpid()}.log", delay=True)
        self._handler.setFormatter(JsonFormatter())

    def begin(self) -> None:
        """Listen from now on, in this process."""
        root = logging.getLogger()
        root.addHandler(self._handler)
        root.setLevel(min(root.level, logging.INFO))
        self._after(AccessToken, "__init__", self._token)
        self._after(ConnectionString, "__init__", lambda _, text, *__, **___: self._string(text))
        self._after(HTTPConnection, "putheader", self._header)
        self._after(RequestRecord, "__init__", self._request)
        self._after(subprocess.Popen, "__init__", self._process)
        self._results(api_keys, "new_key")

    def end(self) -> None:
        logging.getLogger().removeHandler(self._handler)
        self._handler.close()
        self._file.close()

    def note(self, secret: object) -> None:
        if isinstance(secret, bytes):
            secret = secret.decode("latin-1")
        if not isinstance(secret, str) or len(secret) < SHORTEST:
            return
        with self._lock:
            if secret not in self._noted:
                self._noted.add(secret)
                self._file.write(json.dumps(secret) + "\n")
                self._file.flush()

    def _token(self, token: AccessToken, *_: object, **__: object) -> None:
        self.note(vars(token).get("value"))

    def _string(self, text: str) -> None:
        for found in PASSWORD.finditer(text):
            self.note(text)
            self.note(found[1])

    def _header(self, _: object, name: str | bytes, *values: object) -> None:
        name = name.decode() if isinstance(name, bytes) else name
        if name.lower() in HEADERS:
            for value in values:
                self._words(value)

    def _request(self, _: object, environ: dict) -> None:
        for name in HEADERS:
            self._words(environ.get("HTTP_" + name.upper().replace("-", "_"), ""))

    def _words(self, value: object) -> None:
        """A header's value without its scheme."""
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        scheme, _, rest = text.partition(" ")
        self.note(rest.strip() or scheme)

    def _process(self, _: object, *__: object, env: dict | None = None, **___: object) -> None:
        for name, value in (env or {}).items():
            if value and VARIABLE.fullmatch(str(name)):
                self.note(value)
                self._string(str(value))

    @staticmethod
    def _after(owner: type, name: str, look: Callable[..., None]) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def looked_at(*args: object, **options: object) -> object:
            try:
                return original(*args, **options)
            finally:  # what is refused is a secret all the same
                look(*args, **options)

        setattr(owner, name, looked_at)

    def _results(self, owner: object, name: str) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def noted() -> str:
            result = original()
            self.note(result)
            return result

        setattr(owner, name, noted)


def secrets_in(folder: Path) -> set[str]:
    """All that were noted in `folder`, by whichever process."""
    lines = [
        line
        for file in (folder / FOLDER).glob("*.txt")
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    return {json.loads(line) for line in lines}


def leaks(folder: Path, *more: Path) -> Iterator[str]:
    """A sentence for each log in `folder`, or of `more`, that holds a noted secret."""
    secrets = sorted(secrets_in(folder), key=len, reverse=True)
    forms = {form for secret in secrets for form in (secret, json.dumps(secret)[1:-1])}
    for log in [*folder.rglob("*.log"), *more]:
        text = log.read_text(encoding="utf-8", errors="replace")
        for form in forms:
            if form in text:
                line = text.count("\n", 0, text.index(form)) + 1
                yield f"{log.name}, line {line}, holds a secret that begins with {form[:4]!r}"
