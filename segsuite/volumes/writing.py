"""Write results on an image's own grid, atomically, and read them back before they get their name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.errors import InputError, OutputError, VolumeError
from segsuite.files import remove_unfinished, write_atomically
from segsuite.shapes import FloatArray
from segsuite.volumes.formats.endings import WRITTEN_ENDINGS, image_ending, without_ending
from segsuite.volumes.formats.written import metaimage_bytes, mgh_bytes, nifti_bytes, nrrd_bytes, packed, storable
from segsuite.volumes.reading import holds_fractions, read_stored
from segsuite.volumes.volume import Volume

__all__ = ["SIDE_VOLUMES", "is_side_volume", "remove_unfinished_outputs", "side_volume", "write_image", "write_mask"]

REGION = "_region_"
SIDE_VOLUMES = ("_probability_", "_map_", REGION)
"""What follows a mask's name in those of the volumes that belong to it."""

AFFINE_TOLERANCE = 1e-5
"""In mm, or in voxels where they are smaller than 1 mm."""
SINGLE_PRECISION_STEPS = 2
"""NIfTI and MGH store the origin in single precision: near 1000 mm it moves in steps of 0.00006 mm."""


def side_volume(mask: Path, name: str) -> Path:
    """Where a volume lies that belongs to a mask.

    Args:
        mask: The mask's file.
        name: ``probability_0``, ``map_uncertainty``, ``region_core``, ...

    Returns:
        ``<mask>_<name>`` with the same ending, in the same folder.
    """
    ending = image_ending(mask)
    return mask.with_name(f"{without_ending(mask.name)}_{name}{ending}")


def remove_unfinished_outputs(mask: Path) -> None:
    """Delete what a process that died was writing of a mask and of what lies beside it; other masks' files stay.

    Args:
        mask: The mask's file.
    """
    stem = without_ending(mask.name)
    for name in (mask.name, f"{stem}_report.json"):
        remove_unfinished(mask.parent, name)
    for mark in SIDE_VOLUMES:
        remove_unfinished(mask.parent, f"{stem}{mark}", is_beginning=True)


def is_side_volume(path: Path) -> bool:
    """Whether a file is such a volume and no mask: its mask lies beside it, and it holds fractions or one region of that.

    ``label_map_01`` and ``p2_map_final`` are usual names of masks, so that the name alone does not tell. Regions have names;
    what only numbers regions (``scan_region_2``) is a mask.

    Args:
        path: The file.
    """
    ending = image_ending(path)
    stem = without_ending(path.name)
    marks = [
        mark
        for mark in SIDE_VOLUMES
        for at in range(1, len(stem))
        if stem.startswith(mark, at) and path.with_name(f"{stem[:at]}{ending}").is_file()
    ]
    if REGION in marks and not stem.rsplit(REGION, 1)[-1].isdigit():
        return True
    return bool(marks) and _holds_fractions(path)


def _holds_fractions(path: Path) -> bool:
    """By the number format in the header; what cannot be read is taken for a mask, so that somebody hears of it."""
    try:
        return holds_fractions(path)
    except (InputError, OSError):
        return False


def write_mask(path: Path, labels: NDArray[Any], *, like: Volume) -> None:
    """Write a label map on the grid of the image it belongs to, with the same qform and sform codes.

    Args:
        path: ``.nii.gz``, ``.nii``, ``.nrrd``, ``.mha``, ``.mgz`` or ``.mgh``; the folder must exist.
        labels: Integers (i, j, k).
        like: The image; its grid is the mask's grid.

    Raises:
        VolumeError: The mask has another shape than the image, or values that are no integers.
        OutputError: The file cannot be written, or does not read back equal.
    """
    if not np.issubdtype(labels.dtype, np.integer) and labels.dtype != np.bool_:
        raise VolumeError(f"{path}: a mask must hold integers, got {labels.dtype}.")
    dtype = np.uint8 if int(labels.max(initial=0)) <= 255 else np.uint16
    write_image(path, labels.astype(dtype), like=like)


def write_image(path: Path, array: NDArray[Any], *, like: Volume) -> None:
    """Write any array (i, j, k) on the grid of an image; see ``write_mask``.

    Args:
        path: As in ``write_mask``.
        array: Values (i, j, k), written in their own dtype.
        like: The image whose grid it shares.

    Raises:
        VolumeError: Another shape than the image, or an unknown file ending.
        OutputError: The file cannot be written, or does not read back equal.
    """
    if array.shape != like.grid.shape:
        raise VolumeError(
            f"{path} must have the shape of its image {like.grid.shape}, got {array.shape}. "
            "Bring the result back with volumes.grid.back_to_grid first."
        )
    ending = image_ending(path)
    if ending not in WRITTEN_ENDINGS:
        raise VolumeError(f"{path} must end in one of {', '.join(WRITTEN_ENDINGS)}, got `{path.name}`.")
    stored = storable(array, ending)

    def write(temporary: Path) -> None:
        content = _WRITERS[ending.removesuffix(".gz").removeprefix(".seg")](stored, like)
        temporary.write_bytes(packed(content) if ending in (".nii.gz", ".mgz") else content)
        _require_equal(temporary, stored, like, final=path)

    write_atomically(path, write)


_WRITERS = {
    ".nii": nifti_bytes,
    ".nrrd": nrrd_bytes,
    ".mha": metaimage_bytes,
    ".mgz": mgh_bytes,
    ".mgh": mgh_bytes,
}


def _require_equal(path: Path, array: NDArray[Any], like: Volume, *, final: Path) -> None:
    """The read-back check: shape and voxels as meant, the affine as nearly as the format stores it."""
    voxels, grid = read_stored(path)
    apart = np.abs(grid.affine - like.grid.affine)
    same = np.array_equal(voxels, array, equal_nan=np.issubdtype(array.dtype, np.floating))
    if grid.shape != like.grid.shape or (apart > _tolerance(like)).any() or not same:
        raise OutputError(
            f"{final} must read back as written, got shape {grid.shape} (meant {like.grid.shape}), affine "
            f"{apart.max():.2g} off, voxels {'equal' if same else 'changed'}. Check the disk, then run again."
        )


def _tolerance(like: Volume) -> FloatArray:
    """How far each number of the affine may be off: a part of a voxel, and what single precision loses of a far origin."""
    grid = like.grid
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (*grid.shape, 1)
    reach = np.abs(corners @ grid.affine.T)[:, :3].max()
    tolerance = np.full((4, 4), AFFINE_TOLERANCE * min(1.0, *grid.spacing_mm))
    tolerance[:3, 3] += SINGLE_PRECISION_STEPS * np.finfo(np.float32).eps * reach
    return tolerance
