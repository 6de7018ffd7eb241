"""Soft Dice loss, over the batch or per sample, blind to voxels that are not scored."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["NOT_SCORED", "binary_dice_loss", "one_hot", "soft_dice_loss"]

NOT_SCORED = -1
"""Label of voxels that no loss looks at: outside the image, or the data set's ignore label."""


def one_hot(label: Tensor, n_classes: int) -> Tensor:
    """Each class as its own channel; voxels that are not scored are zero in all of them.

    Args:
        label: (batch, *space), integers in [0, n_classes) or -1.
        n_classes: Number of channels.

    Returns:
        (batch, n_classes, *space), float32.
    """
    classes = torch.arange(n_classes, device=label.device).view(1, -1, *[1] * (label.ndim - 1))
    return (label.unsqueeze(1) == classes).float()


def soft_dice_loss(logits: Tensor, label: Tensor, *, include_background: bool, over_batch: bool, smooth: float = 1e-5) -> Tensor:
    r"""One minus the mean soft Dice over classes.

    .. math:: 1 - \frac{1}{C} \sum_c \frac{2 \sum_i p_{ic} g_{ic} + s}{\sum_i p_{ic} + \sum_i g_{ic} + s}

    Args:
        logits: (batch, classes, *space), any real numbers.
        label: (batch, *space), integers, -1 where nothing is scored.
        include_background: Whether class 0 counts in the mean.
        over_batch: Sum over the whole batch before dividing (steadier for small structures), or per sample.
        smooth: s in the formula, in voxels.

    Returns:
        Scalar in [0, 1], float32. A class absent from both counts as Dice 1.

    Source: Milletari et al., 3DV 2016, doi:10.1109/3DV.2016.79, with the unsquared denominator of
        Drozdzal et al., DLMIA 2016, doi:10.1007/978-3-319-46976-8_19.
    """
    probabilities = logits.float().softmax(dim=1)
    reference = one_hot(label, logits.shape[1])
    scored = (label != NOT_SCORED).unsqueeze(1)
    probabilities = probabilities * scored
    dice = _soft_dice(probabilities, reference, over_batch=over_batch, smooth=smooth)
    first = 0 if include_background else 1
    return 1 - dice[..., first:].mean()


def binary_dice_loss(logits: Tensor, targets: Tensor, *, over_batch: bool, smooth: float = 1e-5) -> Tensor:
    r"""One minus the mean soft Dice over channels that are decided one by one, such as regions that contain each other.

    .. math:: 1 - \frac{1}{R} \sum_r \frac{2 \sum_i \sigma(z_{ir}) g_{ir} + s}{\sum_i \sigma(z_{ir}) + \sum_i g_{ir} + s}

    Args:
        logits: (batch, channels, *space), any real numbers.
        targets: Same shape, 1 inside, 0 outside, -1 where nothing is scored.
        over_batch: See ``soft_dice_loss``.
        smooth: s in the formula, in voxels.

    Returns:
        Scalar in [0, 1], float32. A channel absent from both counts as Dice 1.

    Source: as ``soft_dice_loss``, with a sigmoid in place of the softmax, as nnU-Net does for regions.
    """
    scored = targets != NOT_SCORED
    probabilities = logits.float().sigmoid() * scored
    return 1 - _soft_dice(probabilities, targets.float() * scored, over_batch=over_batch, smooth=smooth).mean()


def _soft_dice(probabilities: Tensor, reference: Tensor, *, over_batch: bool, smooth: float) -> Tensor:
    """Soft Dice of each channel, (channels,) over the batch or (batch, channels) per sample."""
    dims = list(range(2, probabilities.ndim))
    if over_batch:
        dims = [0, *dims]
    shared = (probabilities * reference).sum(dims)
    total = probabilities.sum(dims) + reference.sum(dims)
    return (2 * shared + smooth) / (total + smooth)
