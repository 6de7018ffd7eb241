"""The losses of the zone network; sums, means and logarithms in float32.

A branch's label has 0 for the rest (background and the zones of other branches), 1, 2, ... for its zones in the order of
the branch, and -1 where nothing is scored. Weights and formulas are our own where no source is named; the paper that
inspired the pipeline (arXiv:2309.12970) could be read in its abstract only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segsuite.losses.dice import NOT_SCORED, one_hot

__all__ = [
    "CO_TRAINING",
    "DISTANCE_LIMIT_MM",
    "TRUNCATION_MM",
    "LearnedWeights",
    "branch_label",
    "class_weights",
    "co_training_loss",
    "distance_map_loss",
    "gland_loss",
    "meyer_loss",
    "presence_loss",
    "ramp_up",
    "reconstruction_loss",
    "truncated_distance",
    "zone_loss",
]

CO_TRAINING = ("squared", "dice", "js", "kl")
TRUNCATION_MM = 6.0
"""Signed distances are trained up to this far from a zone's surface."""
DISTANCE_LIMIT_MM = 4 * TRUNCATION_MM
"""Targets hold signed distances up to this; beyond three truncations nothing is scored."""
SMOOTH = 1.0
"""Added to both sides of a soft Dice, in voxels."""
MASK_THRESHOLD = 0.05


def branch_label(label: Tensor, branch: Sequence[int]) -> Tensor:
    """A label map of all zones as one branch sees it.

    Args:
        label: (batch, *space), class indices, -1 where nothing is scored.
        branch: Class indices of the branch's zones.

    Returns:
        (batch, *space): 0 rest, 1.. the branch's zones in its order, -1.
    """
    seen = torch.where(label == NOT_SCORED, label, torch.zeros_like(label))
    for place, zone in enumerate(branch, start=1):
        seen = torch.where(label == zone, torch.full_like(label, place), seen)
    return seen


def class_weights(shares: Sequence[float]) -> list[float]:
    r"""Weights of the cross-entropy, :math:`w_c \propto f_c^{-1/3}` with mean 1.

    Args:
        shares: Share of the voxels of each class, above zero.

    Returns:
        One weight per class.
    """
    raw = [share ** (-1 / 3) for share in shares]
    return [weight * len(raw) / sum(raw) for weight in raw]


def zone_loss(logits: Tensor, label: Tensor, *, weights: Sequence[float] | None = None, labelled: Tensor | None = None) -> Tensor:
    r"""Soft Dice of the zones plus class-weighted cross-entropy, of one branch.

    .. math:: 1 - \frac{1}{|Z|} \sum_{c \in Z} \frac{2 \sum_i p_{ic} g_{ic} + 1}{\sum_i p_{ic}^2 + \sum_i g_{ic}^2 + 1}
        \;-\; \frac{1}{N} \sum_i w_{g_i} \log p_{i g_i}

    per sample; Z are the zones present in the sample (an absent one is punished by the cross-entropy alone).

    In a partially labelled sample a voxel may be what it is called or any zone that its data set does not label: the
    probability of what it is called includes theirs, in both terms, so that unlabelled zones are marginalised and never
    taught to be background.

    Args:
        logits: (batch, classes, *space), class 0 the rest.
        label: (batch, *space), -1 where nothing is scored.
        weights: Of the cross-entropy per class; ``None``: all 1.
        labelled: (batch, classes) boolean, whether the sample's data set labels the class; ``None``: all.

    Returns:
        Scalar >= 0, float32.

    Source: Dice: Milletari et al., 3DV 2016, doi:10.1109/3DV.2016.79. Marginalisation: Shi et al., Med. Image Anal. 2021,
        doi:10.1016/j.media.2021.101979 (marginal loss).
    """
    scored = label != NOT_SCORED
    probabilities = logits.float().softmax(dim=1) * scored[:, None]
    reference = one_hot(label, logits.shape[1])
    if labelled is None:
        called = -torch.log_softmax(logits.float(), dim=1)
    else:
        hidden = (probabilities * ~_spread(labelled, logits.ndim)).sum(dim=1, keepdim=True)
        probabilities = probabilities + hidden * reference
        called = -torch.log(probabilities.clamp_min(1e-12))
    cross_entropy = (called * reference * _class_factor(weights, logits)).sum() / scored.sum().clamp_min(1)
    dims = tuple(range(2, logits.ndim))
    shared, size = (probabilities * reference).sum(dims), (probabilities**2).sum(dims) + reference.sum(dims)
    dice = (2 * shared + SMOOTH) / (size + SMOOTH)
    counts = reference.sum(dims) > 0
    if labelled is not None:
        counts = counts & labelled
    zones = counts[:, 1:]
    per_sample = ((1 - dice[:, 1:]) * zones).sum(dim=1) / zones.sum(dim=1).clamp_min(1)
    known = scored.flatten(1).any(dim=1)  # a sample without labels must not thin out the others
    return per_sample.sum() / known.sum().clamp_min(1) + cross_entropy


def meyer_loss(logits: Tensor, label: Tensor) -> Tensor:
    r"""The loss of the baseline paper, shifted by a constant so that a perfect prediction gives 0.

    .. math:: |Z| - \sum_{c \in Z} \frac{2 \sum_i p_{ic} g_{ic}}{\sum_i p_{ic}^2 + \sum_i g_{ic}^2}

    over the whole batch; Z are the zones present in it, background is left out.

    Args:
        logits: (batch, classes, *space), class 0 the rest.
        label: (batch, *space), -1 where nothing is scored.

    Returns:
        Scalar >= 0, float32.

    Source: Meyer et al., ISBI 2019, equation of the loss (there the negative sum).
    """
    scored = (label != NOT_SCORED)[:, None]
    probabilities = logits.float().softmax(dim=1) * scored
    reference = one_hot(label, logits.shape[1])
    dims = (0, *range(2, logits.ndim))
    size = (probabilities**2).sum(dims) + reference.sum(dims)
    dice = 2 * (probabilities * reference).sum(dims) / size.clamp_min(1e-6)
    present = reference.sum(dims) > 0
    return ((1 - dice) * present)[1:].sum()


def truncated_distance(distance_mm: Tensor) -> Tensor:
    r"""The target of the distance head, :math:`\mathrm{clip}(d / \tau, -1, 1)` with tau = 6 mm.

    Args:
        distance_mm: Signed distances, positive inside.

    Returns:
        Same shape, in [-1, 1].
    """
    return (distance_mm / TRUNCATION_MM).clamp(-1, 1)


def distance_map_loss(predicted: Tensor, distance_mm: Tensor, scored: Tensor) -> Tensor:
    r"""Mean smooth-L1 distance to the truncated signed distance within three truncations of a surface.

    .. math:: \frac{1}{|M|} \sum_{i \in M} \mathrm{smoothL1}(\hat t_i - \mathrm{clip}(d_i / \tau, -1, 1)), \quad
        M = \{i : |d_i| \le 3 \tau\}

    A zone that is absent has target -1 everywhere.

    Args:
        predicted: (batch, zones, *space) in (-1, 1).
        distance_mm: (batch, zones, *space), positive inside, limited to +-``DISTANCE_LIMIT_MM``.
        scored: (batch, zones) or (batch, zones, *space) boolean: which zones and voxels are known.

    Returns:
        Scalar >= 0, float32; 0 if nothing is scored.

    Source: our own; signed distance regression as in Dangi et al., Med. Phys. 2019, doi:10.1002/mp.13853.
    """
    dims = tuple(range(2, predicted.ndim))
    absent = distance_mm.amax(dim=dims, keepdim=True) <= -DISTANCE_LIMIT_MM
    near = (distance_mm.abs() <= 3 * TRUNCATION_MM) | absent
    mask = near & (scored if scored.ndim == predicted.ndim else _spread(scored, predicted.ndim))
    error = F.smooth_l1_loss(predicted.float(), truncated_distance(distance_mm.float()), reduction="none")
    return (error * mask).sum() / mask.sum().clamp_min(1)


def gland_loss(logits: Tensor, gland: Tensor) -> Tensor:
    """Soft Dice plus binary cross-entropy of the whole gland.

    Args:
        logits: (batch, 1, *space).
        gland: (batch, 1, *space), share of each voxel in [0, 1], -1 where it is not known.

    Returns:
        Scalar >= 0, float32.
    """
    known = (gland >= 0).float()
    target = gland.clamp_min(0).float()
    probability = logits.float().sigmoid() * known
    dice = (2 * (probability * target).sum() + SMOOTH) / ((probability**2).sum() + (target**2 * known).sum() + SMOOTH)
    entropy = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return 1 - dice + (entropy * known).sum() / known.sum().clamp_min(1)


def reconstruction_loss(reconstructed: Tensor, image: Tensor) -> Tensor:
    """Mean absolute difference.

    Args:
        reconstructed: (batch, channels, *space).
        image: Same shape.

    Returns:
        Scalar >= 0, float32.
    """
    return (reconstructed.float() - image.float()).abs().mean()


def presence_loss(logits: Tensor, label: Tensor, labelled: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of whether each zone is in each slice.

    Args:
        logits: (batch, zones, k).
        label: Of the branch, (batch, i, j, k), -1 where nothing is scored; a slice without a scored voxel does not count.
        labelled: (batch, classes) boolean with class 0 first; ``None``: all.

    Returns:
        Scalar >= 0, float32.
    """
    present = one_hot(label, logits.shape[1] + 1)[:, 1:].amax(dim=(2, 3))
    counts = (label != NOT_SCORED).any(dim=1).any(dim=1)[:, None].expand_as(present)
    if labelled is not None:
        counts = counts & labelled[:, 1:, None]
    error = F.binary_cross_entropy_with_logits(logits.float(), present, reduction="none")
    return (error * counts).sum() / counts.sum().clamp_min(1)


def co_training_loss(views: Sequence[Tensor], *, kind: str = "squared", teacher: bool = False) -> Tensor:
    r"""How much branches differ about the zones that they share, over pairs of branches.

    ``squared``, the default, over the voxels where any branch gives a shared zone more than 0.05 (background would dilute it):

    .. math:: \sum_{c} \frac{\sum_i m_i (p^A_{ic} - p^B_{ic})^2}{\sum_i m_i + 1}

    ``dice``: one minus the mean soft Dice of the two; ``js``, ``kl``: Jensen-Shannon and symmetric Kullback-Leibler
    divergence of the distribution over the shared zones and all else, over the same voxels.

    Args:
        views: Per branch the probabilities of the shared zones (batch, shared, *space). The rest is not among them: one
            branch's rest holds the other's small zone.
        kind: ``squared``, ``dice``, ``js`` or ``kl``.
        teacher: At each voxel the branch of lower entropy is held fixed and teaches the other.

    Returns:
        Scalar >= 0, float32; 0 if and only if the views are equal where they count.

    Source: the idea is in the abstract of Das et al. 2023, arXiv:2309.12970 (penalise the difference of both branches'
        predictions of one class); the formulas are our own.
    """
    pairs = [_pair(a.float(), b.float(), kind, teacher) for a, b in combinations(views, 2)]
    return torch.stack(pairs).mean()


def ramp_up(share: float) -> float:
    r"""Weight of the co-training loss after a share of its warm-up, :math:`e^{-5(1-t)^2}` scaled to begin at exactly 0.

    Args:
        share: t; below 0 counts as 0, above 1 as 1.

    Returns:
        In [0, 1].

    Source: Laine and Aila, ICLR 2017, arXiv:1610.02242, section 3; they begin at e^-5.
    """
    t = min(max(share, 0.0), 1.0)
    floor = math.exp(-5)
    return (math.exp(-5 * (1 - t) ** 2) - floor) / (1 - floor)


class LearnedWeights(nn.Module):
    r"""Weights of several losses that are learned with them, :math:`\sum_t e^{-s_t} L_t + s_t`, s in [-2, 2].

    Source: Kendall, Gal and Cipolla, CVPR 2018, arXiv:1705.07115, equation 10 (homoscedastic uncertainty).
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Set up with all s = 0.

        Args:
            names: Of the losses.
        """
        super().__init__()
        self.names = tuple(names)
        self.log_variances = nn.Parameter(torch.zeros(len(self.names)))

    def forward(self, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum of named losses."""
        scale = self.log_variances.clamp(-2, 2)
        return torch.stack([torch.exp(-s) * terms[name] + s for name, s in zip(self.names, scale, strict=True)]).sum()


def _pair(first: Tensor, second: Tensor, kind: str, teacher: bool) -> Tensor:
    if teacher:
        knows = _entropy(first).le(_entropy(second))
        first, second = torch.where(knows, first.detach(), first), torch.where(knows, second, second.detach())
    dims = (0, *range(2, first.ndim))
    if kind == "dice":
        shared, size = (first * second).sum(dims), (first**2).sum(dims) + (second**2).sum(dims)
        return (1 - (2 * shared + 1e-6) / (size + 1e-6)).mean()
    mask = torch.maximum(first, second).amax(dim=1, keepdim=True) > MASK_THRESHOLD
    if kind == "squared":
        difference = (first - second) ** 2 * mask
    else:
        a, b = _with_other(first), _with_other(second)
        middle = (a + b) / 2
        near_b, near_a = (middle, middle) if kind == "js" else (b, a)
        difference = 0.5 * (_divergence(a, near_b) + _divergence(b, near_a)) * mask
    return difference.sum() / (mask.sum() + 1)


def _with_other(shared: Tensor) -> Tensor:
    """Add everything else: it means the same in every branch, since each branch's own zones count as other too."""
    return torch.cat([shared, (1 - shared.sum(dim=1, keepdim=True))], dim=1).clamp_min(1e-6)


def _divergence(a: Tensor, b: Tensor) -> Tensor:
    return (a * (a.log() - b.log())).sum(dim=1, keepdim=True)


def _entropy(shared: Tensor) -> Tensor:
    return torch.special.entr(_with_other(shared)).sum(dim=1, keepdim=True)


def _class_factor(weights: Sequence[float] | None, logits: Tensor) -> Tensor:
    values = torch.ones(logits.shape[1]) if weights is None else torch.tensor(list(weights))
    return values.to(logits.device).view(1, -1, *[1] * (logits.ndim - 2))


def _spread(flags: Tensor, n_dims: int) -> Tensor:
    """(batch, channels) flags over space."""
    return flags.view(*flags.shape, *[1] * (n_dims - 2))
