from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.data.importers import import_folder
from segsuite.errors import ManifestError

Write = Callable[..., Path]
BOX = np.zeros((2, 2, 2), dtype=np.uint8)


@pytest.mark.data
def test_decathlon_as_downloaded(real_data: Path) -> None:
    manifest = import_folder(real_data / "msd_hippocampus")
    assert len(manifest.training) == 200
    assert manifest.labels == {"background": 0, "Anterior": 1, "Posterior": 2}
    assert manifest.training[0].label == "labelsTr/hippocampus_001.nii.gz"


@pytest.mark.data
def test_flat_folder_of_pairs_as_downloaded(real_data: Path) -> None:
    manifest = import_folder(real_data / "chaos_t2_mr")
    assert len(manifest.training) == 14
    assert all(case.label == case.images[0].replace("image", "label") for case in manifest.training)


def test_nnunet_with_channels_splits_and_ignore(tmp_path: Path, write_nifti: Write) -> None:
    for case in ("a", "b"):
        for channel in range(2):
            write_nifti(tmp_path / "imagesTr" / f"{case}_{channel:04d}.nii.gz", BOX)
        write_nifti(tmp_path / "labelsTr" / f"{case}.nii.gz", BOX)
    write_nifti(tmp_path / "imagesTs" / "t_0000.nii.gz", BOX)
    content = {
        "channel_names": {"0": "T2", "1": "ADC"},
        "labels": {"background": 0, "x": 1, "ignore": 2},
        "file_ending": ".nii.gz",
        "numTraining": 2,
    }
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    (tmp_path / "splits_final.json").write_text(json.dumps([{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]))
    manifest = import_folder(tmp_path)
    assert [(case.case_id, case.fold) for case in manifest.training] == [("a", 1), ("b", 0)]
    assert manifest.training[0].images == ("imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz")
    assert (manifest.labels, manifest.ignore_label, len(manifest.test)) == ({"background": 0, "x": 1}, 2, 1)


def test_bids_with_derivatives(tmp_path: Path, write_nifti: Write) -> None:
    write_nifti(tmp_path / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_T2w.nii.gz", BOX)
    write_nifti(tmp_path / "sub-02" / "anat" / "sub-02_T2w.nii.gz", BOX)
    derived = tmp_path / "derivatives" / "manual"
    write_nifti(derived / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_seg-zones_dseg.nii.gz", BOX)
    (derived / "seg-zones_dseg.tsv").write_text("index\tname\n1\tPZ\n2\tTZ\n")
    (tmp_path / "dataset_description.json").write_text("{}")
    manifest = import_folder(tmp_path)
    assert [(c.patient_id, c.session, c.label is not None) for c in manifest.training] == [
        ("sub-01", "1", True),
        ("sub-02", None, False),
    ]
    assert manifest.labels == {"background": 0, "PZ": 1, "TZ": 2}


@pytest.mark.parametrize(("ending", "separator"), [("csv", ","), ("tsv", "\t")])
def test_table_with_channels_and_attributes(tmp_path: Path, ending: str, separator: str) -> None:
    lines = [["image", "label", "patient_id", "psa"], ["a.nii;b.nii", "l.nii", "P1", "4.5"], ["c.nii;d.nii", "", "P2", "?"]]
    path = tmp_path / f"t.{ending}"
    path.write_text("\n".join(separator.join(line) for line in lines))
    manifest = import_folder(path)
    assert manifest.training[0].images == ("a.nii", "b.nii")
    assert [case.attributes["psa"] for case in manifest.training] == [4.5, "?"]
    assert manifest.training[1].label is None
    assert manifest.n_channels == 2


def test_folder_per_case_with_patterns(tmp_path: Path, write_nifti: Write) -> None:
    for case in ("p1", "p2"):
        write_nifti(tmp_path / case / "t2w.nii.gz", BOX)
        write_nifti(tmp_path / case / "zones.nii.gz", BOX)
    manifest = import_folder(tmp_path, layout="folder", images="*/t2w.nii.gz", labels="*/zones.nii.gz")
    assert [(c.case_id, c.label) for c in manifest.training] == [
        ("p1_t2w", "p1/zones.nii.gz"),
        ("p2_t2w", "p2/zones.nii.gz"),
    ]


def test_two_folders_with_the_same_names(tmp_path: Path, write_nifti: Write) -> None:
    for case in ("a", "b"):
        write_nifti(tmp_path / "scans" / f"{case}.nii.gz", BOX)
        write_nifti(tmp_path / "masks" / f"{case}.nii.gz", BOX)
    assert [c.label for c in import_folder(tmp_path).training] == ["masks/a.nii.gz", "masks/b.nii.gz"]


def test_patient_pattern(tmp_path: Path, write_nifti: Write) -> None:
    for name in ("P7_scan1", "P7_scan2"):
        write_nifti(tmp_path / f"{name}.nii.gz", BOX)
    manifest = import_folder(tmp_path, patient_pattern=r"^(P\d+)_")
    assert [case.patient_id for case in manifest.training] == ["P7", "P7"]
    with pytest.raises(ManifestError, match="must match every case with one"):
        import_folder(tmp_path, patient_pattern=r"^(X)")


class TestRefusals:
    def test_unknown_layout(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="Did you mean `decathlon`"):
            import_folder(tmp_path, layout="decatlon")

    def test_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="must hold cases in layout `folder`, got none"):
            import_folder(tmp_path)

    def test_table_without_image_column(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("imag,label\na,b\n")
        with pytest.raises(ManifestError, match="must have a column `image`"):
            import_folder(tmp_path / "t.csv")

    def test_nnunet_regions(self, tmp_path: Path) -> None:
        (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "whole": [1, 2]}, "channel_names": {}}))
        with pytest.raises(ManifestError, match=r"single integers, got regions for \['whole'\]"):
            import_folder(tmp_path)
