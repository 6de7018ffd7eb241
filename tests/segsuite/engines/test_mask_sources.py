from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.data.manifest import Case, Manifest, write_manifest
from segsuite.engines.mask_sources import find_predictions, find_references
from segsuite.errors import ManifestError

Write = Callable[..., Path]
ONE = np.ones((3, 3, 3), dtype=np.uint8)


def cases(folder: Path) -> list[str]:
    return [reference.pair.case_id for reference in find_references(folder, data_root=None, fold=None).cases]


def test_two_files_of_one_reference_are_named(tmp_path: Path, write_nifti: Write) -> None:
    for name in ("scan.nii.gz", "scan.nrrd", "sub/scan.nii.gz", "sub/scan.mha", "other.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(
        ManifestError, match=r"several files of 2 cases \(scan: scan.nii.gz and scan.nrrd; sub/scan: scan.mha and"
    ):
        cases(tmp_path)


def test_a_segmentation_is_called_like_its_scan(tmp_path: Path) -> None:
    (tmp_path / "p1.seg.nrrd").touch()
    assert cases(tmp_path) == ["p1"]


def test_names_that_are_no_utf8_can_be_written(tmp_path: Path) -> None:
    try:
        (tmp_path / "m\udce9r.nii").touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert cases(tmp_path) == ["mxE9r"]


def test_a_link_to_nothing_counts_and_a_linked_folder_that_is_gone_too(tmp_path: Path) -> None:
    (tmp_path / "a.nii").symlink_to("annex/a.nii")
    (tmp_path / "P3").symlink_to("store/P3")
    assert cases(tmp_path) == ["a", "P3"]


def test_structures_of_a_folder_per_case(tmp_path: Path, write_nifti: Write) -> None:
    for case in ("s1", "s2"):
        for name in ("spleen", "liver"):
            write_nifti(tmp_path / case / f"{name}.nii.gz", ONE)
    found = find_references(tmp_path, data_root=None, fold=None)
    assert found.structures == {1: "liver", 2: "spleen"}
    assert "a folder per case with a file per structure: 2 cases, 2 structures (liver, spleen)" in found.notes[0]
    assert [(r.pair.case_id, r.pair.patient_id, sorted(r.pair.reference_files)) for r in found.cases] == [
        (case, case, ["liver", "spleen"]) for case in ("s1", "s2")
    ]


def test_volumes_beside_references_are_said(tmp_path: Path, write_nifti: Write) -> None:
    write_nifti(tmp_path / "a.nii.gz", ONE)
    write_nifti(tmp_path / "a_map_final.nii.gz", ONE.astype(np.float32))
    write_nifti(tmp_path / "a_probability_1.nii.gz", ONE / np.float32(3))
    found = find_references(tmp_path, data_root=None, fold=None)
    assert [reference.pair.case_id for reference in found.cases] == ["a", "a_map_final"], "whole numbers are labels"
    assert found.notes == ("a_probability_1.nii.gz belong to masks beside them and are no references",)


def test_predictions_tell_what_their_labels_mean(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "labels.tsv").write_text("index\tname\n0\tbackground\n3\tliver\n")
    assert find_predictions(tmp_path / "p", data_root=None).labels == {3: "liver"}
    rows = [Case(image="i.nii", label="l.nii", case_id="c")]
    manifest = Manifest(name="m", labels={"background": 0, "liver": 1}, label_mapping={10: 1}, training=rows)
    write_manifest(tmp_path / "m.json", manifest)
    found = find_predictions(tmp_path / "m.json", data_root=None)
    assert (found.labels, found.mapping) == ({1: "liver"}, {10: 1})
    assert found.by_name == {"c": [tmp_path / "l.nii"]}


def test_nothing_of_a_fold_says_so(cohort_folder: Path) -> None:
    with pytest.raises(ManifestError, match="got none of fold 7. Check the folder, or --fold"):
        find_references(cohort_folder / "manifest.json", data_root=None, fold=7)


def test_scans_of_one_folder_are_one_patient_s(tmp_path: Path, write_nifti: Write) -> None:
    """Intervals are over patients: two time points are not two patients."""
    for name in ("P0/t1", "P0/t2", "P1/t1"):
        write_nifti(tmp_path / f"{name}.nii.gz", ONE)
    found = find_references(tmp_path, data_root=None, fold=None)
    assert {r.pair.case_id: r.pair.patient_id for r in found.cases} == {"P0/t1": "P0", "P0/t2": "P0", "P1/t1": "P1"}
    assert found.notes == ("several scans are taken as one patient's, by their folders or names: intervals are over patients",)
