"""Patches without end: the n-th patch depends on the seed and on n alone, whoever draws it and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from segsuite.data.cache import PreparedCase
from segsuite.data.spatial import SpatialAugmentation, View, draw_affine, look, read_view
from segsuite.errors import ManifestError
from segsuite.seeding import keyed_generator
from segsuite.shapes import Size, Spacing

__all__ = ["MoreTargets", "PatchDataset", "SliceAugmentation", "collate_views", "looked_at"]

SliceAugmentation = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
"""Image (channels, height, width), label (height, width) and a seed to an augmented pair; see ``slice_transforms``."""

MoreTargets = Callable[[PreparedCase, np.ndarray], Mapping[str, np.ndarray]]
"""A case and the label of one of its patches to what else an item holds; must be picklable, since loaders may be spawned."""


class PatchDataset(Dataset[dict[str, Any]]):
    """Patches of cases; a share of them, evenly spread over the numbers, is centred on a structure, another is unlabelled.

    An item is ``image`` (channels, i, j, k) float32, ``label`` (i, j, k) int16 class indices with -1 where nothing is scored
    (short, since it travels between processes and to a GPU), ``index``, and what ``more_targets`` adds. Of an unlabelled case
    the label is -1 everywhere.

    Where patches are turned on the GPU, an item is instead what ``read_view`` gives, under ``image``, ``label`` and ``view``.
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
        unlabelled: Sequence[PreparedCase] = (),
        unlabelled_share: float = 0.0,
        more_targets: MoreTargets | None = None,
        turn_on_gpu: bool = False,
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
            unlabelled: Cases without label.
            unlabelled_share: Share of patches that come from them.
            more_targets: Computes what else an item holds.
            turn_on_gpu: Leave the turning of patches to the device that trains, where nothing else has to be done to them here.

        Raises:
            ManifestError: No labelled case.
        """
        self.cases = [case for case in cases if case.case.label is not None]
        if not self.cases:
            raise ManifestError(f"Training must have at least one labelled case, got {len(cases)} cases without labels.")
        self.patch_size, self.spacing_mm, self.seed = patch_size, spacing_mm, seed
        self.foreground_share, self.spatial = foreground_share, spatial
        self.slice_augmentation = slice_augmentation
        self.unlabelled, self.unlabelled_share = list(unlabelled), unlabelled_share if unlabelled else 0.0
        self.more_targets = more_targets
        self.turn_on_gpu = turn_on_gpu and more_targets is None and slice_augmentation is None

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The patch with this number."""
        draw = keyed_generator(self.seed, "patch", index)
        case = self._case(index, draw)
        whole = case.image  # a small cache may have to make it: once
        centre = self._centre(case, whole.shape[1:], index, draw)
        affine = None if self.spatial is None else draw_affine(self.spatial, draw, self.spacing_mm)
        part, marks, view = read_view(whole, _label_of(case, whole.shape[1:]), centre, self.patch_size, affine)
        seen, named = torch.from_numpy(part), torch.from_numpy(marks)
        if self.turn_on_gpu:
            return {"image": seen, "label": named, "view": view, "index": torch.tensor(index)}
        image, label = (array.numpy() for array in look(seen, named, view))
        if self.slice_augmentation is not None:
            flat_image, flat_label = self.slice_augmentation(image[..., 0], label[..., 0], int(draw.integers(2**31)))
            image, label = flat_image[..., None], flat_label[..., None]
        more = {} if self.more_targets is None else self.more_targets(case, label)
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)),
            "label": torch.from_numpy(np.ascontiguousarray(label, dtype=np.int16)),
            "index": torch.tensor(index),
            **{name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in more.items()},
        }

    def case_of(self, index: int) -> PreparedCase:
        """The case that the patch with this number comes from."""
        return self._case(index, keyed_generator(self.seed, "patch", index))

    def _case(self, index: int, draw: np.random.Generator) -> PreparedCase:
        pool = self.unlabelled if _is_due(index, self.unlabelled_share) else self.cases
        return pool[int(draw.integers(len(pool)))]

    def _centre(self, case: PreparedCase, shape: Sequence[int], index: int, draw: np.random.Generator) -> Size:
        """A foreground voxel for a share of the patches (evenly spread over indices), else any place that fits."""
        if _is_due(index, self.foreground_share) and case.label is not None and len(case.foreground):
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


def collate_views(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch of items that are still to be turned: their parts differ in size.

    Args:
        items: Of a ``PatchDataset`` that leaves turning to the GPU.

    Returns:
        Lists under ``image``, ``label`` and ``view``; ``index`` (batch,).
    """
    lists: dict[str, Any] = {name: [item[name] for item in items] for name in ("image", "label", "view")}
    return {**lists, "index": torch.stack([item["index"] for item in items])}


def looked_at(images: Sequence[torch.Tensor], labels: Sequence[torch.Tensor], views: Sequence[View]) -> dict[str, torch.Tensor]:
    """The patches of such a batch, on the device where their parts are.

    Args:
        images: One part (channels, ...) per patch.
        labels: One part (...) per patch.
        views: How each patch sees its part.

    Returns:
        ``image`` (batch, channels, i, j, k) and ``label`` (batch, i, j, k).
    """
    patches = [look(image, label, view) for image, label, view in zip(images, labels, views, strict=True)]
    image, label = (torch.stack(column) for column in zip(*patches, strict=True))
    return {"image": image, "label": label}


def _is_due(index: int, share: float) -> bool:
    """Whether this number belongs to a share of all numbers, evenly spread."""
    return int((index + 1) * share) > int(index * share)


def _label_of(case: PreparedCase, shape: Sequence[int]) -> np.ndarray:
    """The case's label; -1 everywhere, without memory, if it has none."""
    if case.label is not None:
        return np.asanyarray(case.label)
    return np.broadcast_to(np.int16(-1), tuple(shape))
