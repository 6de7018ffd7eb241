"""What belongs to an image: a change in any of its files is seen, one in any other is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from segsuite.volumes.image_files import files_of_image, hash_of_image, is_series
from tests.slices import save_series


def test_a_slice_stands_for_all_of_its_series(tmp_path: Path) -> None:
    save_series(tmp_path, name="A{}", series="a")
    save_series(tmp_path, name="B{}", series="b", n_slices=2)
    assert [path.name for path in files_of_image(tmp_path / "B1")] == ["B1", "B2"]
    before = [hash_of_image(tmp_path / name) for name in ("A1", "B1")]
    (tmp_path / "B2").write_bytes((tmp_path / "B2").read_bytes() + b"\0\0")
    after = [hash_of_image(tmp_path / name) for name in ("A1", "B1")]
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_masks_and_papers_in_the_folder_of_a_series_do_not_change_it(tmp_path: Path) -> None:
    save_series(tmp_path)
    before = hash_of_image(tmp_path)
    (tmp_path / "masks").mkdir()
    for name in ("letter.pdf", "mask.nii.gz", "masks/mask.nii.gz"):
        (tmp_path / name).write_bytes(b"new")
    assert hash_of_image(tmp_path) == before
    assert is_series(tmp_path)


def test_headers_bring_their_data_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a.mhd", "a.raw", "a.nii.gz", "b.raw", "a.nrrd"):
        (tmp_path / name).write_bytes(name.encode())
    assert [path.name for path in files_of_image(tmp_path / "a.mhd")] == ["a.mhd", "a.raw"]
    assert [path.name for path in files_of_image(tmp_path / "a.nii.gz")] == ["a.nii.gz"]
    for name in ("c.hdr", "c.img.gz"):
        (tmp_path / name).write_bytes(name.encode())
    assert [path.name for path in files_of_image(tmp_path / "c.hdr")] == ["c.hdr", "c.img.gz"]


def test_a_series_that_cannot_be_told_is_all_that_may_be_it(tmp_path: Path) -> None:
    save_series(tmp_path, name="A{}", series="a", n_slices=1)
    save_series(tmp_path, name="B{}", series="b", n_slices=2)
    assert len(files_of_image(tmp_path)) == 3


def test_nothing_is_no_image(tmp_path: Path) -> None:
    assert files_of_image(tmp_path / "gone.nii") == []
    with pytest.raises(FileNotFoundError, match="gone.nii must be an image"):
        hash_of_image(tmp_path / "gone.nii")
