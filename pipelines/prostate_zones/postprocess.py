"""From the network's labels to zones that are whole: islands and holes go to the nearest zone, in mm.

Source: largest component per zone and nearest-zone filling: Meyer et al., ISBI 2019; connectivity, shares and mm are ours.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from segsuite.shapes import LabelMap, Mask, Spacing
from segsuite.volumes.components import keep_largest_component
from segsuite.volumes.cropping import bounding_box

__all__ = ["LEAST_SHARES", "tidy_zones"]

LEAST_SHARES = {"peripheral_zone": 0.05, "anterior_fibromuscular_stroma": 0.10}
"""A component stays if it has this share of its zone's largest: the PZ has two horns at the base, the TZ can split the AFS.
Of other zones only the largest stays."""
MOST_ROUNDS = 10
"""Filling can join or cut components; after so many rounds nothing has been seen to change."""


def tidy_zones(labels: LabelMap, spacing_mm: Spacing, structures: Mapping[int, str]) -> LabelMap:
    """Zones without islands and holes.

    What is not connected to the largest part of the gland becomes background. Inside the gland, small components of a
    zone and enclosed background go to the nearest zone in mm. A zone that was absent stays absent, and applying this
    twice is the same as once.

    Args:
        labels: Integers (i, j, k).
        spacing_mm: Voxel size along i, j, k.
        structures: Integer to zone name.

    Returns:
        A new label map.
    """
    box = bounding_box(labels > 0, margin=1)
    part = labels[box]
    for _ in range(MOST_ROUNDS):
        tidied = _once(part, spacing_mm, structures)
        if np.array_equal(tidied, part):
            break
        part = tidied
    result = np.zeros_like(labels)
    result[box] = part
    return result


def _once(labels: LabelMap, spacing_mm: Spacing, structures: Mapping[int, str]) -> LabelMap:
    gland = keep_largest_component(labels > 0)
    kept = np.where(gland, labels, 0).astype(labels.dtype)
    for label, name in structures.items():
        zone = kept == label
        kept[zone & ~_large_components(zone, LEAST_SHARES.get(name, 1.0))] = 0
    lost = ndimage.binary_fill_holes(gland) & (kept == 0)
    if lost.any() and kept.any():
        nearest = ndimage.distance_transform_edt(kept == 0, sampling=spacing_mm, return_distances=False, return_indices=True)
        kept[lost] = kept[tuple(nearest)][lost]
    return kept


def _large_components(zone: Mask, least_share: float) -> Mask:
    if least_share >= 1:
        return keep_largest_component(zone)
    components, count = ndimage.label(zone, structure=np.ones((3, 3, 3)))
    if count <= 1:
        return zone
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= least_share * sizes.max())[components] & zone)
