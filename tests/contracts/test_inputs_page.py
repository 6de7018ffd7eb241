"""`docs/inputs.md` says what comes in and what is refused: each row names a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "inputs.md"


def rows() -> list[str]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [line for line in lines if not re.match(r"\| (what|---)", line)]


def test_every_row_names_its_test() -> None:
    assert len(rows()) > 30
    named: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):  # files of several rooms may have one name
        named.setdefault(path.name, set()).update(
            re.findall(r"^ *def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
        )
    for row in rows():
        shown = re.fullmatch(r"(test_\w+\.py)::(test_\w+)", row.strip("| ").split(" | ")[-1])
        assert shown, f"a row must end with the test that shows it: {row}"
        assert shown[2] in named.get(shown[1], set()), row
