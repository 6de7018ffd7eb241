"""Augmentation of slices and their masks together, by albumentations; nothing else of the house knows that library."""

from __future__ import annotations

import os

# albumentations asks a package index for newer versions when it is imported; nothing dials out at run time.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np

from segsuite.data.datasets import SliceAugmentation

__all__ = ["slice_augmentation"]

NOT_SCORED = -1


def slice_augmentation(*, rotate_degrees: float, scale_range: tuple[float, float], flip: bool) -> SliceAugmentation:
    """A function that augments one slice and its mask with the same random geometry.

    Masks move by nearest neighbour; what comes in from outside is -1 (not scored) in the mask.

    Args:
        rotate_degrees: Largest rotation.
        scale_range: Smallest and largest size factor.
        flip: Whether either axis may be flipped.

    Returns:
        Maps image (channels, height, width) float32, label (height, width) and a seed to an augmented pair.
    """
    steps = [
        A.Affine(
            rotate=(-rotate_degrees, rotate_degrees),
            scale=scale_range,
            interpolation=cv2.INTER_LINEAR,
            mask_interpolation=cv2.INTER_NEAREST,
            border_mode=cv2.BORDER_CONSTANT,
            fill=0,
            fill_mask=NOT_SCORED,
            p=0.5,
        ),
        A.ElasticTransform(
            alpha=30,
            sigma=8,
            interpolation=cv2.INTER_LINEAR,
            mask_interpolation=cv2.INTER_NEAREST,
            border_mode=cv2.BORDER_CONSTANT,
            fill=0,
            fill_mask=NOT_SCORED,
            p=0.1,
        ),
        *([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)] if flip else []),
    ]
    composed = A.Compose(steps)

    def augment(image: np.ndarray, label: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        composed.set_random_seed(seed)
        moved = composed(image=np.moveaxis(image, 0, -1), mask=label.astype(np.int16))
        pixels = moved["image"]
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        return np.moveaxis(pixels, -1, 0).astype(np.float32), moved["mask"].astype(np.int16)

    return augment
