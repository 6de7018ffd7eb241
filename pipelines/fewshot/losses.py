"""Base training's losses: the base classes, and beside them the pseudo-anatomy that no label names."""

from __future__ import annotations

import torch
from torch import Tensor

from segsuite.losses.cross_entropy import cross_entropy_loss
from segsuite.losses.dice import NOT_SCORED, soft_dice_loss

__all__ = ["base_label", "base_loss", "region_label", "region_loss", "updated_loss"]


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


def updated_loss(raw: Tensor, updated: Tensor, label: Tensor) -> Tensor:
    r"""Learned kernels and those of an episode are held to the same labels.

    .. math:: 0.5\,\mathrm{CE}(z_\mathrm{raw}, y) + 0.5\,\mathrm{CE}(z_\mathrm{updated}, y) + \mathrm{Dice}(z_\mathrm{updated}, y)

    Args:
        raw: Logits of the learned kernels (batch, 1 + base, *space).
        updated: Logits of the updated kernels, same shape.
        label: (batch, *space), -1 where nothing is scored.

    Returns:
        Scalar >= 0.

    Source: halves as in Tian et al. 2022 (CAPL), arXiv:2010.05210; Dice is our own, for small structures.
    """
    entropy = cross_entropy_loss(raw, label, label_smoothing=0.0) + cross_entropy_loss(updated, label, label_smoothing=0.0)
    return 0.5 * entropy + soft_dice_loss(updated, label, include_background=False, over_batch=True)


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
