"""The endings of image files, and what stays of a name without them. What a file is, its content says, not its ending."""

from __future__ import annotations

import os
from pathlib import Path

from segsuite.volumes.archive_names import archive_ending
from segsuite.volumes.dicom_files import holds_dicom

__all__ = [
    "ENDINGS",
    "NIFTI_ENDINGS",
    "WRITTEN_ENDINGS",
    "header_of_pair",
    "image_ending",
    "is_image",
    "mask_name",
    "voxels_of_pair",
    "without_ending",
]

NIFTI_ENDINGS = (".nii.gz", ".nii")
PAIR_ENDINGS = (".hdr.gz", ".img.gz", ".hdr", ".img")
NRRD_ENDINGS = (".seg.nrrd", ".nrrd", ".nhdr")
META_ENDINGS = (".mha", ".mhd")
MGH_ENDINGS = (".mgh.gz", ".mgz", ".mgh")
ENDINGS = NIFTI_ENDINGS + NRRD_ENDINGS + META_ENDINGS + MGH_ENDINGS + PAIR_ENDINGS
"""Longer ones first where one ends like another."""
WRITTEN_ENDINGS = (*NIFTI_ENDINGS, ".seg.nrrd", ".nrrd", ".mha", ".mgz", ".mgh")
_WRITTEN_FOR = {".nhdr": ".nrrd", ".mhd": ".mha", ".mgh.gz": ".mgz"}
"""A header with its voxels in another file is answered by one file of the same family; pairs by ``.nii.gz``."""
_HEADER_OF = {".img": (".hdr", ".hdr.gz"), ".img.gz": (".hdr.gz", ".hdr")}


def image_ending(path: Path) -> str:
    """The ending that tells an image, lower case, ``.nii.gz`` counted as one; empty if it is none of ours."""
    name = path.name.lower()
    return next((ending for ending in ENDINGS if name.endswith(ending)), "")


def without_ending(name: str) -> str:
    """A file's name without an image's or an archive's ending, whatever its capitals; the name itself if it has none.

    Args:
        name: Name or path of a file.
    """
    ending = image_ending(Path(name)) or archive_ending(name)
    return name[: len(name) - len(ending)]


def mask_name(name: str) -> str:
    """The name of the mask of an image: the image's own where such files are written, else the nearest that is.

    An ending in capitals stays; a mixture (``.Nii.Gz``) becomes small letters, for other programs open no file of that name.

    Args:
        name: Name or relative path of an image file or of a DICOM folder.

    Returns:
        For example ``a.nii.gz`` for ``a.nii.gz``, ``a.hdr`` and the folder ``a``.
    """
    ending = image_ending(Path(name))
    if ending in WRITTEN_ENDINGS:
        own = name[len(name) - len(ending) :]
        return name if own in (ending, ending.upper()) else without_ending(name) + ending
    return without_ending(name) + _WRITTEN_FOR.get(ending, ".nii.gz")


def is_image(path: Path) -> bool:
    """Whether a path looks like one image: a file by its ending, or a folder that holds a DICOM series directly.

    Of a pair (``a.hdr`` and ``a.img``) the header counts, so that it is one image and not two.
    """
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a link leads to what may not be seen
        return holds_dicom(path)
    ending = image_ending(path)
    if not ending or path.name.startswith("."):
        return False
    return header_of_pair(path) is None if ending in _HEADER_OF else True


def header_of_pair(path: Path) -> Path | None:
    """For the voxels of a pair, the file with their header; ``None`` if it is not there.

    Args:
        path: ``a.img`` or ``a.img.gz``, in any capitals.
    """
    return _beside(path, _HEADER_OF.get(image_ending(path), ()))


def voxels_of_pair(path: Path) -> Path | None:
    """For the header of a pair, the file with its voxels; ``None`` if it is not there.

    Args:
        path: ``a.hdr`` or ``a.hdr.gz``, in any capitals.
    """
    return _beside(path, (".img", ".img.gz"))


def _beside(path: Path, endings: tuple[str, ...]) -> Path | None:
    stem = without_ending(path.name)
    for ending in endings:
        for variant in (ending, ending.upper(), ending.title()):
            other = path.with_name(stem + variant)
            if os.path.exists(other):  # noqa: PTH110 - likewise
                return other
    return None
