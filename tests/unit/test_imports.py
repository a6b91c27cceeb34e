"""Imports run one way: a room imports only rooms below it, and no imports form a circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# From the lowest up; rooms of one line do not import each other.
FLOORS = (
    ("authentication", "database"),
    ("settings", "taxi"),
    ("connection_manager", "deploy", "observability"),
    ("catalog", "embedded", "replicas", "serving"),
    ("databases",),
    ("protocol",),
    ("operations",),
    ("application", "resources"),
    ("cli",),
    ("app",),
    ("testkit",),
    ("bench",),
)
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}


def files_of(room: str) -> list[Path]:
    folder = ROOT / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [ROOT / f"{room}.py"]


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(file) for room in FLOOR for file in files_of(room)}


def imported_by(file: Path, *, at_import_only: bool = False) -> set[str]:
    """The project's own modules that a file imports.

    at_import_only: without imports inside functions, which cannot fail at start.
    """
    tree = ast.parse(file.read_text())
    names: set[str] = set()
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
        elif at_import_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        pending += ast.iter_child_nodes(node)
    return names & MODULES


@pytest.mark.parametrize("room", FLOOR)
def test_a_room_imports_only_rooms_below_it(room: str):
    files = files_of(room)
    assert files
    for file in files:
        rooms = {name.partition(".")[0] for name in imported_by(file)} - {room}
        above = {other for other in rooms if FLOOR[other] >= FLOOR[room]}
        assert not above, f"{file.relative_to(ROOT)} imports {', '.join(sorted(above))}"


def test_no_modules_import_each_other_in_a_circle():
    files = [file for room in FLOOR for file in files_of(room)]
    graph = {module_name(f): imported_by(f, at_import_only=True) - {module_name(f)} for f in files}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_every_room_has_a_floor():
    rooms = {path.parent.name for path in ROOT.glob("*/*.py")} | {p.stem for p in ROOT.glob("*.py")}
    without = {"data", "scripts", "tests", "gunicorn.conf"}
    assert rooms - without == FLOOR.keys()


def test_benchmarks_import_nothing_from_tests():
    for file in (ROOT / "bench").rglob("*.py"):
        assert "from tests." not in file.read_text(), file.name
