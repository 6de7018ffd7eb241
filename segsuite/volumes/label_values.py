"""Whole numbers for labels: rounding dust taken off, values mapped, and what is no label refused with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.errors import VolumeError

__all__ = ["DUST", "HIGHEST", "whole_labels"]

DUST = 1e-3
"""A label stored as a float may be off by less than this. Single precision keeps labels to 255 within 1.5e-5, a slope such
as 1/255 or a resampling adds a few of those; a probability map is farther from whole numbers somewhere."""
HIGHEST = 65535
_TABLE_ENTRIES = 1 << 17


def whole_labels(array: NDArray[Any], path: Path, *, mapping: dict[int, int] | None = None) -> NDArray[Any]:
    """The integers of a label map.

    Args:
        array: As stored, any real type.
        path: For messages.
        mapping: Source value to target value, all at once; values that are not named stay. Negative sources are fine.

    Returns:
        Same shape, uint8 where they fit, else uint16.

    Raises:
        VolumeError: Fractions, NaN, infinite, or values outside 0 to 65535 after the mapping.
    """
    whole = array if array.dtype.kind in "iub" else _without_dust(array, path)
    low, high = int(whole.min()), int(whole.max())
    if mapping:
        whole = _mapped(whole, mapping, low, high, path)
        low, high = int(whole.min()), int(whole.max())
    _require_range(low, high, path)
    return whole.astype(np.uint8 if high <= 255 else np.uint16, copy=False)


def _without_dust(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if n_bad := int(array.size - np.isfinite(array).sum()):
        raise VolumeError(
            f"{path} must hold whole numbers (labels), got NaN or infinity in {n_bad} of {array.size} voxels. Replace them."
        )
    rounded = np.rint(array)
    odd = np.abs(rounded - array) >= DUST
    if odd.any():
        values = [round(float(value), 7) for value in np.unique(array[odd])[:5]]
        raise VolumeError(
            f"{path} must hold whole numbers (labels), got values such as {values} in {int(odd.sum())} of {array.size} voxels. "
            "It may be a probability map: threshold it, or point to the label file."
        )
    low, high = float(rounded.min()), float(rounded.max())
    if max(-low, high) >= 2**62:
        raise VolumeError(f"{path} must hold labels between 0 and {HIGHEST}, got {low:g} to {high:g}. Point to the label file.")
    return rounded.astype(np.int32 if max(-low, high) < 2**31 else np.int64)


def _mapped(whole: NDArray[Any], mapping: dict[int, int], low: int, high: int, path: Path) -> NDArray[Any]:
    """By a table over the values between the lowest and the highest; where they lie far apart, value by value."""
    within = {source: target for source, target in mapping.items() if low <= source <= high}
    if high - low >= _TABLE_ENTRIES:
        values, places = np.unique(whole, return_inverse=True)
        targets = [within.get(int(value), int(value)) for value in values]
        _require_range(min(targets), max(targets), path)
        return np.array(targets, dtype=np.uint16)[places].reshape(whole.shape)
    table = np.arange(low, high + 1, dtype=object)
    for source, target in within.items():
        table[source - low] = min(max(target, -1), HIGHEST + 1)
    small = table.astype(np.int32) if low >= -(2**31) and high < 2**31 else table.astype(np.int64)
    if whole.dtype.kind == "i":
        whole = whole.astype(np.int64)
    mapped: NDArray[Any] = small[whole - low if low else whole]
    return mapped


def _require_range(low: int, high: int, path: Path) -> None:
    if low < 0 or high > HIGHEST:
        raise VolumeError(
            f"{path} must hold labels between 0 and {HIGHEST}, got {low} to {high}. Map them first, for example with "
            f'"label_mapping": {{"{low if low < 0 else high}": 0}} in the manifest.'
        )
