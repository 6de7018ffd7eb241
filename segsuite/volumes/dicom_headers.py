"""What a DICOM file says of itself: which series it belongs to, and whether it is a scan at all. By pydicom."""

from __future__ import annotations

import stat
import warnings
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset

from segsuite.errors import VolumeError
from segsuite.volumes.dicom_files import PREAMBLE_BYTES, DicomFile

__all__ = ["numbers", "read_dataset", "read_header", "text"]

# values that break DICOM's rules are common; what matters of them is checked here
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")

MOST_INFLATED_BYTES = 2**31
DEFLATED = "1.2.840.10008.1.2.1.99"
STORAGE = "1.2.840.10008.5.1.4.1.1."
SECONDARY_CAPTURE = f"{STORAGE}7"
NO_SCANS = {
    "1.2.840.10008.1.3.10": "DICOM file (directory)",
    f"{STORAGE}66.4": "DICOM file (segmentation)",
    f"{STORAGE}66.7": "DICOM file (segmentation)",
    f"{STORAGE}66": "DICOM file (without pixels)",
    f"{STORAGE}88": "DICOM file (report)",
    f"{STORAGE}104": "DICOM file (document)",
    f"{STORAGE}11": "DICOM file (presentation)",
    f"{STORAGE}9": "DICOM file (waveform)",
    f"{STORAGE}481": "DICOM file (radiotherapy)",
    "1.3.12.2.1107.5.9.1": "DICOM file (without pixels)",
}
"""Classes, or the beginning of classes up to a dot, of what is no scan."""


def read_dataset(path: Path, *, pixels: bool) -> FileDataset:
    """All that a file says, as pydicom has it.

    Args:
        path: A DICOM file, with or without preamble.
        pixels: Whether to read the pixels too.

    Returns:
        The data set.

    Raises:
        VolumeError: It cannot be read, with the file's name.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise VolumeError(f"{path} must be a regular file, got a pipe, device or folder.")
        _require_small(path)
        with path.open("rb") as stream:
            found = pydicom.dcmread(
                cast("BinaryIO", _Within(stream, path.stat().st_size)), stop_before_pixels=not pixels, force=True
            )
        found.filename = str(path)
        if not len(found):
            raise VolumeError(
                f"{path} must be a DICOM file, got {path.stat().st_size} bytes without one element. Export it again."
            )
    except VolumeError:
        raise
    except MemoryError:
        raise
    except PermissionError as error:
        raise VolumeError(f"{path} must be readable, got: permission denied. Change its permissions.") from error
    except Exception as error:  # pydicom lets through whatever a broken file provokes
        raise VolumeError(f"{path} must be a complete DICOM file, got: {_reason(error)}. Export it again.") from error
    return found


class _Within:
    """A file of which nobody reads more than there is, whatever length an element claims: memory would be taken for it."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.size = stream, size

    def read(self, n_bytes: int = -1) -> bytes:
        left = max(0, self.size - self.stream.tell())
        return self.stream.read(left if n_bytes < 0 else min(n_bytes, left))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _require_small(path: Path) -> None:
    """A deflated file may claim any size: inflate it in pieces before anybody does it at once."""
    with path.open("rb") as stream:
        start = stream.read(4096)
    if DEFLATED.encode() not in start:
        return
    meta = pydicom.filereader.read_file_meta_info(path)
    begin = PREAMBLE_BYTES + 4 + 12 + int(meta.get("FileMetaInformationGroupLength", 0))
    inflater, n_bytes = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as stream:
        stream.seek(begin)
        while chunk := inflater.unconsumed_tail or stream.read(2**16):
            n_bytes += len(inflater.decompress(chunk, 2**24))
            if n_bytes > MOST_INFLATED_BYTES:
                raise VolumeError(f"{path} must inflate to at most {MOST_INFLATED_BYTES:,} bytes, got more. Export it again.")


def read_header(path: Path) -> DicomFile:
    """Which series a file belongs to, and whether it is a scan.

    Args:
        path: A DICOM file.

    Returns:
        What it says; the patient's name and number are in none of it.

    Raises:
        VolumeError: It cannot be read, or breaks off before it says how large its picture is.
    """
    data = read_dataset(path, pixels=False)
    kind = text(data, "SOPClassUID") or text(getattr(data, "file_meta", Dataset()), "MediaStorageSOPClassUID")
    no_scan = next((name for begin, name in NO_SCANS.items() if kind == begin or kind.startswith(f"{begin}.")), "")
    if not no_scan and kind.startswith(SECONDARY_CAPTURE) and not text(data, "ImagePositionPatient"):
        no_scan = "DICOM file (picture without a position)" if "PerFrameFunctionalGroupsSequence" not in data else ""
    if not no_scan and not (text(data, "Rows") and text(data, "Columns")):
        raise VolumeError(f"{path} must say the size of its picture (Rows, Columns), got nothing. It may be truncated.")
    return DicomFile(
        path,
        text(data, "SeriesInstanceUID"),
        text(data, "SOPInstanceUID"),
        text(data, "SeriesNumber"),
        _without_patient(text(data, "SeriesDescription"), data),
        no_scan,
        "LOCALIZER" in text(data, "ImageType").upper(),
    )


def _without_patient(description: str, data: Dataset) -> str:
    """The description, unless a part of the patient's name or number is in it."""
    known = " ".join(text(data, keyword) for keyword in ("PatientName", "PatientID", "OtherPatientIDs", "AccessionNumber"))
    words = {word for word in "".join(c if c.isalnum() else " " for c in known).lower().split() if len(word) > 2}
    return "" if any(word in description.lower() for word in words) else description


def text(data: Dataset, keyword: str) -> str:
    """A value as text, parts joined by a backslash; empty if it is absent or cannot be read."""
    try:
        value = data.get(keyword)
        if value is None:
            return ""
        if isinstance(value, list | tuple | pydicom.multival.MultiValue):
            return "\\".join(map(str, value))
        return str(value).strip()
    except Exception:  # a value that breaks its type's rules is no value
        return ""


def numbers(data: Dataset, keyword: str, count: int, path: Path) -> tuple[float, ...] | None:
    """Numbers of an element.

    Args:
        data: Where to look.
        keyword: DICOM's name of the element.
        count: How many must be there.
        path: For the message.

    Returns:
        The numbers; ``None`` if the element is absent or empty.

    Raises:
        VolumeError: Another count, or values that are no finite numbers.
    """
    written = text(data, keyword)
    if not written:
        if keyword in data and _is_filled(data, keyword):
            raise VolumeError(f"{path} must have numbers in {keyword}, got a value that cannot be read. Export it again.")
        return None
    try:
        found = tuple(float(part) for part in written.split("\\"))
    except ValueError:
        found = ()
    if len(found) != count or not np.isfinite(found).all():
        wanted = f"{count} numbers" if count > 1 else "a number"
        raise VolumeError(f"{path} must have {wanted} in {keyword}, got `{written[:80]}`. Export it again.")
    return found


def _is_filled(data: Dataset, keyword: str) -> bool:
    try:
        return bool(data.get_item(keyword).value)
    except Exception:  # what cannot be looked at is not empty
        return True


def _reason(error: Exception) -> str:
    """Without a library's words."""
    if isinstance(error, zlib.error):
        return "deflated content that is damaged: it cannot be unpacked"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "elements that cannot be read: it is damaged or cut short"
