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
    theta = torch.zeros(1, 3, 4)
    window = np.asarray(label.shape)
    normalised = affine * np.asarray(size)[None, :] / window[:, None]
    theta[0, :, :3] = torch.from_numpy(np.ascontiguousarray(normalised[::-1, ::-1])).float()
    points = torch.nn.functional.affine_grid(theta, [1, 1, *size], align_corners=False)
    sampled = _sample(torch.from_numpy(image)[None], points, "bilinear", "border")[0].numpy()
    marks = torch.from_numpy(label)
    values = torch.unique(marks)
    if len(values) > MAX_LABELS_LINEAR:
        nearest = _sample((marks + 1).float()[None, None], points, "nearest", "zeros")[0, 0]
        return sampled, (nearest.round().to(torch.int16) - 1).numpy()
    occupancy = torch.stack([(marks == value).float() for value in values])
    winner = _sample(occupancy[None], points, "bilinear", "border")[0].argmax(dim=0)
    return sampled, values[winner].to(torch.int16).numpy()


def _sample(volume: torch.Tensor, points: torch.Tensor, mode: str, padding: str) -> torch.Tensor:
    return torch.nn.functional.grid_sample(volume, points, mode=mode, padding_mode=padding, align_corners=False)


def _rotation(angles: FloatArray) -> FloatArray:
    (ci, cj, ck), (si, sj, sk) = (tuple(math.cos(a) for a in angles), tuple(math.sin(a) for a in angles))
    about_i = np.array([[1, 0, 0], [0, ci, -si], [0, si, ci]])
    about_j = np.array([[cj, 0, sj], [0, 1, 0], [-sj, 0, cj]])
    about_k = np.array([[ck, -sk, 0], [sk, ck, 0], [0, 0, 1]])
    return about_i @ about_j @ about_k
