from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segsuite.errors import GridError, VolumeError
from segsuite.volumes.reading import read_grid, read_labels, read_volume
from segsuite.volumes.writing import write_mask

AFFINE = np.array([[-0.5, 0, 0, 10], [0, 0, 0.7, 20], [0, -0.5, 0, -30], [0, 0, 0, 1.0]])
ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("ending", [".mgz", ".mgh"])
def test_what_nibabel_writes_reads_as_nibabel_reads_it(tmp_path: Path, kind: type, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    image = nib.MGHImage(ARRAY.astype(kind), AFFINE)
    nib.save(image, path)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array[0], ARRAY)
    np.testing.assert_array_equal(volume.grid.affine, nib.MGHImage.from_bytes(image.to_bytes()).affine)
    np.testing.assert_array_equal(read_grid(path).affine, volume.grid.affine)
    assert volume.sides_known


def test_masks_of_mgz_lie_on_the_image_for_nibabel_too(tmp_path: Path) -> None:
    nib.save(nib.MGHImage(ARRAY, AFFINE), tmp_path / "a.mgz")
    for labels in (ARRAY % 3, ARRAY + 300):
        write_mask(tmp_path / "m.mgz", labels, like=read_volume(tmp_path / "a.mgz"))
        written = nib.load(tmp_path / "m.mgz")
        np.testing.assert_array_equal(np.asarray(written.dataobj), labels)
        np.testing.assert_allclose(written.affine, AFFINE, atol=1e-5)
        np.testing.assert_array_equal(read_labels(tmp_path / "m.mgz").labels, labels)


def test_without_a_placement_the_sides_are_not_known(tmp_path: Path) -> None:
    content = bytearray(nib.MGHImage(ARRAY, AFFINE).to_bytes())
    content[28:30] = b"\0\0"
    (tmp_path / "a.mgh").write_bytes(content)
    volume = read_volume(tmp_path / "a.mgh")
    assert not volume.sides_known
    assert "goodRASFlag 0" in volume.notes[0]


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (4, 0, "begins like no image"),
        (4, 2**31 - 1, "2147483647 x 4 x 5 voxels"),
        (4, 2, None),
        (16, 0, "at least one voxel"),
        (20, 77, "known type, got the code 77"),
        (30, 0x7FC00000, "numbers that are none"),
        (30, 0x7149F2CA, "size of a scan"),
    ],
)
def test_a_header_that_cannot_be_is_a_sentence(tmp_path: Path, at: int, value: int, reason: str | None) -> None:
    content = bytearray(nib.MGHImage(ARRAY, AFFINE).to_bytes())
    content[at : at + 4] = value.to_bytes(4, "big")
    (tmp_path / "a.mgh").write_bytes(content)
    if reason is None:  # the format lets tags follow the voxels, so that a shorter axis is not noticed
        assert read_volume(tmp_path / "a.mgh").array.shape == (1, 2, 4, 5)
        return
    with pytest.raises((VolumeError, GridError), match=reason):
        read_volume(tmp_path / "a.mgh")
