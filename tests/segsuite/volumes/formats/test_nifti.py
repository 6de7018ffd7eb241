from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segsuite.errors import GridError, VolumeError
from segsuite.volumes.reading import read_grid, read_labels, read_volume
from segsuite.volumes.writing import write_mask

AFFINE = np.array([[-0.5, 0.02, 0, 10], [0.02, -0.5, 0.1, 20], [0, 0.05, 3.0, -30], [0, 0, 0, 1.0]])
ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
TYPES = ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")


def edited(array: np.ndarray = ARRAY, **fields: object) -> bytes:
    """A NIfTI-1 file with some fields of its header set, whatever they then say."""
    content = nib.Nifti1Image(array, AFFINE).to_bytes()
    header = nib.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    return bytes(header.binaryblock) + content[348:]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".img"])
@pytest.mark.parametrize("code", TYPES)
def test_every_type_and_byte_order_reads_as_nibabel_reads_it(tmp_path: Path, code: str, ending: str) -> None:
    draw = np.random.default_rng(TYPES.index(code))
    for number, (order, version, slope) in enumerate(
        [("<", 1, None), (">", 1, (0.37, -11.5)), ("<", 2, (3.0, 0.0)), (">", 2, None)]
    ):
        array = draw.integers(0, 120, (5, 4, 3)).astype(order + code)
        kinds = {1: (nib.Nifti1Image, nib.Nifti1Pair), 2: (nib.Nifti2Image, nib.Nifti2Pair)}
        kind = kinds[version][ending == ".img"]
        image = kind(array, AFFINE, kind.header_class(endianness=order), dtype=array.dtype)
        if slope is not None:
            image.header.set_slope_inter(*slope)
        path = tmp_path / f"{number}{ending}"
        nib.save(image, path)
        expected, found = nib.load(path), read_volume(path)
        np.testing.assert_array_equal(found.array[0], np.asanyarray(expected.dataobj, dtype=np.float32))
        np.testing.assert_array_equal(found.grid.affine, expected.affine)
        np.testing.assert_array_equal(read_grid(path).affine, expected.affine)


@pytest.mark.parametrize("name", ["plain.nii.gz", "SCAN.NII.GZ", "packed.nii"])
def test_gzip_is_known_by_content_and_not_by_name(tmp_path: Path, name: str) -> None:
    content = nib.Nifti1Image(ARRAY, AFFINE).to_bytes()
    (tmp_path / name).write_bytes(content if name == "plain.nii.gz" else gzip.compress(content))
    np.testing.assert_array_equal(read_volume(tmp_path / name).array[0], ARRAY)


class TestPairs:
    @pytest.mark.parametrize("given", ["b.hdr", "b.img"])
    def test_either_file_of_a_pair_reads_the_image(self, tmp_path: Path, given: str) -> None:
        nib.save(nib.Nifti1Pair(ARRAY, AFFINE), tmp_path / "b.img")
        volume = read_volume(tmp_path / given)
        np.testing.assert_array_equal(volume.array[0], ARRAY)
        np.testing.assert_allclose(volume.grid.affine, AFFINE, atol=1e-6)

    def test_packed_pairs_with_capitals_are_read(self, tmp_path: Path) -> None:
        nib.save(nib.Nifti1Pair(ARRAY, AFFINE), tmp_path / "b.img")
        (tmp_path / "b.HDR.GZ").write_bytes(gzip.compress((tmp_path / "b.hdr").read_bytes()))
        (tmp_path / "b.IMG.GZ").write_bytes(gzip.compress((tmp_path / "b.img").read_bytes()))
        for name in ("b.hdr", "b.img"):
            (tmp_path / name).unlink()
        np.testing.assert_array_equal(read_volume(tmp_path / "b.HDR.GZ").array[0], ARRAY)

    @pytest.mark.parametrize(("kept", "lost"), [("b.hdr", "b.img"), ("b.img", "b.hdr")])
    def test_half_a_pair_names_the_other_half(self, tmp_path: Path, kept: str, lost: str) -> None:
        nib.save(nib.Nifti1Pair(ARRAY, AFFINE), tmp_path / "b.img")
        (tmp_path / lost).unlink()
        with pytest.raises(VolumeError, match=f"there is no {lost}"):
            read_volume(tmp_path / kept)

    def test_analyze_is_read_and_its_sides_are_not_known(self, tmp_path: Path) -> None:
        nib.save(nib.AnalyzeImage(ARRAY, np.diag([-2.0, 2, 3, 1])), tmp_path / "b.img")
        volume = read_volume(tmp_path / "b.hdr")
        np.testing.assert_array_equal(volume.array[0], ARRAY)
        assert volume.spacing_mm == (2.0, 2.0, 3.0)
        assert not volume.sides_known
        assert "does not say which side" in volume.notes[0]
        write_mask(tmp_path / "m.nii.gz", ARRAY % 3, like=volume)
        assert not read_labels(tmp_path / "m.nii.gz").sides_known


class TestUnits:
    @pytest.mark.parametrize(("unit", "factor", "word"), [("micron", 1000.0, "micrometres"), ("meter", 0.001, "metres")])
    def test_other_units_are_converted_said_and_written_back(self, tmp_path: Path, unit: str, factor: float, word: str) -> None:
        affine = np.diag([factor, factor, 2 * factor, 1.0])
        affine[:3, 3] = 17 * factor
        image = nib.Nifti1Image(ARRAY, affine)
        image.header.set_xyzt_units(unit)
        nib.save(image, tmp_path / "a.nii.gz")
        volume = read_volume(tmp_path / "a.nii.gz")
        np.testing.assert_allclose(volume.spacing_mm, (1, 1, 2), rtol=1e-6)
        np.testing.assert_allclose(volume.grid.affine[:3, 3], 17, rtol=1e-6)
        assert word in volume.notes[0]
        assert "1 x 1 x 2 mm" in volume.notes[0]
        write_mask(tmp_path / "m.nii.gz", ARRAY % 3, like=volume)
        written = nib.load(tmp_path / "m.nii.gz")
        assert written.header.get_xyzt_units()[0] == unit
        np.testing.assert_allclose(written.affine, nib.load(tmp_path / "a.nii.gz").affine, rtol=1e-7)
        np.testing.assert_array_equal(read_labels(tmp_path / "m.nii.gz").grid.affine, volume.grid.affine)

    @pytest.mark.parametrize("spacing", [0.001, 1000.0])
    def test_implausible_sizes_of_an_unnamed_unit_are_refused(
        self, tmp_path: Path, write_nifti: Callable[..., Path], spacing: float
    ) -> None:
        path = write_nifti(tmp_path / "a.nii", ARRAY, spacing=spacing)
        with pytest.raises(GridError, match=r"in a header that names no unit\. Set the unit"):
            read_volume(path)

    def test_a_scan_of_many_metres_is_refused_before_anything_is_resampled(self, tmp_path: Path) -> None:
        image = nib.Nifti1Image(np.zeros((40, 40, 16), dtype=np.uint8), np.diag([1000.0, 1000, 2000, 1]))
        image.header.set_xyzt_units("mm")
        nib.save(image, tmp_path / "a.nii")
        with pytest.raises(GridError, match=r"40 x 40 x 16 voxels of 1000 x 1000 x 2000 mm"):
            read_grid(tmp_path / "a.nii")


class TestForms:
    def placed(self, path: Path, sform: np.ndarray | None, qform: np.ndarray | None) -> Path:
        image = nib.Nifti1Image(ARRAY, None)
        image.set_qform(qform, 0 if qform is None else 1)
        image.set_sform(sform, 0 if sform is None else 1)
        nib.save(image, path)
        return path

    def test_forms_that_differ_by_a_flip_are_said_and_the_sform_taken(self, tmp_path: Path) -> None:
        straight, flipped = np.diag([1.0, 1, 2, 1]), np.diag([-1.0, 1, 2, 1])
        volume = read_volume(self.placed(tmp_path / "a.nii", straight, flipped))
        np.testing.assert_array_equal(volume.grid.affine, straight)
        assert "sform and qform place the image differently" in volume.notes[0]
        assert "RAS and LAS" in volume.notes[0]

    def test_forms_that_are_rounded_differently_are_no_contradiction(self, tmp_path: Path) -> None:
        straight, nearly = np.diag([1.0, 1, 2, 1]), np.diag([1.0, 1, 2, 1])
        nearly[:3, 3] = 0.3
        assert read_volume(self.placed(tmp_path / "a.nii", straight, nearly)).notes == ()

    def test_without_any_form_the_sides_are_not_known(self, tmp_path: Path) -> None:
        volume = read_volume(self.placed(tmp_path / "a.nii", None, None))
        assert not volume.sides_known
        assert "sform and qform code 0" in volume.notes[0]
        write_mask(tmp_path / "m.nii.gz", ARRAY % 3, like=volume)
        assert not read_labels(tmp_path / "m.nii.gz").sides_known

    def test_a_quaternion_longer_than_one_is_named(self, tmp_path: Path) -> None:
        content = edited(sform_code=0, qform_code=1, quatern_b=0.0, quatern_c=0.0, quatern_d=1.0001)
        (tmp_path / "a.nii").write_bytes(content)
        with pytest.raises(GridError, match=r"must have a qform that is a rotation, got the quaternion"):
            read_volume(tmp_path / "a.nii")


class TestRefusals:
    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"dim": [3, -1, 4, 5, 1, 1, 1, 1]}, "at least one voxel along each axis"),
            ({"dim": [9, 3, 4, 5, 1, 1, 1, 1]}, "1 to 7 axes, got 9"),
            ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "32767 x 32767 x 32767 voxels of int16"),
            ({"dim": [4, 3, 4, 5, 30000, 1, 1, 1]}, "3 x 4 x 5 x 30000 voxels of int16"),
            ({"dim": [3, 3, 4, 6, 1, 1, 1, 1]}, "truncated: 120 of 144 bytes of its voxels"),
            ({"dim": [3, 3, 4, 4, 1, 1, 1, 1]}, "more bytes follow than its header says"),
            ({"dim": [2, 3, 20, 1, 1, 1, 1, 1]}, "must be a 3-D image, got 2-D"),
            ({"dim": [5, 3, 4, 1, 1, 5, 1, 1]}, "a vector"),
            ({"vox_offset": np.inf}, "vox_offset inf"),
            ({"vox_offset": np.nan}, "vox_offset nan"),
            ({"vox_offset": 12.0}, "vox_offset 12"),
            ({"vox_offset": 1e30}, r"vox_offset 1e\+30"),
            ({"datatype": 4711}, "known type, got the code 4711"),
            ({"datatype": 1}, "known type, got the code 1 "),
            ({"pixdim": [1, np.nan, 1, 1, 1, 1, 1, 1]}, "voxel sizes above zero"),
            ({"pixdim": [1, 0, 1, 1, 1, 1, 1, 1]}, "voxel sizes above zero"),
            ({"srow_x": [1e30, 0, 0, 0]}, "must have the size of a scan"),
            ({"srow_x": [np.nan, 0, 0, 0]}, "numbers that are none"),
            ({"srow_x": [0, 0, 0, 0]}, "three independent axes"),
            ({"scl_slope": 2.0, "scl_inter": np.inf}, "finite scl_slope and scl_inter"),
        ],
    )
    def test_a_header_that_cannot_be_is_a_sentence(self, tmp_path: Path, fields: dict[str, object], reason: str) -> None:
        (tmp_path / "a.nii").write_bytes(edited(**fields))
        with pytest.raises((VolumeError, GridError), match=reason) as caught:
            read_volume(tmp_path / "a.nii")
        assert "a.nii" in str(caught.value)

    def test_complex_voxels(self, tmp_path: Path) -> None:
        nib.save(nib.Nifti1Image(ARRAY.astype(np.complex64), AFFINE), tmp_path / "c.nii.gz")
        for read in (read_volume, read_labels):
            with pytest.raises(VolumeError, match="must have real voxels, got complex ones"):
                read(tmp_path / "c.nii.gz")

    def test_colour_voxels(self, tmp_path: Path) -> None:
        rgb = np.zeros((3, 4, 5), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
        nib.save(nib.Nifti1Image(rgb, AFFINE), tmp_path / "c.nii.gz")
        with pytest.raises(VolumeError, match="must be a grey-scale image, got colour voxels"):
            read_volume(tmp_path / "c.nii.gz")

    def test_a_header_cut_in_the_middle(self, tmp_path: Path) -> None:
        (tmp_path / "a.nii").write_bytes(edited()[:200])
        with pytest.raises(VolumeError, match="truncated: 200 of 348 bytes of its header"):
            read_volume(tmp_path / "a.nii")

    def test_small_claims_of_four_axes_take_no_memory(self, tmp_path: Path) -> None:
        content = edited(dim=[4, 512, 512, 512, 25, 1, 1, 1])[:352]
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content))
        with pytest.raises(VolumeError, match="512 x 512 x 512 x 25 voxels"):
            read_volume(tmp_path / "a.nii.gz", n_channels=25)


def test_an_offset_of_zero_means_directly_after_the_header(tmp_path: Path) -> None:
    content = bytearray(nib.Nifti1Image(ARRAY, AFFINE).to_bytes())
    content[108:112] = struct.pack("<f", 0.0)
    (tmp_path / "a.nii").write_bytes(content)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").array[0], ARRAY)


def test_the_image_of_a_longer_header_begins_after_its_extensions(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ARRAY, AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 1000))
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").array[0], ARRAY)
    assert math.isclose(read_grid(tmp_path / "a.nii.gz").spacing_mm[2], float(np.linalg.norm(AFFINE[:3, 2])), rel_tol=1e-6)
