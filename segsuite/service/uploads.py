"""What a client may hand in as an image: a NIfTI file, or an archive that holds one, or one DICOM series."""

from __future__ import annotations

from pathlib import Path

from segsuite.errors import VolumeError
from segsuite.volumes.archives import ARCHIVE_ENDINGS, UnpackLimits, archive_name, is_archive, unpack
from segsuite.volumes.finding import find_images
from segsuite.volumes.formats.endings import NIFTI_ENDINGS, image_ending, without_ending

__all__ = ["ENDINGS_TAKEN", "image_in", "stem_of", "taken_ending"]

ENDINGS_TAKEN = (*NIFTI_ENDINGS, *ARCHIVE_ENDINGS)
MOST_FILES = 20_000
BYTES_OF_VOXEL = 8


def taken_ending(name: str) -> str:
    """The ending of a client's file name, if such a file is taken.

    Args:
        name: Of the file.

    Returns:
        The ending, in small letters; empty if it is none of ``ENDINGS_TAKEN``.
    """
    ending = image_ending(Path(name))
    if ending in NIFTI_ENDINGS:
        return ending
    return next((end for end in sorted(ARCHIVE_ENDINGS, key=len, reverse=True) if name.lower().endswith(end)), "")


def stem_of(name: str) -> str:
    """A file name without folder and ending.

    Args:
        name: Of a client's file.
    """
    bare = Path(name).name
    return archive_name(Path(bare)) if taken_ending(bare) in ARCHIVE_ENDINGS else without_ending(bare)


def image_in(upload: Path, *, most_voxels: int) -> Path:
    """The image that an upload is or holds; an archive is unpacked beside itself and then deleted.

    Args:
        upload: The file as it was received, in a folder that is deleted later.
        most_voxels: Of an image: no archive may unpack to more.

    Returns:
        As ``read_volume`` takes it.

    Raises:
        VolumeError: A bad archive, or one that holds no image, or several.
    """
    if not is_archive(upload):
        return upload
    folder = upload.with_name(f"{archive_name(upload)}_content")
    n_bytes = most_voxels * BYTES_OF_VOXEL
    unpack(upload, folder, UnpackLimits(files=MOST_FILES, total_bytes=n_bytes))
    upload.unlink()
    found = find_images(folder).images
    if len(found) != 1:
        listed = f": {', '.join(one.relative or 'a series' for one in found[:5])}" if found else ""
        raise VolumeError(f"The archive must hold one image or one DICOM series, got {len(found)}{listed}. Pack one by one.")
    if found[0].problem:
        raise VolumeError(found[0].problem)
    return found[0].path
