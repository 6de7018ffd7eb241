from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from segsuite.errors import GridError, VolumeError
from segsuite.volumes.reading import read_grid, read_labels, read_volume

ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
BODY = ARRAY.astype("<i2").tobytes(order="F")
HEADER = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "10 -20 30",
    "ElementSpacing": "2 2 3",
    "DimSize": "3 4 5",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}
LPS = np.diag([-1.0, -1, 1, 1])


def meta(path: Path, body: bytes = BODY, **fields: str | None) -> Path:
    """A file with some fields of the header set, or left out where they are ``None``."""
    named = {**HEADER, **fields}
    named["ElementDataFile"] = named.pop("ElementDataFile")
    lines = [f"{name} = {value}" for name, value in named.items() if value is not None]
    path.write_bytes("\n".join([*lines, ""]).encode() + body)
    return path


@pytest.mark.parametrize(
    "kind", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64, np.float32, np.float64]
)
@pytest.mark.parametrize(("packed", "ending"), [(False, ".mha"), (True, ".mha"), (False, ".mhd"), (True, ".mhd")])
def test_what_itk_writes_reads_as_itk_reads_it(tmp_path: Path, kind: type, packed: bool, ending: str) -> None:
    array = np.random.default_rng(0).integers(0, 120, (3, 4, 5)).astype(kind)
    image = sitk.GetImageFromArray(array)
    cosine, sine = np.cos(0.3), np.sin(0.3)
    image.SetSpacing((0.5, 0.7, 3.0))
    image.SetOrigin((1000.123, -20, 30))
    image.SetDirection((cosine, -sine, 0, sine, cosine, 0, 0, 0, 1))
    path = tmp_path / f"a{ending}"
    sitk.WriteImage(image, str(path), useCompression=packed)
    again = sitk.ReadImage(str(path))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array[0], sitk.GetArrayFromImage(again).T.astype(np.float32))
    expected = np.eye(4)
    expected[:3, :3] = np.reshape(again.GetDirection(), (3, 3)) * again.GetSpacing()
    expected[:3, 3] = again.GetOrigin()
    np.testing.assert_allclose(volume.grid.affine, LPS @ expected, atol=1e-9)


def test_channels_come_first(tmp_path: Path) -> None:
    both = np.stack([ARRAY, ARRAY + 100], axis=-1)
    sitk.WriteImage(sitk.GetImageFromArray(both, isVector=True), str(tmp_path / "a.mha"))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.mha", n_channels=2).array, np.stack([ARRAY.T, ARRAY.T + 100]))


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress], ids=["zlib", "gzip"])
def test_one_flipped_bit_of_a_compressed_file_is_damage_and_never_another_image(tmp_path: Path, pack: object) -> None:
    draw = np.random.default_rng(0)
    body = pack(BODY)  # type: ignore[operator]
    np.testing.assert_array_equal(read_volume(meta(tmp_path / "a.mha", body, CompressedData="True")).array[0], ARRAY)
    for _ in range(60):
        flipped = bytearray(body)
        flipped[int(draw.integers(len(body)))] ^= 1 << int(draw.integers(8))
        path = meta(tmp_path / "a.mha", bytes(flipped), CompressedData="True")
        refusals = []
        try:
            np.testing.assert_array_equal(read_labels(path).labels, ARRAY)  # a flag of gzip's header that changes nothing
        except VolumeError as error:
            refusals.append(str(error))
        assert all("a.mha must be a complete image file" in refusal for refusal in refusals)


def test_texts_and_big_endian_voxels_are_read(tmp_path: Path) -> None:
    text = " ".join(map(str, ARRAY.ravel(order="F"))).encode()
    np.testing.assert_array_equal(read_volume(meta(tmp_path / "a.mha", text, BinaryData="False")).array[0], ARRAY)
    big = ARRAY.astype(">i2").tobytes(order="F")
    np.testing.assert_array_equal(read_volume(meta(tmp_path / "b.mha", big, BinaryDataByteOrderMSB="True")).array[0], ARRAY)


def test_without_directions_the_sides_are_not_known(tmp_path: Path) -> None:
    volume = read_volume(meta(tmp_path / "a.mha", TransformMatrix=None))
    assert not volume.sides_known
    assert "TransformMatrix" in volume.notes[0]


def test_without_a_voxel_size_nothing_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="must say how large its voxels are"):
        read_volume(meta(tmp_path / "a.mha", ElementSpacing=None))


def test_micrometres_are_converted_and_said(tmp_path: Path) -> None:
    volume = read_volume(meta(tmp_path / "a.mha", ElementSpacing="2000 2000 3000", DistanceUnits="um"))
    np.testing.assert_allclose(volume.spacing_mm, (2, 2, 3))
    assert "micrometres" in volume.notes[0]


def test_a_unit_that_the_format_does_not_have_is_not_taken_for_mm(tmp_path: Path) -> None:
    with pytest.raises(GridError, match="must have DistanceUnits mm, cm or um, got inch"):
        read_volume(meta(tmp_path / "a.mha", DistanceUnits="inch"))


def test_voxels_may_lie_in_a_file_beside_the_header(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"skipped" + BODY)
    for skip in ("7", "-1"):
        path = meta(tmp_path / "a.mhd", b"", ElementDataFile="a.raw", HeaderSize=skip)
        np.testing.assert_array_equal(read_volume(path).array[0], ARRAY)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a.raw", "/dev/zero", "sub/a.raw", "..", "C:\\a.raw", "a%02d.raw 1 3 1", "LIST"]
)
def test_voxels_elsewhere_are_never_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(VolumeError, match=r"must have its voxels in"):
        read_volume(meta(tmp_path / "a.mhd", b"", ElementDataFile=name))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"NDims": "x"}, "invalid literal"),
        ({"NDims": "12"}, "1 to 7 axes, got 12"),
        ({"NDims": "2", "DimSize": "12 5", "ElementSpacing": "1 1", "Offset": "0 0", "TransformMatrix": "1 0 0 1"}, "got 2-D"),
        ({"DimSize": "3 4"}, "3 whole numbers must come"),
        ({"DimSize": "3 4 0"}, "at least one voxel"),
        ({"DimSize": "3 4 1000000000000"}, "3 x 4 x 1000000000000 voxels of int16"),
        ({"DimSize": "3 4 6"}, "truncated: 120 of 144 bytes"),
        ({"DimSize": "3 4 4"}, "more bytes follow"),
        ({"ElementType": "MET_STRING"}, "known type, got `MET_STRING`"),
        ({"ElementNumberOfChannels": "0"}, "0 channels"),
        ({"ElementSpacing": "2 2"}, "3 numbers must come"),
        ({"ElementSpacing": "2 2 1e30"}, "must have the size of a scan"),
        ({"ElementSpacing": "0 2 2"}, "three independent axes"),
        ({"TransformMatrix": "nan 0 0 0 1 0 0 0 1"}, "numbers that are none"),
        ({"ElementDataFile": None}, "no ElementDataFile"),
        ({"CompressedData": "True"}, "damaged zlib stream"),
    ],
)
def test_a_header_that_cannot_be_is_a_sentence(tmp_path: Path, fields: dict[str, str], reason: str) -> None:
    with pytest.raises((VolumeError, GridError), match=reason) as caught:
        read_volume(meta(tmp_path / "a.mha", **fields))
    assert "a.mha" in str(caught.value)


def test_the_header_alone_gives_the_grid(tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        read_grid(meta(tmp_path / "a.mha")).affine, LPS @ np.array([[2, 0, 0, 10], [0, 2, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]])
    )
