"""Cross-entropy over the scored voxels, with label smoothing."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from segsuite.losses.dice import NOT_SCORED

__all__ = ["binary_cross_entropy_loss", "cross_entropy_loss"]


def cross_entropy_loss(logits: Tensor, label: Tensor, *, label_smoothing: float) -> Tensor:
    r"""Mean negative log-likelihood of the smoothed label.

    .. math:: -\frac{1}{N} \sum_i \sum_c \left[(1-\epsilon) g_{ic} + \epsilon / C\right] \log p_{ic}

    Args:
        logits: (batch, classes, *space).
        label: (batch, *space), integers, -1 where nothing is scored.
        label_smoothing: epsilon in [0, 1).

    Returns:
        Scalar >= 0, float32; 0 if no voxel is scored.

    Source: Szegedy et al., CVPR 2016, section 7, arXiv:1512.00567.
    """
    total = F.cross_entropy(logits.float(), label, ignore_index=NOT_SCORED, label_smoothing=label_smoothing, reduction="sum")
    return total / (label != NOT_SCORED).sum().clamp_min(1)


def binary_cross_entropy_loss(logits: Tensor, targets: Tensor, *, label_smoothing: float) -> Tensor:
    r"""Mean negative log-likelihood of channels that are decided one by one, such as regions that contain each other.

    .. math:: -\frac{1}{N R} \sum_{i,r} t_{ir} \log \sigma(z_{ir}) + (1 - t_{ir}) \log (1 - \sigma(z_{ir})),
        \quad t_{ir} = (1 - \epsilon) g_{ir} + \epsilon / 2

    Args:
        logits: (batch, channels, *space).
        targets: Same shape, 1 inside, 0 outside, -1 where nothing is scored.
        label_smoothing: epsilon in [0, 1).

    Returns:
        Scalar >= 0, float32; 0 if no voxel is scored.
    """
    scored = targets != NOT_SCORED
    smoothed = (1 - label_smoothing) * targets.clamp_min(0).float() + label_smoothing / 2
    entropy = F.binary_cross_entropy_with_logits(logits.float(), smoothed, reduction="none")
    return (entropy * scored).sum() / scored.sum().clamp_min(1)
