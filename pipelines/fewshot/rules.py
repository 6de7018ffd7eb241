"""How a new structure is decided: each rule makes a kernel from what supports left behind. One is ours, the rest are peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from torch.nn import functional as F

from pipelines.fewshot.kernels import (
    SAMPLE,
    Array,
    Kernel,
    SupportStatistics,
    best_threshold,
    in_order,
    prototype,
    unit_vector,
)
from segsuite.errors import SettingsError

__all__ = [
    "RULES",
    "BaseKernels",
    "Rule",
    "blended_base",
    "discriminant_kernel",
    "finetuned_kernel",
    "logistic_kernel",
    "make_kernel",
    "prototype_kernel",
]

RULES = ("discriminant", "prototype", "gated", "blended", "logistic", "finetuned")
COSINE_SCALE = 10.0
STEEPNESS = 12.0
"""The margin between both class means of a discriminant spans this many logits."""
FINETUNING_STEPS = 100
FINETUNING_RATE = 1.0
STRENGTHS = 10
FOLDS = 5


@dataclass(frozen=True)
class Rule:
    """How kernels are made.

    Attributes:
        rule: One of ``RULES``.
        ridge: Of the discriminant's covariance.
        calibrate: Choose each threshold on the supports.
        prototypes: Sub-prototypes per structure, for rules that have prototypes.
    """

    rule: str = "discriminant"
    ridge: float = 0.02
    calibrate: bool = True
    prototypes: int = 1

    @staticmethod
    def of(options: dict[str, Any]) -> Rule:
        """From the ``inference`` of a model."""
        return Rule(str(options["rule"]), float(options["ridge"]), bool(options["calibrate"]), int(options["prototypes"]))


@dataclass(frozen=True, eq=False)
class BaseKernels:
    """What a rule may know of the base model.

    Attributes:
        directions: Unit kernels of background and base classes, (1 + base, C).
        update: A prototype (C,) to its kernel by the trained gate; ``None``: the model has none.
    """

    directions: Array
    update: Callable[[Array], Array] | None = None


def make_kernel(supports: Sequence[SupportStatistics], rule: Rule, base: BaseKernels) -> Kernel:
    """The kernel of one structure.

    Args:
        supports: Of the structure, at least one.
        rule: How.
        base: What the base model knows.

    Returns:
        The kernel; where it is not calibrated, 0 is where the rule itself puts the border to background.

    Raises:
        SettingsError: Unknown rule, or the gated one without a trained gate.
        ModelError: Supports of different feature size.
    """
    if rule.rule not in RULES:
        raise SettingsError(f"`rule` must be one of {RULES}, got `{rule.rule}`.")
    if rule.rule == "discriminant":
        return discriminant_kernel(supports, ridge=rule.ridge, calibrate=rule.calibrate)
    if rule.rule == "logistic":
        kernel = logistic_kernel(supports)
    elif rule.rule == "finetuned":
        kernel = finetuned_kernel(supports, base.directions[0])
    else:
        update = base.update if rule.rule == "gated" else None
        if rule.rule == "gated" and update is None:
            raise SettingsError("`rule=gated` must have a model trained with `features.update`, got one without. Use another.")
        kernel = prototype_kernel(supports, base.directions[0], n=rule.prototypes, update=update)
    if not rule.calibrate:
        return kernel
    return Kernel(kernel.weights, best_threshold(kernel.weights, supports), kernel.gain)


def discriminant_kernel(supports: Sequence[SupportStatistics], *, ridge: float = 0.02, calibrate: bool = True) -> Kernel:
    r"""Linear discriminant between a structure and what surrounds it, with a threshold for the best Dice on the supports.

    .. math:: w = \Big(\tfrac12 S_+ + \tfrac12 S_- + \rho \frac{\mathrm{tr}}{C} I\Big)^{-1} (\mu_+ - \mu_-)

    with class means and covariances pooled over supports.

    Args:
        supports: Of one structure, at least one.
        ridge: rho.
        calibrate: Choose the threshold; otherwise it is midway between the means.

    Returns:
        The kernel.

    Raises:
        ModelError: Supports of different feature size.

    Source: Fisher 1936, doi:10.1111/j.1469-1809.1936.tb02137.x; use as a kernel and calibration are our own.
    """
    ordered = in_order(supports)
    counts = np.sum([support.counts for support in ordered], axis=0)
    means = np.sum([support.sums for support in ordered], axis=0) / counts[:, None]
    spreads = np.sum([support.outers for support in ordered], axis=0) / counts[:, None, None]
    covariances = spreads - np.einsum("sc,sd->scd", means, means)
    pooled = covariances.mean(axis=0)
    size = len(pooled)
    weight = np.linalg.solve(pooled + ridge * np.trace(pooled) / size * np.eye(size), means[0] - means[1])
    middle = float(weight @ (means[0] + means[1]) / 2)
    apart = max(float(weight @ (means[0] - means[1])), 1e-12)
    threshold = best_threshold(weight[None], ordered) if calibrate else middle
    return Kernel(weight[None], threshold, STEEPNESS / apart)


def prototype_kernel(
    supports: Sequence[SupportStatistics], background: Array, *, n: int = 1, update: Callable[[Array], Array] | None = None
) -> Kernel:
    r"""Cosine to the structure's prototype against cosine to the background's kernel.

    .. math:: z(x) = s \langle \hat k - \hat k_0, \hat f(x) \rangle, \qquad k = p \text{ (imprinting) or } U(p, p)

    Args:
        supports: Of one structure.
        background: Unit kernel of background, (C,).
        n: Sub-prototypes: k-means on the sample; the largest cosine counts.
        update: U of the trained gate; ``None``: the prototype as it is.

    Returns:
        The kernel, threshold 0.

    Source: imprinting: Qi et al., CVPR 2018, arXiv:1712.07136; the gate: ``update``.
    """
    directions = prototype(supports)[None]
    if n > 1:
        sample = np.concatenate([support.inside for support in in_order(supports)]).astype(np.float64)
        clusters = KMeans(min(n, len(sample)), n_init=3, random_state=0).fit(sample)
        directions = np.stack([unit_vector(centre) for centre in clusters.cluster_centers_])
    if update is not None:
        directions = np.stack([unit_vector(update(direction)) for direction in directions])
    return Kernel(directions - background, 0.0, COSINE_SCALE)


def logistic_kernel(supports: Sequence[SupportStatistics]) -> Kernel:
    """Logistic regression between the structure's sample and an equally large one of what the base model calls background.

    The strength of its penalty is chosen by five folds. Unlike sums, it has to see all samples again when a shot is added.

    Args:
        supports: Of one structure.

    Returns:
        The kernel, threshold by its own intercept.

    Source: the public code of BCM: a classifier per base class (here for background), balanced sample, ten strengths, five folds.
    """
    ordered = in_order(supports)
    sides = [np.concatenate([getattr(s, name) for s in ordered]).astype(np.float64) for name in ("inside", "outside")]
    least = min(*map(len, sides), SAMPLE)
    draw = np.random.default_rng(0)
    kept = [side[draw.permutation(len(side))[:least]] for side in sides]
    vectors, called = np.concatenate(kept), np.repeat([1, 0], least)
    if least < FOLDS:
        direction = kept[0].mean(axis=0) - kept[1].mean(axis=0)
        return Kernel(direction[None], float(direction @ vectors.mean(axis=0)), COSINE_SCALE)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    fitted = LogisticRegressionCV(
        Cs=STRENGTHS, cv=folds, l1_ratios=(0.0,), use_legacy_attributes=False, scoring="neg_log_loss", max_iter=1000
    ).fit(vectors, called)
    return Kernel(np.asarray(fitted.coef_, dtype=np.float64), -float(fitted.intercept_[0]), 1.0)


def finetuned_kernel(supports: Sequence[SupportStatistics], background: Array) -> Kernel:
    """The imprinted kernel after 100 steps of gradient descent on the sample, features and background's kernel frozen.

    Args:
        supports: Of one structure.
        background: Unit kernel of background, (C,).

    Returns:
        The kernel, threshold 0.

    Source: linear fine-tuning as in the study of few-shot baselines, Chen et al. 2019, arXiv:1904.04232 (cosine head).
    """
    ordered = in_order(supports)
    inside, outside = (
        torch.from_numpy(np.concatenate([getattr(s, name) for s in ordered]).astype(np.float64)) for name in ("inside", "outside")
    )
    reference = torch.from_numpy(background)
    kernel = torch.from_numpy(prototype(ordered)).clone().requires_grad_(True)
    optimiser = torch.optim.SGD([kernel], lr=FINETUNING_RATE, momentum=0.9)
    for _ in range(FINETUNING_STEPS):
        margin = F.normalize(kernel, dim=0) - reference
        loss = F.softplus(-COSINE_SCALE * inside @ margin).mean() + F.softplus(COSINE_SCALE * outside @ margin).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Kernel(unit_vector(kernel.detach().numpy())[None] - background, 0.0, COSINE_SCALE)


def blended_base(directions: Array, supports: Sequence[SupportStatistics]) -> Array:
    r"""Base kernels drawn towards what the supports show of their classes: a peer that moves the base structures.

    .. math:: k_c' = \gamma_c \hat k_c + (1 - \gamma_c) p_c, \qquad \gamma_c = \max(\langle \hat k_c, p_c \rangle, 0)

    Args:
        directions: Unit kernels of background and base classes, (1 + base, C).
        supports: Of all new structures; p is pooled where the base model finds the class.

    Returns:
        (1 + base, C); a class that no support shows stays, and so does background.

    Source: Tian et al. 2022 (CAPL), arXiv:2010.05210, the blend of its inference; no trained factor.
    """
    sums = np.sum([support.base_sums for support in in_order(supports)], axis=0)
    blended = directions.copy()
    for place in range(1, len(directions)):
        estimate = unit_vector(sums[place])
        if estimate.any():
            keep = max(float(directions[place] @ estimate), 0.0)
            blended[place] = keep * directions[place] + (1 - keep) * estimate
    return blended
