"""Imports run one way: a room knows only those below it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# From the lowest up; those of one line know each other not at all.
FLOORS = (
    ("authentication", "database"),
    ("settings",),
    ("connection_manager", "observability"),
    ("databases", "serving", "catalog"),
    ("protocol",),
    ("resources",),
    ("cli",),
    ("app",),
)
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}


def files_of(room: str) -> list[Path]:
    folder = ROOT / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [ROOT / f"{room}.py"]


def imported_by(file: Path) -> set[str]:
    """The rooms that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names} & FLOOR.keys()


@pytest.mark.parametrize("room", FLOOR)
def test_a_room_knows_only_those_below_it(room: str):
    files = files_of(room)
    assert files
    for file in files:
        above = {other for other in imported_by(file) - {room} if FLOOR[other] >= FLOOR[room]}
        assert not above, f"{file.relative_to(ROOT)} imports {', '.join(sorted(above))}"


def test_every_room_has_a_floor():
    rooms = {path.parent.name for path in ROOT.glob("*/*.py")} | {p.stem for p in ROOT.glob("*.py")}
    without = {"bench", "data", "scripts", "tests", "gunicorn.conf"}
    assert rooms - without == FLOOR.keys()
