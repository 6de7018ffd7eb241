"""What a label map holds, found in one pass: counts, values, boxes. Sorting (``numpy.unique``) is far slower."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segsuite.volumes.cropping import bounding_box

__all__ = ["label_boxes", "label_counts", "labels_present"]


def label_counts(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Voxels per label.

    Args:
        labels: Integers >= 0, any number of axes.

    Returns:
        One count per integer from 0 to the largest.
    """
    counts = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.int64)
    for slab in labels:  # slab by slab: bincount turns its input into 8-byte integers
        counts += np.bincount(np.ravel(slab), minlength=len(counts))
    return counts


def labels_present(labels: NDArray[Any]) -> list[int]:
    """The integers that occur.

    Args:
        labels: Integers >= 0, any number of axes.

    Returns:
        Sorted integers, 0 included where it occurs.
    """
    return [int(value) for value in np.flatnonzero(label_counts(labels))]


def label_boxes(labels: NDArray[Any]) -> dict[int, tuple[slice, ...]]:
    """The smallest box around each label above 0.

    Args:
        labels: Integers >= 0, (i, j, k).

    Returns:
        Label to one slice per axis; labels that do not occur are absent.
    """
    outer = bounding_box(labels != 0)  # most of a volume is background, and this pass is the cheaper one
    found = {}
    for value, box in enumerate(ndimage.find_objects(labels[outer]), start=1):
        if box is not None:
            found[value] = tuple(slice(o.start + b.start, o.start + b.stop) for o, b in zip(outer, box, strict=True))
    return found
