from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from segsuite.data.importing.tree import MADE_MARK, Tree, axes_of, list_tree, matches, without_four_dimensional
from segsuite.errors import ManifestError
from tests.slices import save, save_series, slice_data

Touch = Callable[..., Path]
Write = Callable[..., Path]


def test_linked_folders_are_looked_into_and_loops_end(tmp_path: Path, touch: Touch) -> None:
    touch("store/P0/img.nii.gz", "study/P1/img.nii.gz", "study/.hidden/x.nii.gz", "study/notes.doc")
    (tmp_path / "study" / "P0").symlink_to(tmp_path / "store" / "P0")
    (tmp_path / "study" / "P1" / "up").symlink_to(tmp_path / "study")
    assert list_tree(tmp_path / "study").paths == ("P0/img.nii.gz", "P1/img.nii.gz")


def test_a_link_to_nothing_is_named(tmp_path: Path, touch: Touch) -> None:
    touch("a.nii.gz")
    (tmp_path / "b.nii.gz").symlink_to(".git/annex/objects/b")
    tree = list_tree(tmp_path)
    assert tree.paths == ("a.nii.gz", "b.nii.gz")
    assert [(finding.severity, finding.subjects) for finding in tree.findings] == [("error", ("b.nii.gz",))]


def test_pipes_are_not_opened(tmp_path: Path, touch: Touch) -> None:
    touch("a.nii.gz")
    os.mkfifo(tmp_path / "b.nii.gz")
    tree = list_tree(tmp_path)
    assert tree.paths == ("a.nii.gz",)
    assert tree.findings[0].subjects == ("b.nii.gz",)


def test_a_folder_of_slices_is_one_image(tmp_path: Path, touch: Touch) -> None:
    touch("P1/t2/1.dcm", "P1/t2/2.dcm", "P1/seg.nii.gz")
    assert list_tree(tmp_path).paths == ("P1/seg.nii.gz", "P1/t2")


def test_series_are_found_by_content_each_for_itself(tmp_path: Path) -> None:
    save_series(tmp_path / "P1/t2", name="IM{}")
    save_series(tmp_path / "P1/both", name="A{}", series="a")
    save_series(tmp_path / "P1/both", name="B{}", series="b")
    save_series(tmp_path / "P1/both", name="L{}", series="l", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert list_tree(tmp_path).paths == ("P1/both/A1", "P1/both/B1", "P1/t2")


def test_a_series_whose_slices_lie_in_several_folders_is_one_image_and_not_two_halves(tmp_path: Path) -> None:
    for number in range(4):
        save(slice_data(number), tmp_path / "P1" / ("x" if number < 2 else "y") / f"IM{number}")
    assert list_tree(tmp_path) == Tree(tmp_path, ("P1",))
    for number in range(4):
        save(slice_data(number, series="b"), tmp_path / "P1" / ("x" if number < 2 else "y") / f"B{number}")
    tree = list_tree(tmp_path)
    assert (tree.paths, [finding.severity for finding in tree.findings]) == ((), ["error"])
    assert "in x, y. Put them into one folder" in str(tree.findings[0])


def test_what_is_left_out_is_told_and_idle_patterns_are_refused(tmp_path: Path, touch: Touch) -> None:
    touch("P1/a.nii", "P1/a_r2.nii", "P2/a.nii")
    tree = list_tree(tmp_path, leave_out=["*_r2.nii", "P2/*"])
    assert tree.paths == ("P1/a.nii",)
    assert tree.findings[0].subjects == ("P1/a_r2.nii", "P2/a.nii")
    with pytest.raises(ManifestError, match=r"--leave-out must match files .*got `\*_r3.nii`"):
        list_tree(tmp_path, leave_out=["*_r3.nii"])
    assert matches("P1/a.nii", "a.nii")
    assert not matches("P1/a.nii", "P2/*")


def test_masks_that_an_import_made_are_no_source(tmp_path: Path, touch: Touch) -> None:
    touch("s1/ct.nii.gz", "M_labels/s1_ct.nii.gz", f"M_labels/{MADE_MARK}")
    tree = list_tree(tmp_path)
    assert tree.paths == ("s1/ct.nii.gz",)
    assert tree.findings[0].subjects == ("M_labels",)


def test_time_series_are_no_cases(tmp_path: Path, write_nifti: Write) -> None:
    write_nifti(tmp_path / "rest.nii.gz", np.zeros((2, 3, 4, 5), np.uint8))
    write_nifti(tmp_path / "t1.nii.gz", np.zeros((2, 3, 4, 1), np.uint8))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 3, 2, 2), np.uint8), isVector=True), str(tmp_path / "v.nrrd"))
    (tmp_path / "broken.nii.gz").write_bytes(b"x")
    names = ["broken.nii.gz", "rest.nii.gz", "t1.nii.gz", "v.nrrd"]
    assert [axes_of(tmp_path / name) for name in names] == [(), (2, 3, 4, 5), (2, 3, 4), (2, 3, 4, 2)]
    kept, findings = without_four_dimensional(tmp_path, names)
    assert kept == ["broken.nii.gz", "t1.nii.gz"]
    assert findings[0].subjects == ("rest.nii.gz", "v.nrrd")
    assert without_four_dimensional(tmp_path, names, n_channels=2)[0] == ["broken.nii.gz", "t1.nii.gz", "v.nrrd"]
