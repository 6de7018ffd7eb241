from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segsuite.errors import VolumeError
from segsuite.volumes.formats.opening import described, is_known
from segsuite.volumes.formats.written import metaimage_bytes, mgh_bytes, nrrd_bytes
from segsuite.volumes.grid import Grid
from segsuite.volumes.volume import Volume

ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
LIKE = Volume(ARRAY[None], Grid(ARRAY.shape, np.diag([-1.0, -1, 2, 1])))
CONTENTS = {
    "nifti": nib.Nifti1Image(ARRAY, LIKE.grid.affine).to_bytes(),
    "nrrd": nrrd_bytes(ARRAY, LIKE),
    "metaimage": metaimage_bytes(ARRAY, LIKE),
    "mgh": mgh_bytes(ARRAY, LIKE),
}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.mha", "a.mgz", "a"])
def test_a_file_is_what_its_content_says(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / name).write_bytes(CONTENTS[kind])
    with described(tmp_path / name) as found:
        np.testing.assert_array_equal(found.voxels(), ARRAY)
        np.testing.assert_allclose(found.affine, LIKE.grid.affine)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html>", "text such as a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        (b"PK\3\4", "a zip archive"),
        (b"\0" * 128 + b"DICM", "a DICOM file: give the folder"),
        (b"abcd" * 100, "no image: NIfTI, NRRD, MetaImage and MGH are read"),
    ],
)
def test_what_is_no_image_is_called_by_its_name(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(VolumeError, match=f"it begins like {what}"), described(tmp_path / "a.nii.gz"):
        pass


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.nii.gz")
    with pytest.raises(VolumeError, match="got a pipe"), described(tmp_path / "a.nii.gz"):
        pass


def test_an_image_is_known_although_its_name_says_archive(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    image = write_nifti(tmp_path / "a.nii.gz", np.zeros((2, 2, 2), np.uint8))
    (tmp_path / "a.tar.gz").write_bytes(image.read_bytes())
    (tmp_path / "scans.tar.gz").write_bytes(gzip.compress(bytes(600)))
    assert is_known(tmp_path / "a.tar.gz")
    assert not is_known(tmp_path / "scans.tar.gz")
    assert not is_known(tmp_path / "gone.zip")
