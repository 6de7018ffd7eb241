"""The losses of the supervised pipeline: soft Dice over the batch plus cross-entropy, at every supervised resolution."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segsuite.losses.cross_entropy import binary_cross_entropy_loss, cross_entropy_loss
from segsuite.losses.deep_supervision import deep_supervision_loss
from segsuite.losses.dice import binary_dice_loss, soft_dice_loss
from segsuite.losses.regions import region_targets

__all__ = ["supervised_loss", "supervised_regions_loss"]


def supervised_loss(levels: Sequence[Tensor], label: Tensor, *, label_smoothing: float) -> Tensor:
    """Dice plus cross-entropy.

    Args:
        levels: Logits (batch, classes, *space), finest first.
        label: (batch, *space) at the finest resolution, -1 where nothing is scored.
        label_smoothing: Of the cross-entropy, in [0, 1).

    Returns:
        Scalar >= 0.

    Source: Isensee et al., Nature Methods 2021, methods, "the sum of cross-entropy and Dice loss".
    """

    def at_one_level(logits: Tensor, reference: Tensor) -> Tensor:
        dice = soft_dice_loss(logits, reference, include_background=False, over_batch=True)
        return dice + cross_entropy_loss(logits, reference, label_smoothing=label_smoothing)

    return deep_supervision_loss(levels, label, at_one_level)


def supervised_regions_loss(levels: Sequence[Tensor], label: Tensor, *, membership: Tensor, label_smoothing: float) -> Tensor:
    """Dice plus binary cross-entropy of regions that may contain each other.

    Args:
        levels: Logits (batch, regions, *space), finest first.
        label: (batch, *space) class indices at the finest resolution, -1 where nothing is scored.
        membership: Boolean (regions, classes): the classes whose union each region is.
        label_smoothing: Of the cross-entropy, in [0, 1).

    Returns:
        Scalar >= 0.

    Source: Isensee et al., BrainLes 2020, arXiv:2011.00848, "region-based training": a sigmoid per region in place of the
        softmax, Dice and binary cross-entropy.
    """

    def at_one_level(logits: Tensor, reference: Tensor) -> Tensor:
        targets = region_targets(reference, membership)
        dice = binary_dice_loss(logits, targets, over_batch=True)
        return dice + binary_cross_entropy_loss(logits, targets, label_smoothing=label_smoothing)

    return deep_supervision_loss(levels, label, at_one_level)
