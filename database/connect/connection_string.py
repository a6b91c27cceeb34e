"""ODBC connection strings, parsed and written by the rules of [MS-ODBCSTR].

`KEY=value;…`. A value in braces may contain any character, with `}` doubled. Keys are
case-insensitive; the first of duplicate keys counts.
"""

import re
from collections.abc import Iterator, Mapping

_ATTRIBUTE = re.compile(r"\s*([^=;{}]+?)\s*=\s*(\{(?:[^}]|\}\})*\}|(?!\{)[^;]*)\s*(?:;|$)")


class ConnectionStringError(ValueError):
    """The text is not a valid connection string. The message never contains its values."""


def attributes(text: str, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """The successive matches of `pattern`. Raises ConnectionStringError for any other text."""
    position = 0
    while position < len(text):
        found = pattern.match(text, position)
        if found is None:
            if not text[position:].strip("; \t\r\n"):
                break
            raise ConnectionStringError(
                "A connection string is KEY=value pairs separated by semicolons;"
                f" character {position + 1} does not start one."
            )
        yield found
        position = found.end()


class ConnectionString:
    """A parsed, immutable connection string that keeps its order. Keys are case-insensitive."""

    def __init__(self, text: str) -> None:
        self._values: dict[str, str] = {}
        for found in attributes(text.strip().lstrip(";"), _ATTRIBUTE):
            key, value = found[1].upper(), found[2].strip()
            if value.startswith("{"):
                value = value[1:-1].replace("}}", "}")
            self._values.setdefault(key, value)

    def get(self, *keys: str) -> str | None:
        """The value of the first of `keys` that is present."""
        for key in keys:
            if key.upper() in self._values:
                return self._values[key.upper()]
        return None

    @property
    def values(self) -> Mapping[str, str]:
        """All values by key, in upper case."""
        return dict(self._values)

    def with_defaults(self, defaults: Mapping[str, str]) -> "ConnectionString":
        """A copy with those of `defaults` whose key is absent."""
        copy = ConnectionString("")
        missing = {k.upper(): v for k, v in defaults.items() if k.upper() not in self._values}
        copy._values = {**self._values, **missing}
        return copy

    def replaced(self, values: Mapping[str, str]) -> "ConnectionString":
        """A copy with `values`, which replace existing ones."""
        copy = ConnectionString("")
        copy._values = {**self._values, **{key.upper(): value for key, value in values.items()}}
        return copy

    def __str__(self) -> str:
        return ";".join(f"{key}={_quoted(value)}" for key, value in self._values.items())

    def __repr__(self) -> str:
        return f"<ConnectionString of {', '.join(self._values)}>"


def _quoted(value: str) -> str:
    if re.search(r"[][{}(),;?*=!@\s]", value):
        return "{" + value.replace("}", "}}") + "}"
    return value
