"""Random affine views of a prepared case: which voxels a patch sees, read from disk window by window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segsuite.shapes import FloatArray, Size, Spacing

__all__ = ["SpatialAugmentation", "draw_affine", "read_patch"]

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


def read_patch(
    image: NDArray[np.float32], label: NDArray[Any], centre: Size, size: Size, affine: FloatArray | None
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """One patch of a memory-mapped case, reading only the window that it touches.

    Args:
        image: (channels, i, j, k).
        label: (i, j, k).
        centre: Voxel of the case in the middle of the patch.
        size: Patch size.
        affine: From ``draw_affine``.

    Returns:
        Image (channels, *size) and label (*size). Outside the case the image is its channel's minimum in the window
        and the label -1 (not scored).
    """
    reach = np.asarray(size) / 2 if affine is None else np.abs(affine) @ (np.asarray(size) / 2) + 1.5
    half = np.ceil(reach).astype(int)
    if affine is None:
        start = np.asarray(centre) - np.asarray(size) // 2
        stop = start + np.asarray(size)
    else:
        start, stop = np.asarray(centre) - half, np.asarray(centre) + half + 1
    window_image, window_label = _read_window(image, label, start, stop)
    if affine is None:
        return window_image, window_label
    return _warp(window_image, window_label, size, affine)


def _read_window(
    image: NDArray[np.float32], label: NDArray[Any], start: NDArray[Any], stop: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    shape = np.asarray(label.shape)
    low, high = np.clip(start, 0, shape), np.clip(stop, 0, shape)
    inside = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    place = tuple(slice(int(a), int(b)) for a, b in zip(low - start, high - start, strict=True))
    values = np.asarray(image[(slice(None), *inside)])
    fill = values.reshape(len(values), -1).min(axis=1) if values.size else np.zeros(len(values), dtype=np.float32)
    size = tuple(int(n) for n in stop - start)
    window = np.empty((len(image), *size), dtype=np.float32)
    window[:] = fill[:, None, None, None]
    window[(slice(None), *place)] = values
    marks = np.full(size, -1, dtype=np.int16)
    marks[place] = label[inside]
    return window, marks


def _warp(
    image: NDArray[np.float32], label: NDArray[np.int16], size: Size, affine: FloatArray
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    points = _points(size, label.shape, affine)
    values = np.flatnonzero(np.bincount(label.ravel() + 1)) - 1
    if len(values) > MAX_LABELS_LINEAR:
        nearest = _sample(torch.from_numpy(label + 1).float()[None], points, "nearest", "zeros")[0]
        sampled = _sample(torch.from_numpy(image), points, "bilinear", "border").numpy()
        return sampled, (nearest.round().to(torch.int16) - 1).numpy()
    channels = np.empty((len(image) + len(values) - 1, *label.shape), dtype=np.float32)
    channels[: len(image)] = image
    for channel, value in zip(channels[len(image) :], values[1:], strict=True):
        channel[...] = label == value
    sampled = _sample(torch.from_numpy(channels), points, "bilinear", "border").numpy()
    return sampled[: len(image)], _winner(sampled[len(image) :], values)


def _points(size: Size, window: tuple[int, ...], affine: FloatArray) -> torch.Tensor:
    """Where in the window, whose ends are -1 and 1, each voxel of a patch lies: (*size, 3), the last axis first."""
    points = torch.empty(*size, 3)
    for source in range(3):
        along = [
            torch.from_numpy((np.arange(n) - (n - 1) / 2) * (2 * affine[source, axis] / window[source])).float()
            for axis, n in enumerate(size)
        ]
        points[..., 2 - source] = along[0][:, None, None] + along[1][:, None] + along[2]
    return points


def _winner(occupancies: NDArray[np.float32], values: NDArray[np.intp]) -> NDArray[np.int16]:
    """The label of largest occupancy, where all but the first label's are given and all sum to 1; of equal ones the first."""
    best = 1 - occupancies.sum(axis=0)
    winner = np.full(best.shape, values[0], dtype=np.int16)
    for occupancy, value in zip(occupancies, values[1:], strict=True):
        winner[occupancy > best] = value
        np.maximum(best, occupancy, out=best)
    return winner


def _sample(channels: torch.Tensor, points: torch.Tensor, mode: str, padding: str) -> torch.Tensor:
    return torch.nn.functional.grid_sample(channels[None], points[None], mode=mode, padding_mode=padding, align_corners=False)[0]


def _rotation(angles: FloatArray) -> FloatArray:
    (ci, cj, ck), (si, sj, sk) = (tuple(math.cos(a) for a in angles), tuple(math.sin(a) for a in angles))
    about_i = np.array([[1, 0, 0], [0, ci, -si], [0, si, ci]])
    about_j = np.array([[cj, 0, sj], [0, 1, 0], [-sj, 0, cj]])
    about_k = np.array([[ck, -sk, 0], [sk, ck, 0], [0, 0, 1]])
    return about_i @ about_j @ about_k
