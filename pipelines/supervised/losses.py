"""The loss of the supervised pipeline: soft Dice over the batch plus cross-entropy, at every supervised resolution."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segsuite.losses.cross_entropy import cross_entropy_loss
from segsuite.losses.deep_supervision import deep_supervision_loss
from segsuite.losses.dice import soft_dice_loss

__all__ = ["supervised_loss"]


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
