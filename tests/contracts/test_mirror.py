"""Every module has its test file, in the same place."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = [
    path
    for top in ("segsuite", "pipelines")
    for path in sorted((ROOT / top).rglob("*.py"))
    if path.name not in ("__init__.py", "__main__.py")
]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_has_its_test_file(path: Path) -> None:
    relative = path.relative_to(ROOT)
    mirror = ROOT / "tests" / relative.parent / f"test_{path.stem}.py"
    assert mirror.is_file(), f"{relative} must be tested by {mirror.relative_to(ROOT)}"
