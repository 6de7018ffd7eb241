from __future__ import annotations

from pathlib import Path

from segsuite.engines.pairs import Pair


def test_files_of_both_sides() -> None:
    whole = Pair("c", "c", Path("r.nii"), Path("p.nii"))
    assert whole.files == [Path("r.nii"), Path("p.nii")]
    assert Pair("c", "c", Path("r.nii"), None).files == [Path("r.nii")]
    parts = Pair("c", "c", Path("r"), Path("p"), reference_files={"a": Path("r/a.nii")}, predicted_files={"a": Path("p/a.nii")})
    assert parts.files == [Path("r/a.nii"), Path("p/a.nii")]
