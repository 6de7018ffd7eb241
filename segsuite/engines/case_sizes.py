"""How much of the memory a case will take, as far as its files tell before they are read."""

from __future__ import annotations

import math
import stat
from pathlib import Path

from segsuite.engines.input_case import InputCase
from segsuite.errors import VolumeError
from segsuite.volumes.image_files import files_of_image, is_series
from segsuite.volumes.reading import read_grid

__all__ = ["MOST_VOXELS_BESIDE", "n_voxels", "n_voxels_if_many", "require_ordinary_files"]

MOST_VOXELS_BESIDE = 60_000_000
"""Of a case, all channels, that may be read or written while another is segmented; a larger one gives its voxels up early."""
MOST_COMPRESSION = 1032
"""Values per byte of a file, at most: what deflate can do."""
DICOM_BYTES = 2
"""Per voxel of a slice."""
KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_ordinary_files(case: InputCase) -> None:
    """Check that nothing is opened that never ends.

    Args:
        case: Its images; what is not there is told when it is read.

    Raises:
        VolumeError: A pipe, a socket or a device.
        OSError: A file cannot be looked at.
    """
    for image in case.images:
        for path in (image, *_parts(image)):
            try:
                kind = stat.S_IFMT(path.stat().st_mode)
            except FileNotFoundError:
                continue
            if kind in KINDS:
                raise VolumeError(f"{path} must be an ordinary file, got {KINDS[kind]}. Leave it out.")


def n_voxels(case: InputCase) -> float:
    """Of all channels, from the headers.

    Args:
        case: Its images.

    Raises:
        InputError: A header cannot be read.
    """
    return sum(map(_n_voxels_of_image, case.images))


def n_voxels_if_many(case: InputCase) -> float:
    """As ``n_voxels``, but 0 where the files, without being opened, cannot hold more than ``MOST_VOXELS_BESIDE``.

    Args:
        case: Its images.

    Raises:
        InputError: A header cannot be read.
    """
    if not any(map(is_series, case.images)):
        n_bytes = sum(path.stat().st_size for image in case.images for path in files_of_image(image))
        if n_bytes * MOST_COMPRESSION <= MOST_VOXELS_BESIDE:
            return 0
    return n_voxels(case)


def _n_voxels_of_image(image: Path) -> float:
    if is_series(image):  # its headers would take as long as reading it
        return sum(part.stat().st_size for part in files_of_image(image)) / DICOM_BYTES
    return math.prod(read_grid(image).shape)


def _parts(image: Path) -> list[Path]:
    if image.is_dir():
        return sorted(image.iterdir())
    return files_of_image(image) if is_series(image) else []
