"""Random affine views of a prepared case: which voxels a patch sees, read from disk window by window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segsuite.shapes import FloatArray, Size, Spacing

__all__ = ["SpatialAugmentation", "View", "draw_affine", "look", "read_view"]

MAX_LABELS_LINEAR = 8
"""Up to so many labels in a window, each label's occupancy is interpolated; beyond, the nearest voxel is taken."""


@dataclass(frozen=True)
class SpatialAugmentation:
    """How far a random view may be turned and scaled. Probabilities are per patch.

    Attributes:
        rotate_probability: Of a rotation.
        rotate_degrees: Largest angle about each axis.
        scale_probability: Of a scaling.
        scale_range: Smallest and largest size factor of the anatomy.
        in_plane_only: Rotate about the third axis only (anisotropic or 2-D patches).
    """

    rotate_probability: float = 0.2
    rotate_degrees: float = 30.0
    scale_probability: float = 0.2
    scale_range: tuple[float, float] = (0.7, 1.4)
    in_plane_only: bool = False


def draw_affine(augmentation: SpatialAugmentation, draw: np.random.Generator, spacing_mm: Spacing) -> FloatArray | None:
    """A random map from patch offset to case offset, in voxels; rotation happens in mm.

    Args:
        augmentation: Probabilities and ranges.
        draw: Source of randomness.
        spacing_mm: Voxel size of the network's grid.

    Returns:
        (3, 3), or ``None`` for the identity.
    """
    rotate = draw.random() < augmentation.rotate_probability
    scale = draw.random() < augmentation.scale_probability
    if not (rotate or scale):
        return None
    angles = np.radians(draw.uniform(-augmentation.rotate_degrees, augmentation.rotate_degrees, size=3)) * rotate
    if augmentation.in_plane_only:
        angles[:2] = 0
    matrix = _rotation(angles)
    if scale:
        low, high = augmentation.scale_range
        matrix = matrix / (draw.uniform(low, 1.0) if draw.random() < 0.5 else draw.uniform(1.0, high))
    spacing = np.asarray(spacing_mm)
    return matrix * spacing[None, :] / spacing[:, None]


@dataclass(frozen=True)
class View:
    """What a patch sees of the part of a case that was read for it.

    Attributes:
        size: Of the patch, along i, j, k.
        window: Of what the patch touches, also outside the case.
        start: Where in the window the part begins.
        affine: From patch offset to window offset, about both centres; ``None``: the window is the patch.
        labels: That lie in the window, ascending; the first one is where no other is.
    """

    size: Size
    window: Size
    start: Size
    affine: FloatArray | None
    labels: tuple[int, ...]


def read_view(
    image: NDArray[np.float32], label: NDArray[Any], centre: Size, size: Size, affine: FloatArray | None
) -> tuple[NDArray[np.float32], NDArray[np.int16], View]:
    """The part of a memory-mapped case that a patch touches.

    Args:
        image: (channels, i, j, k).
        label: (i, j, k).
        centre: Voxel of the case in the middle of the patch.
        size: Patch size.
        affine: From ``draw_affine``.

    Returns:
        Image (channels, ...) and label (...) of the part, and how the patch sees it; see ``look``.
    """
    if affine is None:
        start = np.asarray(centre) - np.asarray(size) // 2
        stop = start + np.asarray(size)
    else:
        half = np.ceil(np.abs(affine) @ (np.asarray(size) / 2) + 1.5).astype(int)
        start, stop = np.asarray(centre) - half, np.asarray(centre) + half + 1
    low, high = np.clip(start, 0, label.shape), np.clip(stop, 0, label.shape)
    inside = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    values, marks = np.array(image[(slice(None), *inside)]), np.array(label[inside], dtype=np.int16)
    found: set[int] = set() if affine is None else {int(n) - 1 for n in np.flatnonzero(np.bincount(marks.ravel() + 1))}
    outside = {-1} if (low > start).any() or (high < stop).any() else set()
    window, first = (tuple(int(n) for n in numbers) for numbers in (stop - start, low - start))
    return values, marks, View(size, window, first, affine, tuple(sorted(found | outside)))


def look(image: Tensor, label: Tensor, view: View) -> tuple[Tensor, Tensor]:
    """The patch, on whatever device the part is.

    Args:
        image: (channels, ...) of ``read_view``.
        label: (...) of ``read_view``.
        view: How the patch sees them.

    Returns:
        Image (channels, *size) and label (*size). Outside the case the image is its channel's minimum in the window
        and the label -1 (not scored).
    """
    fill = image.flatten(1).amin(dim=1)[:, None, None, None] if image.numel() else image.new_zeros(len(image), 1, 1, 1)
    if view.affine is not None and image.numel():
        return _turned(image, label, fill, view)
    if image.shape[1:] == view.size:
        return image, label
    place = tuple(slice(start, start + n) for start, n in zip(view.start, label.shape, strict=True))
    values, marks = fill.expand(-1, *view.size).clone(), label.new_full(view.size, -1)
    values[(slice(None), *place)], marks[place] = image, label
    return values, marks


def _turned(image: Tensor, label: Tensor, fill: Tensor, view: View) -> tuple[Tensor, Tensor]:
    points = _points(view, label.shape, image.device)
    if len(view.labels) > MAX_LABELS_LINEAR:
        nearest = _sample((label + 1).float()[None], points, "nearest")[0]
        return _sample(image - fill, points, "bilinear") + fill, nearest.round().to(label.dtype) - 1
    channels = image.new_empty(len(image) + len(view.labels) - 1, *label.shape)
    torch.sub(image, fill, out=channels[: len(image)])
    for channel, value in zip(channels[len(image) :], view.labels[1:], strict=True):
        channel.copy_(label == value)
    sampled = _sample(channels, points, "bilinear")
    occupancies = sampled[len(image) :]
    best = 1 - occupancies.sum(dim=0)  # of the first label
    winner = label.new_full(view.size, view.labels[0])
    for occupancy, value in zip(occupancies, view.labels[1:], strict=True):
        winner.masked_fill_(occupancy > best, value)
        torch.maximum(best, occupancy, out=best)
    return sampled[: len(image)] + fill, winner


def _points(view: View, shape: Size, device: torch.device) -> Tensor:
    """Where in the part, whose ends are -1 and 1, each voxel of the patch lies: (*size, 3), the last axis first."""
    assert view.affine is not None  # noqa: S101 - only turned views come here
    points = torch.empty(*view.size, 3, device=device)
    for source in range(3):
        along = [
            torch.from_numpy((np.arange(n) - (n - 1) / 2) * (2 * view.affine[source, axis] / shape[source])).float().to(device)
            for axis, n in enumerate(view.size)
        ]
        middle = (view.window[source] - 2 * view.start[source]) / shape[source] - 1
        points[..., 2 - source] = along[0][:, None, None] + along[1][:, None] + along[2] + middle
    return points


def _sample(channels: Tensor, points: Tensor, mode: str) -> Tensor:
    return torch.nn.functional.grid_sample(channels[None], points[None], mode=mode, padding_mode="zeros", align_corners=False)[0]


def _rotation(angles: FloatArray) -> FloatArray:
    (ci, cj, ck), (si, sj, sk) = (tuple(math.cos(a) for a in angles), tuple(math.sin(a) for a in angles))
    about_i = np.array([[1, 0, 0], [0, ci, -si], [0, si, ci]])
    about_j = np.array([[cj, 0, sj], [0, 1, 0], [-sj, 0, cj]])
    about_k = np.array([[ck, -sk, 0], [sk, ck, 0], [0, 0, 1]])
    return about_i @ about_j @ about_k
