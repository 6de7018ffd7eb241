"""A room imports only from lower floors; rooms on one line do not see each other; `segsuite` never names a pipeline."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = {
    0: ["errors", "failures", "shapes", "seeding", "shipped", "files", "documents", "extras", "outputs", "unnamed_user"],
    1: ["volumes"],
    2: ["data", "networks", "losses", "metrics"],
    3: ["engines"],
    4: ["reports"],
    5: ["settings"],
    6: ["pipeline"],
    7: ["verbs"],
    8: ["service"],
    9: ["cli"],
    10: ["__main__"],
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
MODULES = sorted((ROOT / "segsuite").rglob("*.py"))


def imported_rooms(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} must import absolutely"
            names = [f"segsuite.{alias.name}" for alias in node.names] if node.module == "segsuite" else [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found += [(node.lineno, name) for name in names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_rooms_import_only_from_lower_floors(path: Path) -> None:
    relative = path.relative_to(ROOT / "segsuite")
    room = relative.parts[0].removesuffix(".py")
    if room == "__init__":
        return
    for line, name in imported_rooms(path):
        if name.split(".")[0] == "pipelines":
            pytest.fail(f"{path}:{line} names a pipeline: {name}")
        if not name.startswith("segsuite."):
            continue
        other = name.split(".")[1]
        if other in ("__version__", room):
            continue
        same_ground = FLOOR_OF[other] == FLOOR_OF[room] == 0
        assert same_ground or FLOOR_OF[other] < FLOOR_OF[room], f"{path}:{line}: {room} (floor {FLOOR_OF[room]}) imports {other}"
        assert room not in FLOORS[2] or other not in FLOORS[2], f"{path}:{line}: {room} sees {other}"


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pipelines_never_import_each_other(path: Path) -> None:
    own = path.relative_to(ROOT / "pipelines").parts[0]
    for line, name in imported_rooms(path):
        parts = name.split(".")
        if parts[0] == "pipelines" and len(parts) > 1:
            assert parts[1] == own, f"{path}:{line}: {own} imports {name}"
        if parts[0] == "segsuite" and len(parts) > 1:
            assert FLOOR_OF.get(parts[1], 0) <= 7, f"{path}:{line}: a pipeline imports the door"


def test_every_room_has_a_floor() -> None:
    rooms = {path.relative_to(ROOT / "segsuite").parts[0].removesuffix(".py") for path in MODULES} - {"__init__"}
    assert rooms == set(FLOOR_OF)


def test_names_that_say_nothing_are_not_used() -> None:
    vague = {"utils", "helpers", "common", "base", "manager", "handler", "misc"}
    assert not [path for path in MODULES if path.stem in vague]


def test_files_and_functions_stay_readable() -> None:
    """The house's budget: no file over 350 lines, no function over 60, at most 10 parameters where all are keyword-only."""
    for path in [*MODULES, *(ROOT / "pipelines").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 350, f"{path} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                size = (node.end_lineno or 0) - node.lineno + 1
                docstring = (ast.get_docstring(node) or "").count("\n")
                assert size - docstring <= 60, f"{path}:{node.lineno} {node.name} has {size} lines"
