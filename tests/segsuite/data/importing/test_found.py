from __future__ import annotations

from segsuite.data.importing.found import MOST_SHOWN, Imported, ImportFinding
from segsuite.data.manifest import Manifest


def test_a_finding_counts_all_and_shows_the_first() -> None:
    finding = ImportFinding("note", "masks without an image", tuple(f"m{n}" for n in range(MOST_SHOWN + 3)), "Look.")
    assert str(finding).startswith(f"masks without an image ({MOST_SHOWN + 3}): m0, m1")
    assert str(finding).endswith(" and 3 more. Look.")


def test_findings_are_added_in_order() -> None:
    first, second = (ImportFinding("note", kind, ("a",), "") for kind in "ab")
    imported = Imported(Manifest(name="m"), [first]).adding([second])
    assert imported.findings == [first, second]
    assert imported.adding([], Manifest(name="n")).manifest.name == "n"
