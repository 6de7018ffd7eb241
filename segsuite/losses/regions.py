"""Label maps as targets of regions: a channel for each, made where the loss is, so that patches and caches stay label maps."""

from __future__ import annotations

from torch import Tensor

from segsuite.losses.dice import NOT_SCORED

__all__ = ["region_targets"]


def region_targets(label: Tensor, membership: Tensor) -> Tensor:
    """Which regions each voxel is in.

    Args:
        label: (batch, *space), class indices, -1 where nothing is scored.
        membership: Boolean (regions, classes): the classes whose union each region is.

    Returns:
        (batch, regions, *space), float32: 1 inside, 0 outside, -1 in every channel where nothing is scored.
    """
    inside = membership.to(label.device).float().T[label.clamp_min(0)].movedim(-1, 1)
    return inside.masked_fill((label == NOT_SCORED).unsqueeze(1), NOT_SCORED)
