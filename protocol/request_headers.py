"""A request's header fields, read from the WSGI environment.

Werkzeug's `request.headers` raises and catches an exception for each field that a request lacks,
and most requests lack most of the fields that a server looks for.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from werkzeug.datastructures import EnvironHeaders


class RequestHeaders(Mapping[str, str]):
    """The fields of the request with this WSGI environment, by name in any case."""

    __slots__ = ("_environ",)

    def __init__(self, environ: dict[str, Any]) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        value: str = self._environ[_key(name)]
        return value

    def get(self, name: str, default: Any = None) -> Any:
        return self._environ.get(_key(name), default)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _key(name) in self._environ

    def __iter__(self) -> Iterator[str]:
        return iter(dict(EnvironHeaders(self._environ)))

    def __len__(self) -> int:
        return len(EnvironHeaders(self._environ))


@functools.lru_cache(maxsize=256)
def _key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
