"""Is a file a mask and not a scan? Told by its name and by what is in it, so that a folder of both can be segmented."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.volumes.formats.endings import NIFTI_ENDINGS, image_ending
from segsuite.volumes.formats.opening import described

__all__ = ["looks_like_mask"]

NAMES = {
    "annotation", "annotations", "dseg", "groundtruth", "gt", "label", "labels", "labelstr", "labelsts", "mask", "masks", "roi",
    "rois", "seg", "segmentation", "segmentations", "segs",
}  # fmt: skip
"""Words of file names, and names of folders, that mean masks."""
MOST_VALUES = 256
"""Of a file that is named like a mask."""
MOST_VALUES_UNNAMED = 32
LEAST_VOXELS_UNNAMED = 20_000
"""In a smaller image few values mean nothing."""
LIGHT = 0.15
"""Bytes per voxel of a compressed file: a scan has noise."""
DUST = 1e-3


def looks_like_mask(path: Path) -> bool:
    """Whether a file holds labels.

    Args:
        path: An image file.

    Returns:
        True if it holds few values, all whole numbers from 0 up, and is named like a mask, or large enough to tell.
        False where it cannot be read: reading says why.
    """
    named = _is_named(path)
    try:
        if not path.is_file() or not (named or _is_light(path)):
            return False
        return _has_few_values(
            path, MOST_VALUES if named else MOST_VALUES_UNNAMED, least_voxels=0 if named else LEAST_VOXELS_UNNAMED
        )
    except Exception:
        return False


def _is_named(path: Path) -> bool:
    words = re.split(r"[^a-z]+", path.name.lower())
    return bool({*words, path.parent.name.lower()} & NAMES)


def _is_light(path: Path) -> bool:
    if image_ending(path) not in NIFTI_ENDINGS:
        return False
    with described(path) as found:
        n_voxels, n_bytes = math.prod(found.shape), path.stat().st_size
        return n_bytes < LIGHT * n_voxels or (found.dtype.itemsize == 1 and n_bytes >= n_voxels)


def _has_few_values(path: Path, most: int, *, least_voxels: int) -> bool:
    seen: NDArray[Any] = np.zeros(0)
    n_voxels = 0
    for part in _parts(path):
        seen = np.union1d(seen, np.unique(part))
        n_voxels += part.size
        if (
            len(seen) > most
            or not np.isfinite(seen).all()
            or np.abs(seen - np.round(seen)).max(initial=0) > DUST
            or (seen < -DUST).any()
        ):
            return False
    n_values = len(np.unique(np.round(seen)))
    return 0 < n_values <= most and bool((np.abs(seen) < DUST).any()) and n_voxels >= max(least_voxels, 4 * n_values)


def _parts(path: Path) -> Iterator[NDArray[Any]]:
    """The values of a file, slice by slice."""
    with described(path) as found:
        array = found.voxels()
    for index in range(array.shape[-1]):
        yield array[..., index].astype(float)
