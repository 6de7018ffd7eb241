from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from segsuite.errors import GridError, VolumeError
from segsuite.volumes.reading import read_grid, read_volume

ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
HEADER = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "3 4 5",
    "space directions": "(2,0,0) (0,2,0) (0,0,3)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(10,-20,30)",
}
LPS = np.diag([-1.0, -1, 1, 1])


def nrrd(path: Path, body: bytes | None = None, keys: str = "", **fields: str | None) -> Path:
    """A file with some fields of the header set, or left out where they are ``None``."""
    named = HEADER | {name.replace("_", " "): value for name, value in fields.items()}
    lines = [f"{name}: {value}" for name, value in named.items() if value is not None]
    text = "\n".join(["NRRD0005", *lines]) + "\n" + keys + "\n"
    path.write_bytes(text.encode() + (ARRAY.astype("<i2").tobytes(order="F") if body is None else body))
    return path


@pytest.mark.parametrize(
    "kind", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64, np.float32, np.float64]
)
@pytest.mark.parametrize("packed", [False, True], ids=["raw", "gzip"])
def test_what_itk_writes_reads_as_itk_reads_it(tmp_path: Path, kind: type, packed: bool) -> None:
    array = np.random.default_rng(0).integers(0, 120, (3, 4, 5)).astype(kind)
    image = sitk.GetImageFromArray(array)
    cosine, sine = np.cos(0.3), np.sin(0.3)
    image.SetSpacing((0.5, 0.7, 3.0))
    image.SetOrigin((1000.123, -20, 30))
    image.SetDirection((1, 0, 0, 0, cosine, -sine, 0, sine, cosine))
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"), useCompression=packed)
    again = sitk.ReadImage(str(tmp_path / "a.nrrd"))
    volume = read_volume(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(volume.array[0], sitk.GetArrayFromImage(again).T.astype(np.float32))
    expected = np.eye(4)
    expected[:3, :3] = np.reshape(again.GetDirection(), (3, 3)) * again.GetSpacing()
    expected[:3, 3] = again.GetOrigin()
    np.testing.assert_allclose(volume.grid.affine, LPS @ expected, atol=1e-9)
    assert volume.sides_known
    assert not volume.notes


def test_channels_of_vector_images_come_first(tmp_path: Path) -> None:
    both = np.stack([ARRAY, ARRAY + 100], axis=-1)
    sitk.WriteImage(sitk.GetImageFromArray(both, isVector=True), str(tmp_path / "a.nrrd"))
    volume = read_volume(tmp_path / "a.nrrd", n_channels=2)
    np.testing.assert_array_equal(volume.array, np.stack([ARRAY.T, ARRAY.T + 100]))
    with pytest.raises(VolumeError, match="got 4-D of shape"):
        read_volume(tmp_path / "a.nrrd")


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(ARRAY.astype("<i2").tobytes(order="F"))),
        ("bzip2", bz2.compress(ARRAY.astype("<i2").tobytes(order="F"))),
        ("ascii", " ".join(map(str, ARRAY.ravel(order="F"))).encode()),
        ("hex", ARRAY.astype("<i2").tobytes(order="F").hex().encode()),
    ],
    ids=["gzip", "bzip2", "ascii", "hex"],
)
def test_every_encoding_gives_the_same_voxels(tmp_path: Path, encoding: str, body: bytes) -> None:
    np.testing.assert_array_equal(read_volume(nrrd(tmp_path / "a.nrrd", body, encoding=encoding)).array[0], ARRAY)
    with pytest.raises(VolumeError, match=r"a\.nrrd must be a complete image file"):
        read_volume(nrrd(tmp_path / "a.nrrd", body[: len(body) // 2], encoding=encoding))


@pytest.mark.parametrize(("space", "signs"), [("RAS", (1, 1, 1)), ("left-anterior-superior", (-1, 1, 1)), ("LPS", (-1, -1, 1))])
def test_each_space_is_brought_to_ras(tmp_path: Path, space: str, signs: tuple[int, ...]) -> None:
    affine = read_grid(nrrd(tmp_path / "a.nrrd", space=space)).affine
    np.testing.assert_array_equal(np.diag(affine)[:3], np.multiply(signs, (2, 2, 3)))
    np.testing.assert_array_equal(affine[:3, 3], np.multiply(signs, (10, -20, 30)))


def test_without_a_space_the_sides_are_not_known(tmp_path: Path) -> None:
    volume = read_volume(nrrd(tmp_path / "a.nrrd", space=None, space_directions=None, space_origin=None, spacings="2 2 3"))
    assert volume.spacing_mm == (2.0, 2.0, 3.0)
    assert not volume.sides_known
    assert "does not say which way its axes run" in volume.notes[0]


def test_without_a_voxel_size_nothing_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="must say how large its voxels are"):
        read_volume(nrrd(tmp_path / "a.nrrd", space=None, space_directions=None, space_origin=None))


def test_micrometres_are_converted_and_said(tmp_path: Path) -> None:
    volume = read_volume(
        nrrd(tmp_path / "a.nrrd", space_units='"um" "um" "um"', space_directions="(2000,0,0) (0,2000,0) (0,0,3000)")
    )
    np.testing.assert_allclose(volume.spacing_mm, (2, 2, 3))
    assert "micrometres" in volume.notes[0]


def test_units_of_axes_count_where_there_are_no_directions(tmp_path: Path) -> None:
    bare = {"space": None, "space_directions": None, "space_origin": None}
    volume = read_volume(nrrd(tmp_path / "a.nrrd", spacings="2000 2000 3000", units='"um" "um" "um"', **bare))
    np.testing.assert_allclose(volume.spacing_mm, (2, 2, 3))


@pytest.mark.parametrize("units", ['"inch" "inch" "inch"', '"mm" "mm" "um"', '"pixel" "" ""'])
def test_units_that_are_none_or_differ_are_not_taken_for_mm(tmp_path: Path, units: str) -> None:
    with pytest.raises(GridError, match="must count in one unit of length that is known"):
        read_volume(nrrd(tmp_path / "a.nrrd", space_units=units))


@pytest.mark.parametrize("units", ['"mm" "mm" "mm"', '"Millimeters" "mm" ""', "mm mm mm", '"" "" ""', '"???" "???" "???"'])
def test_millimetres_however_they_are_said(tmp_path: Path, units: str) -> None:
    volume = read_volume(nrrd(tmp_path / "a.nrrd", space_units=units))
    assert (volume.spacing_mm, volume.notes) == (read_volume(nrrd(tmp_path / "b.nrrd")).spacing_mm, ())


def test_complex_voxels_are_no_time_points(tmp_path: Path) -> None:
    itk = sitk.GetImageFromArray(np.ones((3, 4, 5), dtype=np.complex64))
    sitk.WriteImage(itk, tmp_path / "c.nrrd")
    with pytest.raises(VolumeError, match="must have real voxels, got complex ones"):
        read_volume(tmp_path / "c.nrrd")


def test_voxels_may_lie_in_a_file_beside_the_header(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"skipped" + ARRAY.astype("<i2").tobytes(order="F"))
    for skip in ("7", "-1"):
        path = nrrd(tmp_path / "a.nhdr", b"", data_file="./a.raw", byte_skip=skip)
        np.testing.assert_array_equal(read_volume(path).array[0], ARRAY)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a.raw", "/dev/zero", "sub/a.raw", "..", "C:\\a.raw", "a%d.raw 1 3 1", "LIST"]
)
def test_voxels_elsewhere_are_never_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(VolumeError, match=r"must have its voxels in"):
        read_volume(nrrd(tmp_path / "a.nhdr", b"", data_file=name))


def test_voxels_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"there is no gone\.raw"):
        read_volume(nrrd(tmp_path / "a.nhdr", b"", data_file="gone.raw"))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"type": "block"}, "known type, got `block`"),
        ({"dimension": "99999999999999999999"}, "whole numbers must come"),
        ({"dimension": "16"}, "1 to 7 axes, got 16"),
        ({"sizes": "3 4"}, "3 whole numbers must come"),
        ({"sizes": "3 4 -5"}, "at least one voxel"),
        ({"sizes": "3 4 500000000000"}, "3 x 4 x 500000000000 voxels of int16"),
        ({"sizes": "3 4 6"}, "truncated: 120 of 144 bytes"),
        ({"sizes": "3 4 4"}, "more bytes follow"),
        ({"space_directions": "(1,0,0) (0,1,0)"}, "3 space directions must come"),
        ({"space_directions": "(1,0,0) (0,x,0) (0,0,1)"}, "could not convert"),
        ({"space_directions": "(1,0,0) (0,1,0) none"}, "must be a 3-D image, got 2 axes in space"),
        ({"space_directions": "(1,0,0) (0,1e30,0) (0,0,1)"}, "must have the size of a scan"),
        ({"space_directions": "(0,0,0) (0,1,0) (0,0,1)"}, "three independent axes"),
        ({"space_origin": "(nan,0,0)"}, "numbers that are none"),
        ({"encoding": "zstd"}, "one of the encodings"),
        ({"endian": None}, "must say its byte order"),
        ({"kinds": "RGB-color domain domain"}, "colour voxels"),
        ({"encoding": "gzip"}, "damaged gzip stream"),
    ],
)
def test_a_header_that_cannot_be_is_a_sentence(tmp_path: Path, fields: dict[str, str], reason: str) -> None:
    with pytest.raises((VolumeError, GridError), match=reason) as caught:
        read_volume(nrrd(tmp_path / "a.nrrd", **fields))
    assert "a.nrrd" in str(caught.value)
