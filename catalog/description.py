"""A description out of the database: summary, text, and the @ lines that steer the API."""

import re
from dataclasses import replace
from typing import NamedTuple

from catalog.procedure import Tags

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
FLAGS = {"@private": "private", "@readonly": "readonly", "@nontransactional": "nontransactional"}


class Description(NamedTuple):
    """summary: the first line; text: the other lines; neither has @ lines."""

    summary: str
    text: str
    tags: Tags


def read_description(written: str | None) -> Description:
    """Read a description. A mistake in an @ line becomes one of `tags.faults`."""
    prose: list[str] = []
    found: dict[str, bool] = {}
    routes: list[tuple[str, str]] = []
    parameters: list[tuple[str, str]] = []
    faults: list[str] = []
    for line in (written or "").splitlines():
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if word == "@private" and rest:
            found["no_tool"] = rest == "mcp"
            if rest != "mcp":
                faults.append(f"@private {rest}: the one value is mcp.")
        elif word in FLAGS:
            found[FLAGS[word]] = True
        elif word == "@route":
            method, _, path = rest.partition(" ")
            path = path.strip()
            if method.upper() in METHODS and re.fullmatch(r"/[^\s?#<>%]*", path):
                routes.append((method.upper(), path))
            else:
                faults.append(
                    f"@route {rest}: write a method out of {', '.join(METHODS)} and a path,"
                    " such as @route GET /orders/{OrderID}/lines."
                )
        elif word == "@results":
            found["many_results"] = rest == "many"
            if rest != "many":
                faults.append(f"@results {rest}: the one value is many.")
        elif word == "@param" and rest:
            name, _, text = rest.partition(" ")
            parameters.append((name.lstrip("@").casefold(), text.strip()))
        else:
            prose.append(line.strip())
    # Blank lines before the first line of prose and after the last are dropped.
    lines = "\n".join(prose).strip().split("\n")
    declared = Tags(routes=tuple(routes), parameters=tuple(parameters), faults=tuple(faults))
    tags = replace(declared, **found)  # type: ignore[arg-type]
    return Description(lines[0], "\n".join(lines[1:]).strip(), tags)
