"""What a setting's text may be: each function makes a value of the text of one kind of setting.

It raises ValueError with the end of the sentence "it must be …", in which `{unit}` is replaced.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from authentication.documents import is_safe
from authentication.principal import read_groups
from authentication.schemes import METHODS
from authentication.sites import ANY, normal_origin
from settings.connection_strings import DATABASE_NAME
from settings.root import ROOT

# The names that the package limits has for Redis, and for Valkey, which has the same protocol.
_STORAGE = re.compile(r"(redis|rediss|redis\+unix|valkey|valkeys|valkey\+unix)://\S+")
# The default of AUTH: suits a developer's machine, and is refused anywhere else.
NO_CHOICE = "loopback"
YES = ("yes", "true", "on", "1")
NO = ("no", "false", "off", "0")
# The longest allowed duration in seconds.
DAY = 86_400.0


def number(least: float, most: float, kind: Callable[[str], Any]) -> Callable[[str], Any]:
    wanted = "a whole number" if kind is int else "a number"

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ValueError(f"{wanted} of {{unit}} from {least:.12g} to {most:.12g}")
        return value

    return read


def seconds(least: float = 0.0) -> Callable[[str], float]:
    return number(least, DAY, float)


def parts_of(text: str) -> list[str]:
    """The parts of a comma-separated list, without blanks and empty parts."""
    return [part.strip() for part in text.split(",") if part.strip()]


def one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text

    return read


def words(*allowed: str) -> Callable[[str], tuple[str, ...]]:
    """A comma-separated list; of `allowed` words only, if any are given."""

    def read(text: str) -> tuple[str, ...]:
        found = tuple(parts_of(text))
        if allowed and not set(found) <= set(allowed):
            raise ValueError(f"a list of {', '.join(allowed)}, joined by commas")
        return found

    return read


def origins(text: str) -> tuple[str, ...]:
    """Origins as browsers spell them, each to be matched whole; * stands for all origins."""
    found = []
    for origin in parts_of(text):
        try:
            found.append(ANY if origin == ANY else normal_origin(origin))
        except ValueError:
            raise ValueError(
                f"a list of origins joined by commas; {origin!r} is not an origin: write scheme,"
                " host and port, without a path, and no * within a name"
            ) from None
    return tuple(found)


def yes_or_no(text: str) -> bool:
    if text.lower() not in YES + NO:
        raise ValueError(f"yes or no (or {', '.join(YES[1:] + NO[1:])})")
    return text.lower() in YES


def authentication_methods(text: str) -> tuple[str, ...] | None:
    """The methods of AUTH. () means no authentication; None means that AUTH is not set, which
    admits requests from this machine only."""
    names = tuple(parts_of(text.lower()))
    if names in ((), (NO_CHOICE,)):
        return None
    if names == ("none",):
        return ()
    if not set(names) <= set(METHODS):
        raise ValueError(f"{NO_CHOICE}, none, or a list of {', '.join(METHODS)}, joined by commas")
    return names


def url(text: str) -> str:
    if text and not is_safe(text):
        raise ValueError("a URL with https (http is for this machine only)")
    return text


def rates(text: str) -> str:
    if not re.fullmatch(r"(\d+ per (second|minute|hour|day)(; ?(?=\d)|$))*", text):
        raise ValueError("a rate such as 100 per minute, or several joined by ;")
    return text


def rate_storage(text: str) -> str:
    try:
        valid = not text or (_STORAGE.fullmatch(text) and urlsplit(text).port != 0)
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(
            "the URL of a Redis or Valkey server, such as redis://:password@host:6379/0, or"
            " rediss://… with TLS"
        )
    # One client serves both.
    return re.sub("^valkey", "redis", text)


def route_seconds(text: str) -> dict[str, float]:
    found = {}
    for entry in parts_of(text):
        route, _, number = entry.rpartition("=")
        try:
            found[route.strip()] = seconds(0.05)(number)
        except ValueError:
            route = ""
        if not route.startswith("/"):
            raise ValueError("a list of /route=seconds, joined by commas")
    return found


def schemas(text: str) -> tuple[tuple[str, str], ...]:
    """(database, schema) of each entry; the database is "" for a schema of every database."""
    found = []
    for entry in parts_of(text):
        database, _, schema = entry.rpartition(":")
        if not schema.strip() or (":" in entry and not DATABASE_NAME.fullmatch(database.strip())):
            raise ValueError("a list of schema or database:schema, joined by commas")
        found.append((database.strip(), schema.strip()))
    return tuple(found)


def anonymous_groups(text: str) -> frozenset[str]:
    return read_groups(text.replace(",", "+"))


def folder(text: str) -> Path:
    return ROOT / text
