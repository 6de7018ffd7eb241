from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segsuite.data.manifest import Case, Manifest, write_manifest
from segsuite.engines import evaluation
from segsuite.engines.evaluation import EvaluatedCase, evaluate_pairs
from segsuite.engines.label_names import with_structures
from segsuite.engines.pairing import Pair, find_pairs
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
    pairing = with_structures(find_pairs(predictions, references))
    cases: list[EvaluatedCase] = []
    scoring = Scoring(pairing.structures, ignore_label=pairing.ignore_label)
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


def test_broken_references_fail_their_cases_and_all_are_named(predictions: Path, cohort_folder: Path, tmp_path: Path) -> None:
    references = Path(shutil.copytree(cohort_folder / "labels", tmp_path / "references"))
    (references / "phantom_0001.nii.gz").write_bytes((references / "phantom_0001.nii.gz").read_bytes()[:200])
    (references / "phantom_0003.nii.gz").unlink()
    (references / "phantom_0003.nii.gz").symlink_to("annex/key.nii.gz")
    (references / "phantom_0004.nii.gz").write_bytes(b"")
    cases = run(predictions, references)
    assert [case.missing for case in cases] == ["prediction", "reference", "", "reference", "reference", ""]
    assert "is a link to annex/key.nii.gz, where nothing is" in cases[3].reason
    assert all(case.reason.startswith("the reference cannot be used: ") for case in cases if case.missing == "reference")
    assert all(math.isnan(m.value) for m in cases[1].measurements)
    assert [m.metric for m in cases[1].measurements] == [m.metric for m in cases[2].measurements]


@pytest.mark.parametrize("side", ["read_reference", "read_predicted"])
def test_whatever_a_file_makes_a_reader_raise_belongs_to_its_case(
    predictions: Path, cohort_folder: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    honest = getattr(evaluation, side)

    def raises(pair: Pair, *more: object) -> object:
        if pair.case_id == "phantom_0002":
            raise ZeroDivisionError("deep in a library")
        return honest(pair, *more)

    monkeypatch.setattr(evaluation, side, raises)
    cases = run(predictions, cohort_folder / "manifest.json")
    assert [case.missing for case in cases] == ["prediction", "", "reference" if "ref" in side else "prediction", "", "", ""]
    assert "ZeroDivisionError: deep in a library" in cases[2].reason


@pytest.mark.slow
def test_a_process_that_dies_costs_one_case_and_does_not_improve_it(
    predictions: Path, cohort_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes are forked, so that they have the reader that dies."""
    honest = evaluation.read_predicted

    def dies(pair: Pair, *more: object) -> object:
        if pair.case_id == "phantom_0002" and pair.predicted is not None:
            os._exit(9)
        return honest(pair, *more)

    monkeypatch.setattr(evaluation, "read_predicted", dies)
    forked = multiprocessing.get_context("fork")
    monkeypatch.setattr(evaluation, "ProcessPoolExecutor", partial(ProcessPoolExecutor, mp_context=forked))
    cases = run(predictions, cohort_folder / "manifest.json", workers=2)
    assert [case.pair.case_id for case in cases] == [f"phantom_{n:04d}" for n in range(6)]
    assert [case.missing for case in cases] == ["prediction", "", "prediction", "", "", ""]
    assert "ended suddenly, most likely for lack of memory" in cases[2].reason
    assert {m.value for m in cases[2].measurements if m.metric == "dice"} == {0.0}


def test_labels_that_are_no_structure_are_named(cohort_folder: Path, tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    mask = np.zeros((6, 6, 6), dtype=np.uint8)
    mask[1:4] = 1
    write_nifti(tmp_path / "r" / "a.nii.gz", mask)
    write_nifti(tmp_path / "p" / "a.nii.gz", mask * 255)
    case = run(tmp_path / "p", tmp_path / "r")[0]
    assert case.undeclared == ["predicted 255: 108 voxels"]
    assert {m.value for m in case.measurements if m.metric == "dice"} == {0.0}


def test_the_same_body_in_another_order_of_axes_is_right(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    mask = np.zeros((6, 5, 4), dtype=np.uint8)
    mask[1:3, 2:4] = 1
    write_nifti(tmp_path / "r" / "a.nii.gz", mask)
    lps = np.array([[-1, 0, 0, 5], [0, -1, 0, 4], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    write_nifti(tmp_path / "p" / "a.nii.gz", np.ascontiguousarray(mask[::-1, ::-1]), affine=lps)
    assert {m.value for m in run(tmp_path / "p", tmp_path / "r")[0].measurements if m.metric == "dice"} == {1.0}
