from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from segsuite.volumes.formats.written import metaimage_bytes, nifti_bytes, nrrd_bytes, packed, storable
from segsuite.volumes.grid import Grid
from segsuite.volumes.volume import Volume

AFFINE = np.array([[0, -0.5, 0, 1000.1234567], [0.5, 0, 0, 20], [0, 0, 3.0, -30], [0, 0, 0, 1.0]])
ARRAY = np.arange(60).reshape(3, 4, 5)
LIKE = Volume(np.zeros((1, 3, 4, 5), dtype=np.float32), Grid((3, 4, 5), AFFINE))


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize(("ending", "to_bytes"), [(".nrrd", nrrd_bytes), (".mha", metaimage_bytes)])
def test_itk_reads_what_is_written_where_it_is_meant(tmp_path: Path, kind: str, ending: str, to_bytes: object) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(to_bytes(ARRAY.astype(kind), LIKE))  # type: ignore[operator]
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, ARRAY)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ affine, AFFINE, atol=1e-12)


def test_an_axis_too_long_for_nifti_1_is_written_as_nifti_2() -> None:
    array = np.zeros((40000, 1, 1), dtype=np.uint8)
    content = nifti_bytes(array, Volume(array[None], Grid(array.shape, np.eye(4))))
    assert nib.Nifti2Image.from_bytes(content).shape == (40000, 1, 1)


def test_equal_content_gives_equal_bytes() -> None:
    assert packed(b"abc" * 100) == packed(b"abc" * 100)


def test_mgh_takes_the_nearest_type_that_loses_nothing() -> None:
    assert storable(ARRAY.astype(np.uint16), ".mgz").dtype == np.int32
    assert storable(ARRAY.astype(np.uint8), ".mgz").dtype == np.uint8
    assert storable(ARRAY.astype(np.uint16), ".nii.gz").dtype == np.uint16
