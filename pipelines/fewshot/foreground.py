"""Where is any object, known or not: a class-agnostic foreground branch with its own features (FCP).

Source: the aim (open-set foreground from contextual patterns across the classes) is in the abstract of Huang et al. 2023,
arXiv:2308.04952; layout, tokens and losses could not be read, those here are our own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segsuite.losses.dice import NOT_SCORED
from segsuite.networks.convolution import Convolution3d
from segsuite.networks.normalisation import InstanceNorm

__all__ = ["ForegroundHead", "context_classes", "foreground_loss", "foreground_target", "surest_background"]

SCALE = 10.0
HELD_OUT = 1 / 3
"""Share of the present classes that is left out of the context, and still is foreground."""
TOKENS = (6, 6, 2)


class ForegroundHead(nn.Module):
    """Two queries, object and background, look at context kernels and pooled features, and become the branch's kernels."""

    def __init__(self, in_channels: int, kernel_channels: int, *, channels: int = 32, heads: int = 4) -> None:
        """Build.

        Args:
            in_channels: Of the features before the class kernels' projection.
            kernel_channels: C, of the class kernels.
            channels: Of this branch.
            heads: Of its attention.
        """
        super().__init__()
        self.project = nn.Sequential(Convolution3d(in_channels, channels, 3, padding=1), InstanceNorm(channels))
        self.last = nn.Conv3d(channels, channels, 1)
        self.of_kernel = nn.Linear(kernel_channels, channels)
        self.queries = nn.Parameter(torch.randn(2, channels))
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.norms = nn.ModuleList([nn.LayerNorm(channels), nn.LayerNorm(channels)])
        self.feed = nn.Sequential(nn.Linear(channels, 2 * channels), nn.ReLU(), nn.Linear(2 * channels, channels))

    def forward(self, levels: Tensor, context: Tensor) -> Tensor:
        """Log-odds of an object.

        Args:
            levels: (batch, in_channels, i, j, k), before the class kernels' projection.
            context: (classes, C), kernels of known classes; may be none.

        Returns:
            (batch, 1, i, j, k), float32: two channels' cosines times 10, object minus background.
        """
        own = self.last(F.relu(self.project(levels))).float()
        size = (min(TOKENS[0], own.shape[2]), min(TOKENS[1], own.shape[3]), min(TOKENS[2], own.shape[4]))
        pooled = F.adaptive_avg_pool3d(own, size).flatten(2).movedim(1, 2)
        known = self.of_kernel(F.normalize(context.float(), dim=1, eps=1e-12)).expand(len(own), -1, -1)
        tokens = torch.cat([known, pooled], dim=1)
        queries = self.queries.expand(len(own), -1, -1)
        attended = self.norms[0](queries + self.attention(queries, tokens, tokens, need_weights=False)[0])
        kernels = F.normalize(self.norms[1](attended + self.feed(attended)).float(), dim=2, eps=1e-12)
        cosines = torch.einsum("bcijk,bqc->bqijk", F.normalize(own, dim=1, eps=1e-12), kernels)
        return SCALE * (cosines[:, :1] - cosines[:, 1:])


def context_classes(present: Tensor, *, leave_out: bool) -> Tensor:
    """Which of the present classes the branch is told; what is held out is foreground all the same.

    Args:
        present: Class indices, 1-D.
        leave_out: Hold out a random third, at least one where there are two.

    Returns:
        Some of them; drawn by torch's seed.
    """
    if not leave_out or len(present) < 2:
        return present
    n_out = max(1, round(HELD_OUT * len(present)))
    return present[torch.randperm(len(present))[n_out:].sort().values]


def foreground_target(label: Tensor) -> Tensor:
    """1 for any class, 0 for background, -1 where nothing is scored.

    Args:
        label: (batch, *space), class indices, -1 where nothing is scored.

    Returns:
        (batch, 1, *space).
    """
    return torch.where(label == NOT_SCORED, label, (label > 0).to(label.dtype))[:, None]


def surest_background(logits: Tensor, target: Tensor, share: float) -> Tensor:
    """Leave out the background voxels that look most like objects: they may be objects that nobody drew (self-paced).

    Args:
        logits: (batch, 1, *space).
        target: As ``foreground_target`` gives it.
        share: Of the background voxels.

    Returns:
        The target with -1 there.
    """
    background = target == 0
    scores = logits.detach()[background]
    n_out = int(share * len(scores))
    if not n_out:
        return target
    limit = scores.topk(n_out).values[-1]
    return torch.where(background & (logits.detach() >= limit), torch.full_like(target, NOT_SCORED), target)


def foreground_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice over the batch.

    Args:
        logits: (batch, 1, *space).
        target: (batch, 1, *space): 1, 0, or -1 where nothing is scored.

    Returns:
        Scalar >= 0, float32; 0 if nothing is scored.
    """
    scored = (target != NOT_SCORED).float()
    wanted = target.clamp_min(0).float()
    entropy = F.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none")
    probability = logits.float().sigmoid() * scored
    dice = (2 * (probability * wanted).sum() + 1) / (probability.sum() + wanted.sum() + 1)
    return (entropy * scored).sum() / scored.sum().clamp_min(1) + (1 - dice)
