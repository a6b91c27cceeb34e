#!/usr/bin/env python3
"""Writes docs/licences.md: the packages of a running API and their licences, as installed.

Run as `.venv/bin/python scripts/dependencies.py` after a change of requirements.
"""

from __future__ import annotations

from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "licences.md"
COLUMNS = "| package | version | licence | brought by |\n|---|---|---|---|\n"
LISTS = {
    "What the API needs": "requirements.txt",
    "What traces need besides, where `TRACES_TO` is set": "requirements-tracing.txt",
}
HEAD = """\
# Licences of the dependencies

Written by `scripts/dependencies.py` from the metadata of the installed packages (Linux, Python \
3.11); other versions of Python bring a few more or fewer.

The container image also holds Microsoft's ODBC driver, out of the package `mssql-python`; its \
licence is Microsoft's own, and is in the package `mssql-python-odbc`.
"""
# JavaScript in the repository: (name, version, licence, file).
VENDORED = (("Chartist", "1.5.0", "MIT", "resources/html/chartist.js"),)
AUDIT = """
## Known vulnerabilities

```sh
.venv/bin/pip install pip-audit
.venv/bin/pip-audit -r requirements.txt
```

When this list was written no vulnerability database could be reached from the machine that wrote \
it (pip-audit answered "Dependency not found on PyPI and could not be audited" for each package), \
so **nothing is claimed here**: run the two lines above.
"""


def direct(requirements: str) -> list[Requirement]:
    """The requirements of a file that apply to this interpreter."""
    lines = (ROOT / requirements).read_text(encoding="utf-8").splitlines()
    named = [Requirement(line) for line in lines if line[:1] not in ("", "#", "-")]
    return [wanted for wanted in named if wanted.marker is None or wanted.marker.evaluate()]


def closure(wanted: list[Requirement]) -> dict[str, tuple[Distribution, set[str]]]:
    """{canonical name: (distribution, names of the packages that require it)}, with direct ones."""
    found: dict[str, tuple[Distribution, set[str]]] = {}
    pending = [(requirement, "") for requirement in wanted]
    while pending:
        requirement, parent = pending.pop()
        name = canonicalize_name(requirement.name)
        known = name in found
        package, parents = found.setdefault(name, (distribution(name), set()))
        parents.add(parent)
        if known and not requirement.extras:
            continue
        for child in map(Requirement, package.requires or []):
            extras = ("", *requirement.extras)
            if child.marker is None or any(child.marker.evaluate({"extra": e}) for e in extras):
                pending.append((child, name))
    return found


def licence(package: Distribution) -> str:
    """The SPDX expression, or else the package's own licence field or classifiers."""
    metadata = package.metadata
    if "License-Expression" in metadata:
        return str(metadata["License-Expression"])
    stated = str(metadata["License"]).strip() if "License" in metadata else ""
    if stated and len(stated) < 60 and "\n" not in stated:
        return stated
    classifiers = [
        text.split(" :: ")[-1]
        for text in metadata.get_all("Classifier") or []
        if text.startswith("License :: OSI Approved :: ")
    ]
    return " or ".join(classifiers) or "see the package"


def row(package: Distribution, parents: set[str]) -> str:
    by = ", ".join(sorted(parents - {""})) or "requirements"
    return f"| {package.metadata['Name']} | {package.version} | {licence(package)} | {by} |"


def document() -> str:
    parts = [HEAD]
    known: set[str] = set()
    for title, requirements in LISTS.items():
        found = {k: v for k, v in closure(direct(requirements)).items() if k not in known}
        known |= set(found)
        rows = [row(*found[name]) for name in sorted(found)]
        parts.append(f"\n## {title}\n\n{COLUMNS}" + "\n".join(rows) + "\n")
    rows = [f"| {name} | {version} | {terms} | {file} |" for name, version, terms, file in VENDORED]
    parts.append(
        "\n## What the pages load\n\nPart of the repository, with its licence beside it.\n\n"
        + COLUMNS.replace("brought by", "file")
        + "\n".join(rows)
        + "\n"
    )
    return "".join(parts) + AUDIT


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
