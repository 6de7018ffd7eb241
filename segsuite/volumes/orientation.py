"""Which of the body's axes each axis of an array runs along, however a file stores them, ties included."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from segsuite.shapes import Affine

__all__ = ["orientation_of"]

TIE = 1e-4
"""Sums of direction cosines that differ by less are equal: headers hold about seven digits."""


def orientation_of(affine: Affine) -> NDArray[np.float64]:
    """The body's axis that each array axis runs along, so that all three together turn as little as can be.

    One set of three directions gets one answer, in whatever order and sense an affine lists them. Of directions half way
    between two axes (45 degrees) the answer is taken that lies further towards right, then anterior, then superior, axis by axis.

    Args:
        affine: Voxel index to RAS+ mm, (4, 4).

    Returns:
        As ``nibabel.orientations.io_orientation`` gives it: one row per array axis, the body's axis (0 left-right, 1 back-front,
        2 foot-head) and 1 or -1, (3, 2).
    """
    linear = np.asarray(affine, dtype=np.float64)[:3, :3]
    left, _, right = np.linalg.svd(linear / np.linalg.norm(linear, axis=0))
    closest = left @ right  # without shear
    best: tuple[NDArray[np.float64], tuple[int, ...], NDArray[np.float64]] | None = None
    for order in itertools.permutations(range(3)):
        along = closest[range(3), order]
        signs = np.where(along < 0, -1.0, 1.0)
        merit = np.concatenate([[np.abs(along).sum()], (closest[:, order] * signs).T.ravel()])
        if best is None or _is_more(merit, best[0]):
            best = (merit, order, signs)
    assert best is not None  # noqa: S101 - there are six orders
    found = np.empty((3, 2))
    for axis, (stored, sign) in enumerate(zip(best[1], best[2], strict=True)):
        found[stored] = axis, sign
    return found


def _is_more(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """By the first number that differs."""
    apart = (first - second)[np.abs(first - second) > TIE]
    return bool(len(apart) and apart[0] > 0)
