from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segsuite.data.cache import PreparedCase
from segsuite.data.manifest import Case
from segsuite.engines import shares
from segsuite.engines.shares import class_shares


def case(folder: Path, label: list[int]) -> PreparedCase:
    folder.mkdir()
    np.save(folder / "label.npy", np.array(label, dtype=np.int8).reshape(-1, 1, 1))
    return PreparedCase(Case(image="a.nii.gz", label="b.nii.gz"), folder)


def test_counts_scored_voxels_of_all_cases(tmp_path: Path) -> None:
    cases = [case(tmp_path / "a", [0, 0, 0, 1]), case(tmp_path / "b", [-1, -1, 0, 2])]
    assert class_shares(cases, n_classes=3, seed=0) == pytest.approx([4 / 6, 1 / 6, 1 / 6])
    assert class_shares(cases, n_classes=4, seed=0)[3] == pytest.approx(1e-5, rel=1e-3)


def test_looks_at_some_of_many_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "MOST_CASES", 3)
    cases = [case(tmp_path / str(n), [0, n % 2]) for n in range(9)]
    first, again = (class_shares(cases, n_classes=2, seed=1) for _ in range(2))
    assert first == again
    assert round(first[1] * 6) == pytest.approx(first[1] * 6)
