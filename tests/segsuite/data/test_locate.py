from __future__ import annotations

from pathlib import Path

import pytest

from segsuite.data.locate import find_data_root, image_paths, label_path
from segsuite.data.manifest import Case, Manifest
from segsuite.errors import ManifestError


def test_given_root_wins_over_the_imported_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    manifest = Manifest(name="m", data_root="data")
    assert find_data_root(manifest, tmp_path / "m.json", None) == tmp_path / "data"
    assert find_data_root(manifest, tmp_path / "m.json", tmp_path) == tmp_path


def test_missing_root_says_what_to_give_and_where_the_data_is(tmp_path: Path) -> None:
    manifest = Manifest(name="m", source="example.org")
    with pytest.raises(ManifestError, match=r"with --data-root. Get the data from: example.org"):
        find_data_root(manifest, tmp_path / "m.json", tmp_path / "gone")


def test_paths_start_at_the_root(tmp_path: Path) -> None:
    case = Case(image=["a.nii", "b.nii"], label="l.nii")
    assert image_paths(case, tmp_path) == [tmp_path / "a.nii", tmp_path / "b.nii"]
    assert label_path(case, tmp_path) == tmp_path / "l.nii"
    with pytest.raises(ManifestError, match="Case a must have a `label`"):
        label_path(Case(image="a.nii"), tmp_path)
