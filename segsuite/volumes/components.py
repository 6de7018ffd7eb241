"""Connected components of a mask."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from segsuite.shapes import LabelMap, Mask
from segsuite.volumes.cropping import bounding_box

__all__ = ["keep_largest_component", "keep_largest_component_per_label"]


def keep_largest_component(mask: Mask) -> Mask:
    """The largest 26-connected component; of two equal ones the one that comes first in the array's order.

    Masks are made of upright images (``volumes.orders``), where that order does not depend on a file's.

    Args:
        mask: Boolean (i, j, k).

    Returns:
        Boolean (i, j, k); empty stays empty.
    """
    box = bounding_box(mask)
    components, count = ndimage.label(mask[box], structure=np.ones((3,) * mask.ndim))
    if count <= 1:
        return mask
    sizes = np.bincount(components.ravel())[1:]
    kept = np.zeros_like(mask)
    kept[box] = components == sizes.argmax() + 1
    return kept


def keep_largest_component_per_label(labels: LabelMap, *, which: tuple[int, ...]) -> LabelMap:
    """Reduce each of the given labels to its largest component; the rest becomes background.

    Args:
        labels: Integers (i, j, k).
        which: Labels to reduce; others stay as they are.

    Returns:
        A new label map.
    """
    result = labels.copy()
    for label in which:
        mask = labels == label
        result[mask & ~keep_largest_component(mask)] = 0
    return result
