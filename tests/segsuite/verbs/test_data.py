from __future__ import annotations

from pathlib import Path

from segsuite.data.manifest import read_manifest
from segsuite.verbs.data import import_data, split


def test_imported_manifest_finds_its_data_from_anywhere(cohort_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    out = tmp_path / "deep" / "m.json"
    manifest = import_data(cohort_folder, out, layout="folder", images="images/*.nii.gz", labels="labels/*.nii.gz")
    assert manifest.labels == {"background": 0, **{f"label_{n}": n for n in (1, 2, 3, 4)}}
    table, stratified = split(out, n_folds=3, seed=0, data_root=None, workers=1)
    assert stratified
    assert [row["cases"] for row in table] == [2, 2, 2]
    assert read_manifest(out).folds == [0, 1, 2]


def test_labels_are_taken_from_a_known_manifest(cohort_folder: Path, tmp_path: Path) -> None:
    manifest = import_data(cohort_folder, tmp_path / "m.json", layout="folder", images="images/*.nii.gz", like="prostatex_zones")
    assert manifest.structures[3] == "distal_prostatic_urethra"
    assert manifest.licence


def test_split_without_data_says_so(cohort_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text((cohort_folder / "manifest.json").read_text())
    assert split(tmp_path / "m.json", n_folds=2, seed=0, data_root=None, workers=1)[1] is False
