from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from segsuite.errors import GridError, VolumeError
from segsuite.volumes.reading import is_image, read_channels, read_grid, read_labels, read_volume

AFFINE = np.array([[-0.5, 0.02, 0, 10], [0.02, -0.5, 0.1, 20], [0, 0.05, 3.0, -30], [0, 0, 0, 1.0]])
ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


@pytest.fixture
def nifti(tmp_path: Path, write_nifti: Callable[..., Path]) -> Path:
    return write_nifti(tmp_path / "a.nii.gz", ARRAY, AFFINE)


def test_nifti_brings_voxels_and_affine(nifti: Path) -> None:
    volume = read_volume(nifti)
    np.testing.assert_array_equal(volume.array[0], ARRAY)
    np.testing.assert_allclose(volume.grid.affine, AFFINE, atol=1e-6)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_itk_formats_lie_where_the_nifti_lies(tmp_path: Path, ending: str) -> None:
    """The peer here is ITK itself: it writes one image in both formats."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(ARRAY.T))
    image.SetSpacing((0.5, 0.7, 3.0))
    image.SetOrigin((10, -20, 30))
    cosine, sine = np.cos(0.3), np.sin(0.3)
    image.SetDirection((1, 0, 0, 0, cosine, -sine, 0, sine, cosine))
    for name in (f"a{ending}", "a.nii.gz"):
        sitk.WriteImage(image, str(tmp_path / name))
    one, other = read_volume(tmp_path / f"a{ending}"), read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(one.array, other.array)
    np.testing.assert_allclose(one.grid.affine, other.grid.affine, atol=1e-5)
    np.testing.assert_allclose(read_grid(tmp_path / f"a{ending}").affine, one.grid.affine, atol=1e-9)


def test_sheared_directions_that_itk_refuses_are_read(nifti: Path) -> None:
    with pytest.raises(RuntimeError, match="orthonormal"):
        sitk.ReadImage(str(nifti))
    assert read_volume(nifti).grid.shape == (3, 4, 5)


def test_header_alone_gives_the_grid(nifti: Path) -> None:
    np.testing.assert_allclose(read_grid(nifti).affine, AFFINE, atol=1e-6)


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ARRAY, np.eye(4))
    image.header.set_slope_inter(2.0, -7.0)
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").array[0], 2.0 * ARRAY - 7)


def test_trailing_axis_of_one_is_dropped(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    assert read_volume(write_nifti(tmp_path / "a.nii", ARRAY[..., None])).array.shape == (1, 3, 4, 5)


def test_declared_channels_may_come_in_one_file_or_several(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    both = write_nifti(tmp_path / "both.nii", np.stack([ARRAY, ARRAY + 1], axis=-1))
    one, two = write_nifti(tmp_path / "1.nii", ARRAY), write_nifti(tmp_path / "2.nii", ARRAY + 1)
    np.testing.assert_array_equal(read_channels([both], n_channels=2).array, read_channels([one, two]).array)


def test_channels_whose_files_store_the_axes_in_different_orders_fit(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    first = write_nifti(tmp_path / "1.nii", ARRAY, np.diag([1.0, 1.0, 2.0, 1.0]))
    turned = np.array([[0, -1.0, 0, 2], [0, 0, 1, 0], [2, 0, 0, 0], [0, 0, 0, 1]])
    second = write_nifti(tmp_path / "2.nii", (ARRAY + 1).transpose(2, 0, 1)[:, ::-1], turned)
    found = read_channels([first, second])
    np.testing.assert_array_equal(found.array[1], found.array[0] + 1)


def test_label_mapping_is_applied(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    path = write_nifti(tmp_path / "l.nii", np.array([[[0, 255, 4]]], dtype=np.uint8))
    assert read_labels(path, mapping={255: 1}).labels.tolist() == [[[0, 1, 4]]]


def test_float_labels_of_whole_numbers_are_labels(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    labels = read_labels(write_nifti(tmp_path / "l.nii", np.array([[[0.0, 1.0]]], dtype=np.float32)))
    assert labels.array.dtype == np.uint8


class TestRefusals:
    def test_truncated_file(self, nifti: Path) -> None:
        nifti.write_bytes(nifti.read_bytes()[:-20])
        with pytest.raises(VolumeError, match=r"a.nii.gz must be a complete image file, got \d+ bytes that cannot be read"):
            read_volume(nifti)

    def test_four_dimensional(self, tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
        path = write_nifti(tmp_path / "a.nii", np.zeros((3, 4, 5, 2), dtype=np.int16))
        with pytest.raises(VolumeError, match=r"must be one 3-D image, got 4-D of shape \(3, 4, 5, 2\)"):
            read_volume(path)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"gone.nii must be an image file, but nothing is there"):
            read_volume(tmp_path / "gone.nii")

    def test_zero_spacing(self, tmp_path: Path) -> None:
        image = nib.Nifti1Image(ARRAY, np.eye(4))
        image.header["pixdim"][1] = 0
        image.header["sform_code"] = 0
        image.header["qform_code"] = 0
        (tmp_path / "a.nii").write_bytes(image.header.binaryblock + b"\0" * 4 + ARRAY.tobytes(order="F"))
        with pytest.raises(GridError, match="above zero"):
            read_volume(tmp_path / "a.nii")

    def test_probability_map_as_labels(self, tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
        path = write_nifti(tmp_path / "p.nii", np.array([[[0.0, 0.3]]], dtype=np.float32))
        with pytest.raises(VolumeError, match=r"must hold whole numbers \(labels\), got values such as \[0.3\]"):
            read_labels(path)

    def test_another_ending(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("x")
        with pytest.raises(VolumeError, match=r"must end in one of .nii.gz"):
            read_volume(tmp_path / "a.txt")

    def test_channels_on_two_grids(self, tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
        paths = [write_nifti(tmp_path / f"{n}.nii", ARRAY, spacing=1.0 + n) for n in range(2)]
        with pytest.raises(GridError, match="must lie on one grid"):
            read_channels(paths)


def test_what_looks_like_an_image(tmp_path: Path) -> None:
    assert is_image(tmp_path / "a.NII.GZ")
    assert not is_image(tmp_path / ".hidden.nii.gz")
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "1.dcm").touch()
    assert is_image(tmp_path / "series")
    assert not is_image(tmp_path)


def test_a_damaged_file_is_refused_and_never_read_as_another_image(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    """One flipped bit anywhere, or any cut: the checksum of gzip, or an error that names the file."""
    draw = np.random.default_rng(0)
    path = write_nifti(tmp_path / "a.nii.gz", draw.integers(0, 5, (9, 8, 7)).astype(np.uint8))
    whole, content = read_labels(path).labels, path.read_bytes()
    damaged = [content[:n] for n in (0, 1, 5, 17, 18, 100, len(content) - 5, len(content) - 1)]
    for _ in range(100):
        flipped = bytearray(content)
        flipped[int(draw.integers(len(content)))] ^= 1 << int(draw.integers(8))
        damaged.append(bytes(flipped))
    refusals = []
    for data in damaged:
        path.write_bytes(data)
        try:
            read = read_labels(path).labels
        except VolumeError as error:
            refusals.append(str(error))
        else:
            assert np.array_equal(read, whole), "a flag of gzip's header that changes nothing"
    assert len(refusals) > 0.8 * len(damaged)
    assert all("a.nii.gz must be a complete image file" in refusal for refusal in refusals)


@pytest.mark.parametrize("big", [False, True], ids=["little endian", "big endian"])
def test_nifti_2_is_read_too(tmp_path: Path, big: bool) -> None:
    array = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    header = nib.Nifti2Header(endianness=">" if big else "<")
    nib.save(nib.Nifti2Image(array.astype(">i2" if big else "<i2"), np.diag([2.0, 2.0, 3.0, 1.0]), header), tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert np.array_equal(volume.array[0], array)
    assert volume.spacing_mm == (2.0, 2.0, 3.0)
