"""What a file says of itself in DICOM: whether it is DICOM, which series it belongs to, and whether it is a scan at all."""

from __future__ import annotations

import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset

from segsuite.errors import VolumeError

__all__ = ["DicomFile", "is_dicom", "numbers", "read_dataset", "read_header", "text"]

# values that break DICOM's rules are common; what matters of them is checked here
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")

ENDINGS = (".dcm", ".ima", ".dicom")
PREAMBLE_BYTES = 128
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
"""How a file without preamble begins: group 2 or 8, in either byte order."""
MOST_INFLATED_BYTES = 2**31
DEFLATED = "1.2.840.10008.1.2.1.99"
STORAGE = "1.2.840.10008.5.1.4.1.1."
SECONDARY_CAPTURE = f"{STORAGE}7"
NO_SCANS = {
    "1.2.840.10008.1.3.10": "DICOM directory",
    f"{STORAGE}66.4": "DICOM segmentation",
    f"{STORAGE}66.7": "DICOM segmentation",
    f"{STORAGE}66": "DICOM object without pixels",
    f"{STORAGE}88": "DICOM report",
    f"{STORAGE}104": "DICOM document",
    f"{STORAGE}11": "DICOM presentation",
    f"{STORAGE}9": "DICOM waveform",
    f"{STORAGE}481": "DICOM radiotherapy object",
    "1.3.12.2.1107.5.9.1": "DICOM object without pixels",
}
"""Classes, or the beginning of classes up to a dot, of what is no scan."""


@dataclass(frozen=True)
class DicomFile:
    """One file.

    Attributes:
        path: Where it is.
        series_uid: Empty where an anonymiser removed it.
        number: Of the series; empty if unknown.
        description: Of the series; empty where it could name the patient.
        no_scan: What it is instead of (a part of) a scan; empty for a scan.
        localiser: Whether it says that it is a survey picture.
    """

    path: Path
    series_uid: str
    number: str
    description: str
    no_scan: str = ""
    localiser: bool = False


def is_dicom(path: Path) -> bool:
    """Whether a file's first bytes, or its ending, say DICOM. Anything but a regular file is none and is not opened.

    Args:
        path: Any path.

    Returns:
        True for a file that begins like DICOM, and for one that ends in ``.dcm``, ``.ima`` or ``.dicom``.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        if path.suffix.lower() in ENDINGS:
            return True
        with path.open("rb") as stream:
            start = stream.read(PREAMBLE_BYTES + 4)
    except OSError:
        return False
    if start[PREAMBLE_BYTES:] == b"DICM":
        return True
    # without preamble: a group's first elements, with an explicit type or with a short length in its place
    return start[:2] in _FIRST_GROUPS and len(start) > 16 and _begins_like_a_data_set(start)


def _begins_like_a_data_set(start: bytes) -> bool:
    order: Any = "big" if start[:2] == b"\x00\x08" else "little"
    element = int.from_bytes(start[2:4], order)
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    length = int.from_bytes(start[6:8] if explicit else start[4:8], order)
    return element <= 0x0100 and (explicit or length <= 256)


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
        found = pydicom.dcmread(path, stop_before_pixels=not pixels, force=True)
        if not len(found):
            raise VolumeError(f"{path} must be a DICOM file, got {path.stat().st_size} bytes without one element. Export it again.")
    except VolumeError:
        raise
    except MemoryError:
        raise
    except PermissionError as error:
        raise VolumeError(f"{path} must be readable, got: permission denied. Change its permissions.") from error
    except Exception as error:  # pydicom lets through whatever a broken file provokes
        raise VolumeError(f"{path} must be a complete DICOM file, got: {_reason(error)}. Export it again.") from error
    return found


def _require_small(path: Path) -> None:
    """A deflated file may claim any size: inflate it in pieces before anybody does it at once."""
    with path.open("rb") as stream:
        start = stream.read(4096)
    if DEFLATED.encode() + b"\0" not in start and DEFLATED.encode() not in start:
        return
    import zlib

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
        no_scan = "DICOM picture without a position" if "PerFrameFunctionalGroupsSequence" not in data else ""
    if not no_scan and not (text(data, "Rows") and text(data, "Columns")):
        raise VolumeError(f"{path} must say the size of its picture (Rows, Columns), got nothing. It may be truncated.")
    return DicomFile(
        path,
        text(data, "SeriesInstanceUID"),
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
        raise VolumeError(f"{path} must have {count} numbers in {keyword}, got `{written[:80]}`. Export it again.")
    return found


def _is_filled(data: Dataset, keyword: str) -> bool:
    try:
        return bool(data.get_item(keyword).value)
    except Exception:  # what cannot be looked at is not empty
        return True


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:200] if lines else type(error).__name__
