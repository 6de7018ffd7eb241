"""Stored numbers: bits, signs, byte orders, compression, and as many as the file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from segsuite.errors import VolumeError
from segsuite.volumes.dicom_headers import read_dataset
from segsuite.volumes.dicom_pixels import stored_pixels
from tests.slices import pixels_of, save, slice_data

PATH = Path("IM7")
SIZE = (10, 14)


def bits(allocated: int, stored: int, high: int, *, signed: bool) -> dict[str, int]:
    return {"BitsAllocated": allocated, "BitsStored": stored, "HighBit": high, "PixelRepresentation": int(signed)}


@pytest.mark.parametrize(("allocated", "stored"), [(8, 8), (16, 16), (16, 12), (32, 32), (16, 10)])
@pytest.mark.parametrize("signed", [False, True])
def test_every_number_comes_back(allocated: int, stored: int, signed: bool) -> None:
    low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if signed else (0, 2**stored - 1)
    values = np.random.default_rng(stored).integers(low, high + 1, SIZE, dtype=np.int64)
    values.flat[:2] = low, high
    # what lies above the stored bits may be an overlay: fill it with ones
    held = (values & (2**stored - 1)) | ((2**allocated - 1) & ~(2**stored - 1))
    data = slice_data(
        PixelData=held.astype(f"<u{allocated // 8}").tobytes(), **bits(allocated, stored, stored - 1, signed=signed)
    )
    np.testing.assert_array_equal(stored_pixels(data, PATH)[0], values)


def test_a_private_order_of_bytes_is_refused() -> None:
    data = slice_data()
    data.file_meta.TransferSyntaxUID = UID("1.2.840.113619.5.2")  # little endian, but for the pixels
    with pytest.raises(VolumeError, match=r"got the transfer syntax 1\.2\.840\.113619\.5\.2: in which order"):
        stored_pixels(data, PATH)


def test_bits_may_lie_high() -> None:
    values = np.arange(140).reshape(SIZE)
    data = slice_data(PixelData=(values << 4).astype("<u2").tobytes(), **bits(16, 12, 15, signed=False))
    np.testing.assert_array_equal(stored_pixels(data, PATH)[0], values)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_plain_encoding(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    data = slice_data()
    data.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        data = pydicom.Dataset(data)
        data.file_meta, data.preamble = slice_data().file_meta, b"\0" * 128
        data.file_meta.TransferSyntaxUID = syntax
        data.PixelData = pixels_of(0).astype(">u2").tobytes()
    path = tmp_path / "a"
    data = pydicom.dataset.FileDataset("", data, preamble=b"\0" * 128, file_meta=data.file_meta)
    save(data, path)
    np.testing.assert_array_equal(stored_pixels(read_dataset(path, pixels=True), path)[0], pixels_of(0))


def test_compressed_pixels_are_the_stored_ones_whatever_slope_the_file_has(tmp_path: Path) -> None:
    data = slice_data(RescaleSlope=2.5, RescaleIntercept=-100, PatientName="Doe^Jo")
    data.compress(RLELossless, encoding_plugin="pydicom")
    found = read_dataset(save(data, tmp_path / "a"), pixels=True)
    np.testing.assert_array_equal(stored_pixels(found, tmp_path / "a")[0], pixels_of(0))


def test_compressed_pixels_that_cannot_be_undone_are_refused(tmp_path: Path) -> None:
    data = slice_data()
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
    data.PixelData = encapsulate([b"no JPEG at all.."])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    with pytest.raises(VolumeError, match=r"IM7 must hold pixels that can be decompressed \(JPEG Lossless"):
        stored_pixels(data, PATH)


def test_a_small_file_does_not_claim_gigabytes() -> None:
    data = slice_data(Rows=60000, Columns=60000)
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
    with pytest.raises(VolumeError, match="too few for so many"):
        stored_pixels(data, PATH)


@pytest.mark.parametrize("n_bytes", [10, 278, 284, 560])
def test_other_than_the_pixels_that_the_file_says_are_refused(n_bytes: int) -> None:
    with pytest.raises(VolumeError, match=rf"IM7 must hold 280 bytes of pixels \(1 x 10 x 14 of 16 bits\), got {n_bytes}"):
        stored_pixels(slice_data(PixelData=bytes(n_bytes)), PATH)


def test_bytes_put_in_before_the_end_are_seen(tmp_path: Path) -> None:
    path = save(slice_data(), tmp_path / "a")
    content = path.read_bytes()
    path.write_bytes(content[:-100] + bytes(30) + content[-100:])
    with pytest.raises(VolumeError, match="must end with its pixels, got 30 more bytes"):
        stored_pixels(read_dataset(path, pixels=True), path)
    path.write_bytes(content + b"\xfc\xff\xfc\xffOB\0\0\4\0\0\0pads")
    np.testing.assert_array_equal(stored_pixels(read_dataset(path, pixels=True), path)[0], pixels_of(0))


def test_whether_numbers_have_a_sign_must_be_said() -> None:
    with pytest.raises(VolumeError, match="PixelRepresentation absent"):
        stored_pixels(slice_data(PixelRepresentation=None), PATH)


def test_what_holds_no_whole_numbers_is_refused() -> None:
    with pytest.raises(VolumeError, match="must hold pixels as whole numbers"):
        stored_pixels(slice_data(PixelData=None), PATH)
    with pytest.raises(VolumeError, match="8, 16 or 32 bits, .* got 1 bits"):
        stored_pixels(slice_data(BitsAllocated=1, BitsStored=1, HighBit=0), PATH)
