from __future__ import annotations

from pathlib import Path

import pytest

from segsuite.engines.pairing import find_pairs, structures_of
from segsuite.errors import ManifestError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def paired(predictions: Path, references: Path) -> dict[str, str | None]:
    pairs = find_pairs(predictions, references).pairs
    return {p.case_id: None if p.predicted is None else p.predicted.relative_to(predictions).as_posix() for p in pairs}


def test_same_name_in_the_same_place(tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "a.nii.gz", "c.nii.gz", "a_probability_0.nii.gz")
    references = touch(tmp_path / "r", "a.nii.gz", "b.nii.gz")
    assert paired(predictions, references) == {"a": "a.nii.gz", "b": None}


def test_a_missing_prediction_is_never_filled_by_another_patient_s(tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "p1/t2w.nii.gz")
    references = touch(tmp_path / "r", "p1/t2w.nii.gz", "p2/t2w.nii.gz")
    assert paired(predictions, references) == {"p1/t2w": "p1/t2w.nii.gz", "p2/t2w": None}
    elsewhere = touch(tmp_path / "q", "other/t2w.nii.gz")
    assert paired(elsewhere, references) == {"p1/t2w": None, "p2/t2w": None}


def test_other_places_and_endings_and_nnunet_names(tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "deep/a.nrrd", "b_0000.nii.gz")
    references = touch(tmp_path / "r", "a.nii.gz", "b.nii.gz")
    assert paired(predictions, references) == {"a": "deep/a.nrrd", "b": "b_0000.nii.gz"}


def test_two_predictions_of_one_name_are_none(tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "x/a.nii.gz", "y/a.nii.gz")
    assert paired(predictions, touch(tmp_path / "r", "a.nii.gz")) == {"a": None}


def test_manifest_pairs_by_case_id_or_image_name(cohort_folder: Path, tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "phantom_0001.nii.gz", "images/phantom_0002.nii.gz")
    pairing = find_pairs(predictions, cohort_folder / "manifest.json")
    assert [pair.predicted is not None for pair in pairing.pairs] == [False, True, True, False, False, False]
    assert pairing.structures[1] == "peripheral_zone"
    assert pairing.pairs[0].patient_id == "P0000"
    assert len(find_pairs(predictions, cohort_folder / "manifest.json", fold=0).pairs) == 2


def test_structures_are_those_of_the_references(cohort_folder: Path) -> None:
    pairs = find_pairs(cohort_folder / "labels", cohort_folder / "labels").pairs
    assert structures_of(pairs) == {n: f"label {n}" for n in (1, 2, 3, 4)}


class TestRefusals:
    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="must be a folder or a manifest"):
            find_pairs(tmp_path, tmp_path / "gone")

    def test_no_references(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="must hold reference masks, got none"):
            find_pairs(tmp_path, tmp_path)
