from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segsuite.data.manifest import Case, Manifest, write_manifest
from segsuite.engines.evaluation import EvaluatedCase, evaluate_pairs
from segsuite.engines.pairing import find_pairs, structures_of
from segsuite.errors import VolumeError
from segsuite.metrics.per_case import Scoring
from segsuite.volumes.reading import read_labels
from segsuite.volumes.writing import side_volume


@pytest.fixture
def predictions(cohort_folder: Path, tmp_path: Path) -> Path:
    """The references themselves, one left out, one on another grid."""
    folder = Path(shutil.copytree(cohort_folder / "labels", tmp_path / "predictions"))
    (folder / "phantom_0000.nii.gz").unlink()
    return folder


def run(predictions: Path, references: Path, workers: int = 1, probabilities: bool = False) -> list[EvaluatedCase]:
    pairing = find_pairs(predictions, references)
    cases: list[EvaluatedCase] = []
    scoring = Scoring(pairing.structures or structures_of(pairing.pairs), ignore_label=pairing.ignore_label)
    evaluate_pairs(pairing.pairs, scoring, workers=workers, probabilities=probabilities, on_case=cases.append)
    return cases


@pytest.mark.parametrize("references", ["manifest.json", "labels"])
def test_pairs_come_from_the_references(predictions: Path, cohort_folder: Path, references: str) -> None:
    cases = run(predictions, cohort_folder / references)
    assert len(cases) == 6
    assert [bool(case.reason) for case in cases] == [True] + [False] * 5
    missing = {(m.metric, m.status): m.value for m in cases[0].measurements}
    assert missing["dice", "no prediction"] == 0
    assert math.isinf(missing["hd95", "no prediction"])
    assert all(m.value == 1 for case in cases[1:] for m in case.measurements if m.metric == "dice")


def test_masks_alone_are_named_by_their_integers(predictions: Path, cohort_folder: Path) -> None:
    names = {m.name for case in run(predictions, cohort_folder / "labels") for m in case.measurements}
    assert names == {f"label {n}" for n in (1, 2, 3, 4)}


def test_prediction_on_another_grid_counts_as_missed(
    predictions: Path, cohort_folder: Path, write_nifti: Callable[..., Path]
) -> None:
    write_nifti(predictions / "phantom_0001.nii.gz", np.ones((3, 3, 3), dtype=np.uint8))
    case = run(predictions, cohort_folder / "manifest.json")[1]
    assert "must lie on one grid" in case.reason
    assert {m.value for m in case.measurements if m.metric == "dice"} == {0.0}


def test_processes_change_nothing(predictions: Path, cohort_folder: Path) -> None:
    one, two = (run(predictions, cohort_folder / "manifest.json", workers=workers) for workers in (1, 2))
    assert [c.measurements for c in one[1:]] == [c.measurements for c in two[1:]]


def reoriented(path: Path, codes: str) -> None:
    """Store a file's axes in another order, by nibabel."""
    image = nib.load(path)
    change = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    nib.save(nib.Nifti1Image.from_bytes(image.as_reoriented(change).to_bytes()), path)


def test_prediction_whose_file_stores_the_axes_in_another_order_is_reordered(
    predictions: Path, cohort_folder: Path, write_nifti: Callable[..., Path]
) -> None:
    with_probabilities(predictions, write_nifti)
    expected = run(predictions, cohort_folder / "manifest.json", probabilities=True)
    for path, codes in zip(sorted(predictions.iterdir()), itertools.cycle(("RAS", "SAR", "LPS", "IPL", "ASL", "PIR"))):
        reoriented(path, codes)
    found = run(predictions, cohort_folder / "manifest.json", probabilities=True)
    assert [case.reason for case in found] == [case.reason for case in expected]
    assert [case.measurements for case in found[1:]] == [case.measurements for case in expected[1:]]


def with_probabilities(predictions: Path, write_nifti: Callable[..., Path]) -> Path:
    """Certain and right, beside every mask that can be read."""
    for path in sorted(predictions.iterdir()):
        volume = read_labels(path)
        for label in (1, 2, 3, 4):
            target = side_volume(path, f"probability_{label}")
            write_nifti(target, (volume.labels == label).astype(np.float32), affine=volume.grid.affine)
    return predictions


def test_probabilities_are_judged_and_a_missing_prediction_is_the_worst(
    predictions: Path, cohort_folder: Path, write_nifti: Callable[..., Path]
) -> None:
    cases = run(with_probabilities(predictions, write_nifti), cohort_folder / "manifest.json", probabilities=True)
    values = [{m.value for m in case.measurements if m.metric in ("brier", "ece")} for case in cases]
    assert values == [{1.0}] + [{0.0}] * 5
    assert not cases[0].calibrations
    assert set(cases[1].calibrations) == {m.name for m in cases[1].measurements}


def test_probabilities_that_were_not_saved_are_named(predictions: Path, cohort_folder: Path) -> None:
    with pytest.raises(VolumeError, match=r"probability of label 1 must lie in .*_probability_1.nii.gz.*--save-probabilities"):
        run(predictions, cohort_folder / "manifest.json", probabilities=True)


def test_only_what_a_reference_shows_is_measured(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    """A set that labels zone 1 alone says nothing about zone 2."""
    mask = np.zeros((6, 6, 4), dtype=np.uint8)
    mask[1:3] = 1
    write_nifti(tmp_path / "l.nii.gz", mask)
    predicted = mask.copy()
    predicted[4:] = 2
    write_nifti(tmp_path / "p" / "l.nii.gz", predicted)
    case = Case(image="l.nii.gz", label="l.nii.gz", labelled=["one"])
    manifest = Manifest(name="m", labels={"background": 0, "one": 1, "two": 2}, training=[case])
    write_manifest(tmp_path / "m.json", manifest)
    pairing = find_pairs(tmp_path / "p", tmp_path / "m.json")
    found: list[EvaluatedCase] = []
    evaluate_pairs(pairing.pairs, Scoring(pairing.structures, (1.0,)), on_case=found.append)
    assert {m.name for m in found[0].measurements} == {"one"}
