"""Several branches as one: which zones they share, one set of probabilities from all, how far they differ."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segsuite.errors import SettingsError

__all__ = ["disagreement", "fuse_branches", "shared_zones"]


def shared_zones(branches: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The zones that every branch predicts: what co-training compares.

    Args:
        branches: Class indices of each branch's zones.

    Returns:
        Ascending; of one branch all its zones.

    Raises:
        SettingsError: No branch, an empty one, a zone twice in one, or several branches without a shared zone.
    """
    if not branches or not all(branches) or any(len(set(branch)) != len(branch) for branch in branches):
        raise SettingsError(f"Each branch must list its zones once, got {[list(branch) for branch in branches]}.")
    shared = set(branches[0]).intersection(*map(set, branches[1:]))
    if not shared:
        raise SettingsError(
            f"Branches must share at least one zone, which co-training compares, got {[list(branch) for branch in branches]}. "
            "For example [[peripheral_zone, transition_zone, distal_prostatic_urethra], "
            "[peripheral_zone, transition_zone, anterior_fibromuscular_stroma]]."
        )
    return tuple(sorted(shared))


def fuse_branches(probabilities: Sequence[Tensor], branches: Sequence[Sequence[int]]) -> Tensor:
    r"""One set of zones from all branches: the mean over the branches that predict a zone.

    A branch's rest is background and the zones that only others predict, so that for two branches

    .. math:: P_{bg} = \tfrac12 [(A_{rest} - B_{AFS}) + (B_{rest} - A_{DPU})]

    and the sum is exactly 1. Where the background would be negative it is 0 and the zones are scaled to sum to 1.

    Args:
        probabilities: Per branch (batch, 1 + zones of the branch, *space), rest first, sums to 1.
        branches: Class indices of each branch's zones.

    Returns:
        (batch, 1 + zones, *space): background, then zones ascending; in [0, 1], sums to 1.

    Source: our own (specification of this pipeline, section 4); the paper's abstract does not say how.
    """
    zones = sorted({zone for branch in branches for zone in branch})
    means = []
    for zone in zones:
        found = [p[:, 1 + list(branch).index(zone)] for p, branch in zip(probabilities, branches, strict=True) if zone in branch]
        means.append(torch.stack(found).mean(dim=0))
    fused = torch.stack(means, dim=1)
    # the mean of (rest - zones of the others) over branches equals one minus the sum of the mean zones
    background = (1 - fused.sum(dim=1, keepdim=True)).clamp_min(0)
    return torch.cat([background, fused / (background + fused.sum(dim=1, keepdim=True)).clamp_min(1e-12)], dim=1)


def disagreement(probabilities: Sequence[Tensor], branches: Sequence[Sequence[int]]) -> Tensor:
    r"""How far the branches differ about the zones that they share.

    .. math:: d_i = \tfrac12 \sum_{c \in shared} (\max_k p^k_{ic} - \min_k p^k_{ic})

    For two branches this is half the sum of absolute differences.

    Args:
        probabilities: Per branch (batch, 1 + zones of the branch, *space).
        branches: Class indices of each branch's zones.

    Returns:
        (batch, 1, *space) in [0, 1].

    Source: our own (specification of this pipeline, section 4).
    """
    spans = []
    for zone in shared_zones(branches):
        views = torch.stack([p[:, 1 + list(branch).index(zone)] for p, branch in zip(probabilities, branches, strict=True)])
        spans.append(views.amax(dim=0) - views.amin(dim=0))
    return 0.5 * torch.stack(spans).sum(dim=0)[:, None]
