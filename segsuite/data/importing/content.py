"""What a file holds, where its name does not say it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segsuite.errors import InputError
from segsuite.volumes.archive_names import is_archive
from segsuite.volumes.reading import image_ending, read_stored

__all__ = ["holds_labels"]

MOST_LABELS = 64
LEAST_BACKGROUND = 0.5
LARGEST_LABEL = 255
SAMPLE = 1 << 16


def holds_labels(path: Path) -> bool:
    """Whether a volume is a label map by its voxels: few whole numbers from 0 on, at least half of them 0.

    Args:
        path: An image file, or an archive of one; a folder of slices is none.

    Returns:
        False also for what cannot be read, and for a volume of one value.
    """
    if not path.is_file() or not (image_ending(path) or is_archive(path)):
        return False
    try:
        array, _ = read_stored(path)
    except (InputError, OSError):
        return False
    flat = array.reshape(-1)
    if len(np.unique(flat[:: max(1, flat.size // SAMPLE)])) > MOST_LABELS:
        return False
    values, counts = np.unique(flat, return_counts=True)
    if not 2 <= len(values) <= MOST_LABELS or values[0] != 0 or values[-1] > LARGEST_LABEL:
        return False
    return bool(np.all(values == np.round(values)) and counts[0] >= LEAST_BACKGROUND * flat.size)
