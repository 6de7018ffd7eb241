from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.data.importing.found import ImportFinding
from segsuite.data.manifest import read_manifest, write_manifest
from segsuite.errors import ManifestError, OutputError
from segsuite.verbs.data import split
from segsuite.verbs.importing import import_data
from segsuite.verbs.masks import Watch
from segsuite.volumes.reading import read_labels

Write = Callable[..., Path]
IMAGE = np.arange(27, dtype=np.int16).reshape(3, 3, 3)


def ball(value: int = 1, at: int = 1) -> np.ndarray:
    mask = np.zeros((3, 3, 3), np.uint8)
    mask[at] = value
    return mask


@pytest.fixture
def pairs(tmp_path: Path, write_nifti: Write) -> Path:
    for number in range(4):
        write_nifti(tmp_path / f"set/P{number}/scan.nii.gz", IMAGE + number)
        write_nifti(tmp_path / f"set/P{number}/scan_seg.nii.gz", ball(number % 2 + 1))
    return tmp_path / "set"


@pytest.fixture
def organs(tmp_path: Path, write_nifti: Write) -> Path:
    for number in (1, 2):
        write_nifti(tmp_path / f"ts/s{number}/ct.nii.gz", IMAGE)
        write_nifti(tmp_path / f"ts/s{number}/segmentations/liver.nii.gz", ball(1, at=0))
        write_nifti(tmp_path / f"ts/s{number}/segmentations/spleen.nii.gz", ball(1, at=2))
    return tmp_path / "ts"


def hashes(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_labels_are_those_found_in_the_masks(pairs: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    manifest = import_data(pairs, tmp_path / "M.json", watch=Watch(2, on_case=seen.append))
    assert manifest.labels == {"background": 0, "label_1": 1, "label_2": 2}
    assert sorted(seen) == [f"P{n}_scan" for n in range(4)]


def test_one_mask_that_cannot_be_read_costs_no_other(pairs: Path, tmp_path: Path) -> None:
    (pairs / "P1/scan_seg.nii.gz").write_bytes(b"no gzip")
    findings: list[ImportFinding] = []
    manifest = import_data(pairs, tmp_path / "M.json", on_finding=findings.append)
    assert len(manifest.training) == 4
    assert [(finding.severity, finding.subjects) for finding in findings] == [("error", ("P1_scan",))]
    assert "scan_seg.nii.gz" in findings[0].message


class TestWhatIsThereAlready:
    def test_an_import_that_nobody_touched_is_made_again(self, pairs: Path, tmp_path: Path, write_nifti: Write) -> None:
        out = tmp_path / "M.json"
        first = import_data(pairs, out)
        assert import_data(pairs, out) == first
        write_nifti(pairs / "P9/scan.nii.gz", IMAGE)
        assert len(import_data(pairs, out).training) == 5
        assert len(read_manifest(out).training) == 5

    def test_folds_are_not_lost(self, pairs: Path, tmp_path: Path) -> None:
        out = tmp_path / "M.json"
        import_data(pairs, out)
        split(out, n_folds=2, seed=0, data_root=None, workers=1)
        before = out.read_bytes()
        with pytest.raises(OutputError, match=r"M.json is there already, and it has folds \[0, 1\].*--overwrite"):
            import_data(pairs, out)
        assert out.read_bytes() == before
        assert import_data(pairs, out, overwrite=True).folds == []

    def test_work_on_the_manifest_is_not_lost(self, pairs: Path, tmp_path: Path) -> None:
        out = tmp_path / "M.json"
        manifest = import_data(pairs, out)
        write_manifest(out, manifest.model_copy(update={"labels": {"background": 0, "liver": 1, "spleen": 2}}))
        with pytest.raises(OutputError, match="it was changed since it was imported"):
            import_data(pairs, out)

    def test_the_users_own_dataset_json_is_not_replaced(self, tmp_path: Path, write_nifti: Write) -> None:
        write_nifti(tmp_path / "a.nii.gz", IMAGE)
        write_nifti(tmp_path / "a_seg.nii.gz", ball())
        rows = [{"image": "a.nii.gz", "label": "a_seg.nii.gz"}]
        (tmp_path / "dataset.json").write_text(json.dumps({"name": "d", "labels": {"background": 0, "x": 1}, "training": rows}))
        before = hashes(tmp_path)
        with pytest.raises(OutputError, match=r"it was not written by `segsuite manifest import`"):
            import_data(tmp_path, tmp_path / "dataset.json")
        with pytest.raises(OutputError, match="must not be an input"):
            import_data(tmp_path, tmp_path / "dataset.json", overwrite=True)
        assert hashes(tmp_path) == before

    @pytest.mark.parametrize("name", ["P0/scan.nii.gz", "P0/scan_seg.nii.gz", "link.json", "t.csv", "P1"])
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_nothing_that_is_read_is_written_over(self, pairs: Path, name: str, overwrite: bool) -> None:
        (pairs / "link.json").symlink_to(pairs / "P0/scan.nii.gz")
        (pairs / "t.csv").write_text("image\nP0/scan.nii.gz\n")
        before = hashes(pairs)
        with pytest.raises(OutputError):
            import_data(pairs / "t.csv" if name == "t.csv" else pairs, pairs / name, overwrite=overwrite)
        assert hashes(pairs) == before


class TestStructures:
    def test_one_file_per_organ_becomes_one_map_beside_the_manifest(self, organs: Path, tmp_path: Path) -> None:
        before = hashes(organs)
        manifest = import_data(organs, tmp_path / "M.json")
        assert manifest.labels == {"background": 0, "liver": 1, "spleen": 2}
        assert [case.label for case in manifest.training] == ["../M_labels/s1_ct.nii.gz", "../M_labels/s2_ct.nii.gz"]
        labels = read_labels(tmp_path / "M_labels/s1_ct.nii.gz").labels
        np.testing.assert_array_equal(labels, ball(1, at=0) + ball(2, at=2))
        assert hashes(organs) == before
        assert import_data(organs, tmp_path / "M.json") == manifest

    def test_integers_are_those_of_a_known_manifest(self, organs: Path, tmp_path: Path) -> None:
        like = {"name": "k", "labels": {"background": 0, "spleen": 3, "liver": 7, "kidney": 9}}
        (tmp_path / "like.json").write_text(json.dumps(like))
        manifest = import_data(organs, tmp_path / "M.json", like=str(tmp_path / "like.json"))
        assert manifest.labels["liver"] == 7
        assert set(np.unique(read_labels(tmp_path / "M_labels/s1_ct.nii.gz").labels)) == {0, 3, 7}
        (tmp_path / "like.json").write_text(json.dumps({"name": "k", "labels": {"background": 0, "Liver": 7}}))
        with pytest.raises(ManifestError, match=r"got none for \['liver', 'spleen'\]. Did you mean `Liver`"):
            import_data(organs, tmp_path / "N.json", like=str(tmp_path / "like.json"))

    def test_a_case_that_cannot_be_combined_is_named_and_the_others_are_done(
        self, organs: Path, tmp_path: Path, write_nifti: Write
    ) -> None:
        write_nifti(organs / "s2/segmentations/spleen.nii.gz", ball(1, at=0))
        findings: list[ImportFinding] = []
        manifest = import_data(organs, tmp_path / "M.json", on_finding=findings.append)
        assert [case.label is None for case in manifest.training] == [False, True]
        errors = [finding for finding in findings if finding.severity == "error"]
        assert [finding.subjects for finding in errors] == [("s2_ct",)]
        assert "liver and spleen" in errors[0].message or "spleen and liver" in errors[0].message
        findings.clear()
        manifest = import_data(organs, tmp_path / "M.json", order=["liver", "spleen"], on_finding=findings.append)
        assert all(case.label for case in manifest.training)
        assert "s2_ct: liver (9 voxels to spleen)" in {subject for finding in findings for subject in finding.subjects}

    def test_an_organ_without_a_file_is_not_background(self, organs: Path, tmp_path: Path) -> None:
        (organs / "s2/segmentations/spleen.nii.gz").unlink()
        manifest = import_data(organs, tmp_path / "M.json")
        assert [case.labelled for case in manifest.training] == [None, ["liver"]]

    def test_a_folder_of_somebody_else_is_not_written_into(self, organs: Path, tmp_path: Path) -> None:
        (tmp_path / "M_labels").mkdir()
        (tmp_path / "M_labels/s1_ct.nii.gz").write_bytes(b"mine")
        with pytest.raises(OutputError, match="M_labels is there already and was not made by segsuite"):
            import_data(organs, tmp_path / "M.json")
        assert (tmp_path / "M_labels/s1_ct.nii.gz").read_bytes() == b"mine"
