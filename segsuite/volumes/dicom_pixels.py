"""The numbers that a DICOM file stores for its pixels: as many as it says, in its own number format, or the reason why not."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from segsuite.errors import VolumeError
from segsuite.volumes.dicom_headers import text

__all__ = ["require_grey", "stored_pixels"]

DESCRIPTION = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "NumberOfFrames",
)  # fmt: skip
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
"""Of what is not compressed; private syntaxes exist that only swap the bytes of the pixels."""
MOST_COMPRESSION = 1000
"""Bytes of a picture per byte that it takes in the file; beyond, only small pictures are believed."""
ALLOWED_AFTER = (b"\xfc\xff\xfc\xff", b"\xff\xfc\xff\xfc", b"\xfa\xff\xfa\xff", b"\xff\xfa\xff\xfa")
"""Padding and signatures, in either byte order, may follow the pixels."""
UNDEFINED_LENGTH = 0xFFFFFFFF
BELIEVED_BYTES = 64_000_000


def require_grey(data: Dataset, path: Path) -> tuple[int, int, int]:
    """The size of a grey-scale picture.

    Args:
        data: Of the file.
        path: The file, for messages.

    Returns:
        Frames, rows and columns.

    Raises:
        VolumeError: Colour, sizes that cannot be, or bits that are no whole number.
    """
    samples, kind = text(data, "SamplesPerPixel") or "1", text(data, "PhotometricInterpretation").upper()
    if samples != "1" or kind not in ("MONOCHROME1", "MONOCHROME2", ""):
        raise VolumeError(
            f"{path} must be a grey-scale image, got colour ({kind or f'{samples} samples per pixel'}): a fused, mapped or "
            "captured picture. Take the series that it was made from."
        )
    sizes = [_whole(data, keyword, path, default) for keyword, default in (("NumberOfFrames", 1), ("Rows", 0), ("Columns", 0))]
    if min(sizes) < 1:
        raise VolumeError(f"{path} must have frames, rows and columns, got {' x '.join(map(str, sizes))}. Export it again.")
    return sizes[0], sizes[1], sizes[2]


def stored_pixels(data: FileDataset, path: Path) -> NDArray[Any]:
    """The stored numbers of all frames, before slope and intercept.

    Args:
        data: Of the file, with pixels.
        path: The file, for messages.

    Returns:
        (frames, rows, columns), whole numbers.

    Raises:
        VolumeError: Colour, fewer or more pixels than the file says that it has, or a private transfer syntax.
    """
    shape = require_grey(data, path)
    if "PixelData" not in data:
        raise VolumeError(
            f"{path} must hold pixels as whole numbers (PixelData), got none. It may be truncated: export it again."
        )
    _require_end(data, path)
    allocated, signed = _whole(data, "BitsAllocated", path, 0), _whole(data, "PixelRepresentation", path, -1)
    stored = _whole(data, "BitsStored", path, allocated)
    high = _whole(data, "HighBit", path, stored - 1)
    if allocated not in (8, 16, 32) or not 1 <= stored <= high + 1 <= allocated or signed not in (0, 1):
        raise VolumeError(
            f"{path} must store whole numbers of 8, 16 or 32 bits, with or without sign, got {allocated} bits, {stored} of them "
            f"used up to bit {high}, PixelRepresentation {signed if signed >= 0 else 'absent'}. Export it again."
        )
    syntax = UID(text(data.file_meta, "TransferSyntaxUID") or ImplicitVRLittleEndian)
    content = data.PixelData
    if not isinstance(content, bytes):
        raise VolumeError(f"{path} must hold pixels as bytes, got {type(content).__name__}. Export it again.")
    if syntax.is_transfer_syntax and syntax.is_compressed and not syntax.is_deflated:
        return _decompressed(data, path, shape, allocated // 8)
    if syntax not in NATIVE:
        raise VolumeError(
            f"{path} must store its pixels as the standard has it, got the transfer syntax {syntax}: in which order its bytes "
            "are is not known. Export it again, uncompressed."
        )
    order = ">" if syntax == ExplicitVRBigEndian and allocated > 8 else "<"
    n_bytes = int(np.prod(shape, dtype=object)) * allocated // 8
    if not n_bytes <= len(content) <= n_bytes + 1:
        raise VolumeError(
            f"{path} must hold {n_bytes:,} bytes of pixels ({' x '.join(map(str, shape))} of {allocated} bits), got "
            f"{len(content):,}. It is truncated or damaged: export or copy it again."
        )
    raw = np.frombuffer(content[:n_bytes], dtype=np.dtype(f"{order}u{allocated // 8}")).reshape(shape)
    return _meant(raw, stored, high, signed=bool(signed))


def _require_end(data: FileDataset, path: Path) -> None:
    """Check that the file ends with its pixels; bytes that were put in or left away before shift them."""
    pixels = data.get_item("PixelData")
    if not isinstance(pixels, RawDataElement) or pixels.length == UNDEFINED_LENGTH or not path.is_file():
        return
    if text(data.file_meta, "TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return
    end = pixels.value_tell + pixels.length
    with path.open("rb") as stream:
        stream.seek(end)
        after = stream.read(4)
    if after and after not in ALLOWED_AFTER:
        n_bytes = path.stat().st_size - end
        raise VolumeError(f"{path} must end with its pixels, got {n_bytes} more bytes. It is damaged: export or copy it again.")


def _meant(raw: NDArray[Any], stored: int, high: int, *, signed: bool) -> NDArray[Any]:
    """The bits in use as numbers: above them may be overlays, and the sign is their highest."""
    allocated = raw.dtype.itemsize * 8
    native = raw.astype(raw.dtype.newbyteorder("="), copy=False)
    if not signed:
        if stored == allocated:
            return native
        return (native >> np.array(high + 1 - stored, native.dtype)) & np.array(2**stored - 1, native.dtype)
    shifted = native << np.array(allocated - 1 - high, native.dtype)
    return shifted.view(np.dtype(f"i{raw.dtype.itemsize}")) >> (allocated - stored)


def _decompressed(data: FileDataset, path: Path, shape: tuple[int, int, int], pixel_bytes: int) -> NDArray[Any]:
    """By GDCM, of a copy that holds the pixels alone, so that it neither rescales them nor looks at anything else."""
    n_bytes = int(np.prod(shape, dtype=object)) * pixel_bytes
    if n_bytes > max(BELIEVED_BYTES, len(data.PixelData) * MOST_COMPRESSION):
        raise VolumeError(
            f"{path} must hold {' x '.join(map(str, shape))} pixels, got {len(data.PixelData):,} bytes, too few for so many."
        )
    try:
        bare = _bare(data, several=shape[0] > 1, pixel_bytes=pixel_bytes)
        with tempfile.TemporaryDirectory(prefix="segsuite_pixels_") as folder:
            bare.save_as(Path(folder) / "pixels.dcm", enforce_file_format=True)
            reader = sitk.ImageFileReader()
            reader.SetImageIO("GDCMImageIO")
            reader.SetFileName(str(Path(folder) / "pixels.dcm"))
            found = sitk.GetArrayFromImage(reader.Execute())
    except (RuntimeError, ValueError, TypeError, AttributeError, KeyError, OSError, NotImplementedError) as error:
        syntax = UID(text(data.file_meta, "TransferSyntaxUID")).name
        raise VolumeError(
            f"{path} must hold pixels that can be decompressed ({syntax}), got some that cannot. It is truncated or damaged, "
            "or of a rare kind: export it again, uncompressed."
        ) from error
    if found.size != int(np.prod(shape)):
        raise VolumeError(f"{path} must hold {' x '.join(map(str, shape))} pixels, got {found.shape} when decompressed.")
    return found.reshape(shape)


def _bare(data: FileDataset, *, several: bool, pixel_bytes: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = data.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = pydicom.uid.CTImageStorage, UID("2.25.1")
    if several:
        meta.MediaStorageSOPClassUID = pydicom.uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
        if pixel_bytes == 1:
            meta.MediaStorageSOPClassUID = pydicom.uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage
    bare = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    bare.SOPClassUID, bare.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    for keyword in DESCRIPTION:
        if keyword in data:
            setattr(bare, keyword, data[keyword].value)
    bare["PixelData"] = data["PixelData"]
    return bare


def _whole(data: Dataset, keyword: str, path: Path, default: int) -> int:
    written = text(data, keyword)
    if not written:
        return default
    try:
        return int(written)
    except ValueError as error:
        raise VolumeError(f"{path} must have a whole number in {keyword}, got `{written[:40]}`. Export it again.") from error
