"""Which labels are left and right of one structure, told by where they lie: names may be numbers, or in any language."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segsuite.shapes import FloatArray, LabelMap, Spacing

__all__ = ["LabelPlace", "mirrored_labels", "places_of_labels"]

SAMPLES = 2_000_000
BODY_SHARE = 0.1
"""Of the way from the dark quarter to the bright end of an image: what is brighter is body."""
OTHER_SIDE_SHARE = 0.1
"""Of a label may lie across the middle of the body."""
NEAR = 0.5
"""Of the distance between two labels: so near must one be to the other once it is mirrored."""
LARGEST_RATIO = 3.0
"""Of the volumes of a left and a right organ."""
MOST = 0.6
"""Share of the cases with both labels in which they must mirror each other."""


@dataclass(frozen=True)
class LabelPlace:
    """Where a label lies in one case.

    Attributes:
        middle_mm: Its centre: from the body's mid-plane to the right, then to the front and up.
        left_share: Share of its voxels on the left of the mid-plane.
        n_voxels: Of it, among those looked at.
    """

    middle_mm: tuple[float, float, float]
    left_share: float
    n_voxels: int


def places_of_labels(image: FloatArray, labels: LabelMap, spacing_mm: Spacing) -> dict[int, LabelPlace]:
    """Where the labels of a case lie.

    Args:
        image: Intensities (i, j, k), axes in RAS+ order; tell where the middle of the body is.
        labels: Integers (i, j, k) on its grid; those below 1 are none.
        spacing_mm: Voxel size.

    Returns:
        Label to its place.
    """
    step = max(1, int(np.ceil((labels.size / SAMPLES) ** (1 / 3))))
    seen = labels[::step, ::step, ::step]
    middle = _middle_of_body(image[::step, ::step, ::step])
    at = np.nonzero(seen > 0)
    found = seen[at].astype(np.int64)
    places = {}
    for value in np.flatnonzero(np.bincount(found)) if found.size else ():
        chosen = found == value
        mean = np.array([axis[chosen].mean() for axis in at]) - (middle, 0, 0)
        left = float((at[0][chosen] < middle).mean())  # RAS+: the first axis runs from left to right
        mm = mean * spacing_mm * step
        places[int(value)] = LabelPlace((float(mm[0]), float(mm[1]), float(mm[2])), left, int(chosen.sum()))
    return places


def mirrored_labels(cases: Sequence[Mapping[int, LabelPlace]]) -> list[tuple[int, int]]:
    """Pairs of labels that mirror each other at the middle of the body in most of the cases that have both.

    Args:
        cases: From ``places_of_labels``.

    Returns:
        Pairs, the smaller integer first.
    """
    n_both, n_mirrored = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    for case in cases:
        pairs = list(itertools.combinations(sorted(case), 2))
        n_both.update(pairs)
        near = {pair: share for pair in pairs if (share := _share_apart(case[pair[0]], case[pair[1]])) < NEAR}
        nearest = {label: min(pairs, key=near.__getitem__) for label in case if (pairs := [p for p in near if label in p])}
        n_mirrored.update(pair for pair in near if nearest[pair[0]] == nearest[pair[1]] == pair)
    return sorted(pair for pair, n in n_mirrored.items() if n > MOST * n_both[pair])


def _middle_of_body(image: Any) -> float:
    """The place along the first axis that has as much of the body on either side."""
    low, high = np.percentile(image, [25, 95])
    profile = (image > low + BODY_SHARE * (high - low)).sum(axis=(1, 2)).cumsum()
    if not profile[-1]:
        return (image.shape[0] - 1) / 2
    half = profile[-1] / 2
    return float(np.searchsorted(profile, half))


def _share_apart(first: LabelPlace, second: LabelPlace) -> float:
    """How far one label is from the other once it is mirrored, as a share of their distance; infinite where they are no pair."""
    low, high = sorted((first.left_share, second.left_share))
    if low > OTHER_SIDE_SHARE or high < 1 - OTHER_SIDE_SHARE:
        return math.inf
    if max(first.n_voxels, second.n_voxels) > LARGEST_RATIO * min(first.n_voxels, second.n_voxels):
        return math.inf
    one, other = np.array(first.middle_mm), np.array(second.middle_mm)
    return float(np.linalg.norm(one * (-1, 1, 1) - other) / np.linalg.norm(one - other))
