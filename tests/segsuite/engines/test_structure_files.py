from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.engines.structure_files import by_folder, common_name, files_of, structure_folders
from segsuite.volumes.mask_files import list_masks

Write = Callable[..., Path]
ONE, TWO = np.ones((3, 3, 3), dtype=np.uint8), np.arange(27, dtype=np.uint8).reshape(3, 3, 3) % 3


def found(root: Path) -> dict[str, list[str]]:
    return {case: sorted(names) for case, names in structure_folders(list_masks(root).masks, root).items()}


def test_a_folder_per_case_and_a_file_per_structure(tmp_path: Path, write_nifti: Write) -> None:
    for case in ("s1", "s2"):
        for name, value in (("liver", 1), ("spleen", 255)):
            write_nifti(tmp_path / case / f"{name}.nii.gz", ONE * value)
    assert found(tmp_path) == {"s1": ["liver", "spleen"], "s2": ["liver", "spleen"]}


def test_the_images_beside_a_folder_of_masks_are_none(tmp_path: Path, write_nifti: Write) -> None:
    """Also of one case alone: the name of the folder tells."""
    write_nifti(tmp_path / "s1" / "ct.nii.gz", TWO.astype(np.int16) * -1000)
    for name in ("liver", "spleen"):
        write_nifti(tmp_path / "s1" / "segmentations" / f"{name}.nii.gz", ONE)
    assert found(tmp_path) == {"s1": ["liver", "spleen"]}


@pytest.mark.parametrize(
    "names",
    [
        {"P0": ["rater1", "rater2"], "P1": ["rater1", "rater2"]},
        {"site1": ["case_01", "case_02"], "site2": ["case_01", "case_02"]},
        {"P0": ["2020", "2021"], "P1": ["2019", "2021"]},
        {"P0": ["a", "b"], "P1": ["c", "d"]},
        {"all": ["liver", "spleen"]},
        {"P0": ["t2w"], "P1": ["t2w"]},
    ],
    ids=["raters", "sites", "dates", "names of their own", "one folder", "one mask each"],
)
def test_scans_and_raters_are_no_structures(tmp_path: Path, write_nifti: Write, names: dict[str, list[str]]) -> None:
    for folder, stems in names.items():
        for stem in stems:
            write_nifti(tmp_path / folder / f"{stem}.nii.gz", ONE)
    assert found(tmp_path) == {}


def test_masks_of_several_labels_or_of_several_grids_are_cases(tmp_path: Path, write_nifti: Write) -> None:
    for case in ("P0", "P1"):
        write_nifti(tmp_path / "labels" / case / "before.nii.gz", TWO)
        write_nifti(tmp_path / "labels" / case / "after.nii.gz", ONE)
        write_nifti(tmp_path / "grids" / case / "before.nii.gz", ONE)
        write_nifti(tmp_path / "grids" / case / "after.nii.gz", ONE, spacing=2.0)
    assert found(tmp_path / "labels") == found(tmp_path / "grids") == {}


def test_a_file_of_several_labels_among_many_does_not_hide_the_layout(tmp_path: Path, write_nifti: Write) -> None:
    for case in ("s1", "s2"):
        for name in ("liver", "spleen", "aorta"):
            write_nifti(tmp_path / case / f"{name}.nii.gz", TWO if (case, name) == ("s1", "aorta") else ONE)
    assert found(tmp_path)["s1"] == ["aorta", "liver", "spleen"]


def test_a_damaged_file_does_not_hide_the_layout(tmp_path: Path, write_nifti: Write) -> None:
    for case in ("s1", "s2"):
        for name in ("liver", "spleen", "aorta"):
            write_nifti(tmp_path / case / f"{name}.nii.gz", ONE)
    (tmp_path / "s1" / "aorta.nii.gz").write_bytes(b"\x1f\x8b damaged")
    assert found(tmp_path)["s1"] == ["aorta", "liver", "spleen"]


def test_files_of_a_case_are_found_by_its_last_name_where_one_folder_bears_it(tmp_path: Path) -> None:
    folders = by_folder([tmp_path / name for name in ("x/s1/a.nii", "y/s2/a.nii", "z/s2/a.nii", "top.nii")], tmp_path)
    assert set(folders) == {"x/s1", "y/s2", "z/s2"}
    assert files_of(folders, "s1") == {"a": tmp_path / "x" / "s1" / "a.nii"}
    assert files_of(folders, "y/s2") == {"a": tmp_path / "y" / "s2" / "a.nii"}
    assert files_of(folders, "s2") == files_of(folders, "s3") == {}


def test_names_are_compared_as_people_write_them() -> None:
    assert common_name(" Kidney  left ") == common_name("kidney_left") == common_name("KIDNEY-LEFT")
