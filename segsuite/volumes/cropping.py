"""Boxes: the smallest one around a mask, and cutting or padding to a size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.shapes import Mask, Size, Spacing

__all__ = ["bounding_box", "box_without_padding", "centred_window", "enlarged_box", "pad_to_size", "union_box"]


def bounding_box(mask: Mask, *, margin: int = 0) -> tuple[slice, ...]:
    """The smallest box around the true voxels, clipped to the image.

    Args:
        mask: Boolean, any number of axes.
        margin: Voxels added on every side.

    Returns:
        One slice per axis; the whole image if the mask is empty.
    """
    box = []
    remaining: NDArray[Any] = mask
    for size in mask.shape:
        # axis by axis, projecting onto the axes that are left: each pass runs along memory
        hits = np.flatnonzero(remaining.reshape(size, -1).any(axis=1))
        low, high = (int(hits[0]), int(hits[-1]) + 1) if hits.size else (0, size)
        box.append(slice(max(0, low - margin), min(size, high + margin)))
        remaining = np.asarray(remaining[low:high].any(axis=0))
    return tuple(box)


def union_box(first: tuple[slice, ...] | None, second: tuple[slice, ...] | None) -> tuple[slice, ...]:
    """The smallest box around two boxes of one image.

    Args:
        first: A box, or ``None`` for nothing.
        second: A box, or ``None`` for nothing.

    Returns:
        One slice per axis; three empty ones if both are nothing.
    """
    if first is None or second is None:
        return first or second or (slice(0, 0),) * 3
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))


def enlarged_box(box: tuple[slice, ...], margin_mm: float, spacing_mm: Spacing, shape: Size) -> tuple[slice, ...]:
    """A box with a margin, inside the volume.

    Args:
        box: One slice per axis.
        margin_mm: On every side.
        spacing_mm: Voxel size along each axis.
        shape: Of the volume.

    Returns:
        One slice per axis.
    """
    margins = [math.ceil(margin_mm / size) for size in spacing_mm]
    return tuple(
        slice(max(0, part.start - margin), min(length, part.stop + margin))
        for part, margin, length in zip(box, margins, shape, strict=True)
    )


def centred_window(centre: Size, size: Size, shape: Size) -> tuple[slice, ...]:
    """A window of a size around a voxel, moved so that it stays inside the image where it fits.

    Args:
        centre: Voxel index.
        size: Window size; may be larger than the image, then the window is the whole axis.
        shape: Image size.

    Returns:
        One slice per axis, inside the image.
    """
    window = []
    for at, length, total in zip(centre, size, shape, strict=True):
        start = min(max(0, at - length // 2), max(0, total - length))
        window.append(slice(start, min(total, start + length)))
    return tuple(window)


def box_without_padding(array: NDArray[Any]) -> tuple[slice, ...]:
    """The smallest box that leaves out constant planes at the borders, such as empty slices that were added.

    Args:
        array: (channels, i, j, k).

    Returns:
        One slice per axis i, j, k; the whole image if it is constant.
    """
    return bounding_box((array != array[:, :1, :1, :1]).any(axis=0))


def pad_to_size(array: NDArray[Any], size: Size, *, value: float) -> NDArray[Any]:
    """Pad the last axes at both ends, the odd voxel at the far end, up to at least ``size``.

    Args:
        array: (..., i, j, k).
        size: Least size of the last axes.
        value: What is filled in.

    Returns:
        The padded array; the same one if nothing was needed.
    """
    missing = [max(0, want - have) for want, have in zip(size, array.shape[-len(size) :], strict=True)]
    if not any(missing):
        return array
    lead = [(0, 0)] * (array.ndim - len(size))
    return np.pad(array, lead + [(n // 2, n - n // 2) for n in missing], constant_values=value)
