"""All files that one image is made of, whatever names it: a header with its data, a slice with its series; and their hash."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from segsuite.errors import VolumeError
from segsuite.volumes.dicom_files import candidates, may_be_slice
from segsuite.volumes.dicom_series import series_at
from segsuite.volumes.formats.endings import image_ending, without_ending

__all__ = ["files_of_image", "hash_of_image", "is_series"]

WITH_COMPANIONS = (".mhd", ".nhdr", ".hdr", ".img", ".hdr.gz", ".img.gz")
"""Endings of which the voxels, or the header, may lie in a file beside."""
_CHUNK_BYTES = 1 << 20


def is_series(image: Path) -> bool:
    """Whether an image is a DICOM series: a folder, or one of its files.

    Args:
        image: As ``read_volume`` takes it.

    Returns:
        True for folders and for files that are DICOM by content.
    """
    return image.is_dir() or may_be_slice(image, image_ending(image))


def files_of_image(image: Path) -> list[Path]:
    """The files to read, to send, to watch.

    Args:
        image: As ``read_volume`` takes it.

    Returns:
        In the order of their names; none where nothing is there. Of a series that cannot be told, all files that may be slices.
    """
    if is_series(image):
        try:
            return sorted(series_at(image).files)
        except VolumeError:  # reading says what is wrong
            here = image if image.is_dir() else image.parent
            return [path for path in candidates(here) if path.is_file()]
    if image_ending(image) in WITH_COMPANIONS:
        stem = without_ending(image.name)
        beside = image.parent.iterdir() if image.parent.is_dir() else ()
        own = (path for path in beside if path.name.startswith(f"{stem}.") and image_ending(path) in ("", *WITH_COMPANIONS))
        return sorted(path for path in own if path.is_file())
    return [image] if image.is_file() else []


def hash_of_image(image: Path) -> str:
    """SHA-256 of the bytes of all files of an image, and of their names where there are several.

    Args:
        image: As ``read_volume`` takes it.

    Returns:
        64 hexadecimal digits.

    Raises:
        FileNotFoundError: Nothing is there.
        OSError: A file cannot be read.
    """
    files = files_of_image(image)
    if not files:
        raise FileNotFoundError(f"{image} must be an image, but nothing is there.")
    start = image if image.is_dir() else image.parent
    digest = hashlib.sha256()
    for path in files:
        if len(files) > 1:
            digest.update(os.fsencode(path.relative_to(start)))
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()
