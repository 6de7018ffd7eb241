"""Which files are DICOM by their first bytes, without a library: folders are looked through with it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PREAMBLE_BYTES", "DicomFile", "candidates", "holds_dicom", "is_dicom", "may_be_slice", "says_dicom"]

ENDINGS = (".dcm", ".ima", ".dicom")
PREAMBLE_BYTES = 128
OTHER_ENDINGS = (
    ".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img.gz", ".mgz", ".mgh", ".png", ".json", ".tsv", ".csv",
)  # fmt: skip
"""Files that are not opened to see whether they are DICOM."""
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
"""How a file without preamble begins: group 2 or 8, in either byte order."""


@dataclass(frozen=True)
class DicomFile:
    """One file.

    Attributes:
        path: Where it is.
        series_uid: Empty where an anonymiser removed it.
        object_uid: Of the file; copies have the same.
        number: Of the series; empty if unknown.
        description: Of the series; empty where it could name the patient.
        no_scan: What it is instead of (a part of) a scan; empty for a scan.
        localiser: Whether it says that it is a survey picture.
    """

    path: Path
    series_uid: str
    object_uid: str
    number: str
    description: str
    no_scan: str = ""
    localiser: bool = False


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its first bytes or its ending. Anything but a regular file is none and is not opened.

    Args:
        path: Any path.

    Returns:
        True for a file that says so, and for one that begins like a data set without preamble: reading tells whether it is one.
    """
    if says_dicom(path):
        return True
    start = _start(path)
    # without preamble: a group's first elements, with an explicit type or with a short length in its place
    return start[:2] in _FIRST_GROUPS and len(start) > 16 and _begins_like_a_data_set(start)


def says_dicom(path: Path) -> bool:
    """Whether a file itself says that it is DICOM: one that then cannot be read is damaged.

    Args:
        path: Any path.

    Returns:
        True for regular files with DICOM's preamble, and for those that end in ``.dcm``, ``.ima`` or ``.dicom``.
    """
    if path.suffix.lower() in ENDINGS:
        return _is_regular(path)
    return _start(path)[PREAMBLE_BYTES:] == b"DICM"


def may_be_slice(path: Path, ending: str) -> bool:
    """Whether a file is to be read as a slice of its series.

    Args:
        path: Any path.
        ending: The ending by which it would be another image; empty if it has none.

    Returns:
        True for DICOM without an image's ending, and for ``.img`` (so old scanners call slices) if it says that it is DICOM.
    """
    return says_dicom(path) if ending == ".img" else not ending and is_dicom(path)


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _start(path: Path) -> bytes:
    if not _is_regular(path):
        return b""
    try:
        with path.open("rb") as stream:
            return stream.read(PREAMBLE_BYTES + 4)
    except OSError:
        return b""


def _begins_like_a_data_set(start: bytes) -> bool:
    order: Any = "big" if start[:2] == b"\x00\x08" else "little"
    element = int.from_bytes(start[2:4], order)
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    length = int.from_bytes(start[6:8] if explicit else start[4:8], order)
    return element <= 0x0100 and (explicit or length <= 256)


def candidates(folder: Path) -> list[Path]:
    """Files of a folder that may be DICOM by their names.

    Args:
        folder: Any folder; one that cannot be listed holds none.

    Returns:
        In the order of their names; hidden files are left out.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [folder / name for name in names if not name.startswith(".") and not name.lower().endswith(OTHER_ENDINGS)]


def holds_dicom(folder: Path) -> bool:
    """Whether a file of the folder itself is DICOM by its first bytes or its ending.

    Args:
        folder: Any folder; one that cannot be listed holds none.

    Returns:
        True at the first such file.
    """
    return any(is_dicom(path) for path in candidates(folder))
