"""Archives of one image or one series are images; others are refused."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.errors import VolumeError
from segsuite.service.uploads import image_in, stem_of, taken_ending
from segsuite.volumes.reading import read_volume
from tests.slices import expected_volume, save_series


def pack(path: Path, *folders: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for folder in folders:
            for file in sorted(folder.iterdir()):
                packed.write(file, f"{folder.name}/{file.name}")
    return path


def test_names() -> None:
    assert [taken_ending(name) for name in ("a.nii.gz", "A.ZIP", "a.tar.gz", "a.png", "zip")] == [
        ".nii.gz", ".zip", ".tar.gz", "", "",
    ]  # fmt: skip
    assert [stem_of(name) for name in ("x/a.nii.gz", "a b.tar.gz", "a.png")] == ["a", "a b", "a.png"]


def test_a_packed_series_is_an_image(tmp_path: Path) -> None:
    upload = pack(tmp_path / "image_0000.zip", save_series(tmp_path / "ser", name="IM{}"))
    image = image_in(upload, most_voxels=2000)
    np.testing.assert_array_equal(read_volume(image).array[0], expected_volume())
    assert not upload.exists()


def test_a_plain_file_is_itself(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", np.zeros((2, 2, 2)))
    assert image_in(path, most_voxels=10) == path


def test_none_several_and_too_much_are_refused(tmp_path: Path) -> None:
    series = [save_series(tmp_path / name, series=name) for name in "ab"]
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers/letter.doc").write_text("text")
    for number, (folders, most, words) in enumerate((
        (series, 10**6, "got 2: a, b. Pack one by one"),
        ([tmp_path / "papers"], 10**6, r"got 0\. Pack"),
        (series, 100, "must unpack to at most"),
    )):  # fmt: skip
        with pytest.raises(VolumeError, match=words):
            image_in(pack(tmp_path / f"image_{number}.zip", *folders), most_voxels=most)
