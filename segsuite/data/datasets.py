"""Patches without end: the n-th patch depends on the seed and on n alone, whoever draws it and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from segsuite.data.cache import PreparedCase
from segsuite.data.spatial import SpatialAugmentation, draw_affine, read_patch
from segsuite.errors import ManifestError
from segsuite.seeding import keyed_generator
from segsuite.shapes import Size, Spacing

__all__ = ["PatchDataset", "SliceAugmentation"]

SliceAugmentation = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
"""Image (channels, height, width), label (height, width) and a seed to an augmented pair; see ``slice_transforms``."""


class PatchDataset(Dataset[dict[str, torch.Tensor]]):
    """Patches of labelled cases. Item n of batch position n % batch is foreground-centred for a share of positions.

    An item is ``image`` (channels, i, j, k) float32, ``label`` (i, j, k) int64 class indices with -1 where nothing is scored, and
    ``index``.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        *,
        patch_size: Size,
        spacing_mm: Spacing,
        seed: int,
        foreground_share: float,
        spatial: SpatialAugmentation | None,
        slice_augmentation: SliceAugmentation | None = None,
    ) -> None:
        """Set up; nothing is read yet.

        Args:
            cases: Labelled, prepared cases.
            patch_size: Voxels along i, j, k; k = 1 for slices.
            spacing_mm: Of the network's grid.
            seed: The run's seed.
            foreground_share: Share of patches centred on a voxel of a random structure.
            spatial: Random views; ``None`` for none.
            slice_augmentation: For k = 1: augmentation of image and mask together.

        Raises:
            ManifestError: No labelled case.
        """
        self.cases = [case for case in cases if case.case.label is not None]
        if not self.cases:
            raise ManifestError(f"Training must have at least one labelled case, got {len(cases)} cases without labels.")
        self.patch_size, self.spacing_mm, self.seed = patch_size, spacing_mm, seed
        self.foreground_share, self.spatial = foreground_share, spatial
        self.slice_augmentation = slice_augmentation

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """The patch with this number."""
        draw = keyed_generator(self.seed, "patch", index)
        case = self.cases[int(draw.integers(len(self.cases)))]
        centre = self._centre(case, index, draw)
        affine = None if self.spatial is None else draw_affine(self.spatial, draw, self.spacing_mm)
        image, label = read_patch(case.image, np.asanyarray(case.label), centre, self.patch_size, affine)
        if self.slice_augmentation is not None:
            flat_image, flat_label = self.slice_augmentation(image[..., 0], label[..., 0], int(draw.integers(2**31)))
            image, label = flat_image[..., None], flat_label[..., None]
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)),
            "label": torch.from_numpy(np.ascontiguousarray(label, dtype=np.int64)),
            "index": torch.tensor(index),
        }

    def _centre(self, case: PreparedCase, index: int, draw: np.random.Generator) -> Size:
        """A foreground voxel for a share of the patches (evenly spread over indices), else any place that fits."""
        shape: Any = case.image.shape[1:]
        step = int((index + 1) * self.foreground_share) > int(index * self.foreground_share)
        if step and len(case.foreground):
            label = draw.choice(np.unique(case.foreground[:, 0]))
            rows = case.foreground[case.foreground[:, 0] == label]
            voxel = rows[int(draw.integers(len(rows))), 1:]
            return tuple(self._inside(int(at), n, p) for at, n, p in zip(voxel, shape, self.patch_size, strict=True))
        spans = [max(0, n - p) for n, p in zip(shape, self.patch_size, strict=True)]
        starts = [int(draw.integers(span + 1)) for span in spans]
        return tuple(start + p // 2 if n > p else n // 2 for start, n, p in zip(starts, shape, self.patch_size, strict=True))

    @staticmethod
    def _inside(at: int, n: int, patch: int) -> int:
        """Move a centre so that the patch stays in the image where it fits."""
        if n <= patch:
            return n // 2
        return min(max(at, patch // 2), n - patch + patch // 2)
