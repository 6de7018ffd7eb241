"""One loss at several resolutions of the decoder, the finest counting most."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["deep_supervision_loss", "deep_supervision_weights", "reduce_label"]


def deep_supervision_weights(n_levels: int) -> list[float]:
    """Weights 1, 1/2, 1/4, ... scaled to sum to 1.

    Args:
        n_levels: Number of resolutions, finest first.

    Returns:
        One weight per level.

    Source: Isensee et al., Nature Methods 2021, doi:10.1038/s41592-020-01008-z, methods.
    """
    raw = [0.5**level for level in range(n_levels)]
    return [weight / sum(raw) for weight in raw]


def reduce_label(label: Tensor, size: Sequence[int]) -> Tensor:
    """A label map at a coarser resolution, by the nearest voxel.

    Args:
        label: (batch, *space).
        size: The new space.

    Returns:
        (batch, *size), same integers.
    """
    if tuple(label.shape[1:]) == tuple(size):
        return label
    return F.interpolate(label[:, None].float(), size=tuple(size), mode="nearest-exact")[:, 0].to(label.dtype)


def deep_supervision_loss(levels: Sequence[Tensor], label: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The weighted sum of a loss over resolutions.

    Args:
        levels: Logits (batch, classes, *space), finest first.
        label: (batch, *space) at the finest resolution.
        loss: Logits and label to a scalar.

    Returns:
        Scalar.
    """
    weights = deep_supervision_weights(len(levels))
    terms = [weight * loss(logits, reduce_label(label, logits.shape[2:])) for weight, logits in zip(weights, levels, strict=True)]
    return torch.stack(terms).sum()
