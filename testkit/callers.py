"""Callers that the tests invent, and the settings that let them in."""

from __future__ import annotations

from collections.abc import Iterable

from authentication.api_keys import HEADER, new_key, setting_line

Headers = dict[str, str]


def api_keys(callers: Iterable[tuple[str, str]]) -> tuple[str, dict[str, Headers]]:
    """(the value of API_KEYS, each caller's headers by its name) for (name, groups) pairs;
    groups such as "read,write"."""
    keys = {name: (groups.split(","), new_key()) for name, groups in callers}
    lines = [setting_line(name, groups, key) for name, (groups, key) in keys.items()]
    return ",".join(lines), {name: {HEADER: key} for name, (_, key) in keys.items()}
