"""Base training's losses: the base classes, and beside them the pseudo-anatomy that no label names."""

from __future__ import annotations

import torch
from torch import Tensor

from segsuite.losses.cross_entropy import cross_entropy_loss
from segsuite.losses.dice import NOT_SCORED, soft_dice_loss

__all__ = ["base_label", "base_loss", "region_label", "region_loss"]


def base_label(lesson: Tensor, n_base: int) -> Tensor:
    """The lesson without regions: those are background.

    Args:
        lesson: (batch, *space): -1, 0, base classes, regions.
        n_base: Number of base classes.

    Returns:
        (batch, *space): -1, 0, base classes.
    """
    return torch.where(lesson > n_base, torch.zeros_like(lesson), lesson)


def region_label(lesson: Tensor) -> Tensor:
    """The lesson without background: base classes and regions from 0 up; nothing is scored outside the body.

    Args:
        lesson: (batch, *space).

    Returns:
        (batch, *space): -1, then 0...
    """
    return torch.where(lesson > 0, lesson - 1, torch.full_like(lesson, NOT_SCORED))


def base_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Dice over the batch plus cross-entropy.

    Args:
        logits: (batch, 1 + base, *space).
        label: (batch, *space), -1 where nothing is scored.

    Returns:
        Scalar >= 0.
    """
    dice = soft_dice_loss(logits, label, include_background=False, over_batch=True)
    return dice + cross_entropy_loss(logits, label, label_smoothing=0.0)


def region_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Dice over the batch plus cross-entropy, every channel counting.

    Args:
        logits: (batch, base + regions, *space).
        label: From ``region_label``.

    Returns:
        Scalar >= 0.
    """
    dice = soft_dice_loss(logits, label, include_background=True, over_batch=True)
    return dice + cross_entropy_loss(logits, label, label_smoothing=0.0)
