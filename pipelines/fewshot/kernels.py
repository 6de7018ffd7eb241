"""Kernels of new structures, in closed form from what their supports leave behind: sums, outer products, a feature sample.

Everything is additive over supports, so that shots can be added later, in any order, with the same result as all at once.
The discriminant kernel is our own choice, found to carry the weight in a study; prototypes follow the literature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.errors import ModelError, VolumeError
from segsuite.seeding import keyed_generator

__all__ = [
    "Kernel",
    "SupportStatistics",
    "best_threshold",
    "collect_statistics",
    "discriminant_kernel",
    "expected_dice",
    "from_tensors",
    "prototype",
]

SAMPLE = 3000
"""Feature vectors kept per support, inside and outside each, to calibrate thresholds on."""
RIDGE = 0.02
STEEPNESS = 12.0
"""The margin between both class means spans this many logits."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SupportStatistics:
    """What one support volume leaves behind of one structure. C feature channels; features have unit length.

    Attributes:
        counts: Voxels inside and outside, (2,).
        sums: Sum of the features of each, (2, C).
        outers: Sum of their outer products, (2, C, C).
        inside: Sample of features, (n, C), float16.
        outside: Sample of features, (m, C), float16.
        digest: Content hash of image and mask.
    """

    counts: Array
    sums: Array
    outers: Array
    inside: NDArray[np.float16]
    outside: NDArray[np.float16]
    digest: str

    def tensors(self) -> dict[str, NDArray[Any]]:
        """All arrays by name."""
        return {name: getattr(self, name) for name in ("counts", "sums", "outers", "inside", "outside")}


@dataclass(frozen=True, eq=False)
class Kernel:
    r"""A linear rule on unit features: inside where :math:`w^\top \hat f(x) > t`.

    Attributes:
        weight: w, (C,).
        threshold: t.
        gain: What the margin is multiplied with to become a logit.
    """

    weight: Array
    threshold: float
    gain: float

    def logit(self, features: NDArray[Any]) -> Array:
        """Margins of features (n, C), as logits."""
        return np.asarray(self.gain * (features.astype(np.float64) @ self.weight - self.threshold))


def collect_statistics(
    rows: Iterator[NDArray[np.float32]],
    inside: NDArray[np.bool_],
    outside: Callable[[NDArray[np.float32], slice], NDArray[np.bool_]],
    *,
    digest: str,
    where: str,
) -> SupportStatistics:
    """Sums and a sample of one support; only a few rows of features are ever held.

    Args:
        rows: Features (C, rows, j, k), in order of the first axis; their length does not matter.
        inside: (i, j, k), voxels of the structure.
        outside: Unit features of some rows and where they lie to voxels that are known not to be it.
        digest: Content hash of image and mask; also seeds the sample, so that it does not depend on order.
        where: Class, shot and file, for messages.

    Returns:
        The statistics, in float64.

    Raises:
        VolumeError: No voxel inside or outside, or features that are not finite.
    """
    sides = [_Side(keyed_generator(int(digest[:12], 16), "sample", number)) for number in range(2)]
    start = 0
    for part in rows:
        if not np.isfinite(part).all():
            raise VolumeError(f"{where}: the network's features must be finite, got NaN or infinite ones. Check the image.")
        at = slice(start, start + part.shape[1])
        unit = part / np.maximum(np.linalg.norm(part, axis=0, keepdims=True), 1e-12)
        own = inside[at]
        sides[0].add(unit[:, own].T)
        sides[1].add(unit[:, outside(unit, at) & ~own].T)
        start = at.stop
    if not sides[0].count or not sides[1].count:
        raise VolumeError(
            f"{where}: the support must have voxels of the structure and others, got {sides[0].count} inside and "
            f"{sides[1].count} outside of a mask of shape {inside.shape}. Check the label value."
        )
    return SupportStatistics(
        np.array([side.count for side in sides], dtype=np.float64),
        np.stack([side.total for side in sides]),
        np.stack([side.outer for side in sides]),
        sides[0].sample(),
        sides[1].sample(),
        digest,
    )


class _Side:
    """Sums over voxels of one side, and a uniform sample: the vectors with the smallest random keys."""

    def __init__(self, draw: np.random.Generator) -> None:
        self.draw, self.count = draw, 0
        self.total: Any = 0.0
        self.outer: Any = 0.0
        self.keys: list[Array] = []
        self.vectors: list[NDArray[np.float16]] = []

    def add(self, vectors: NDArray[np.float32]) -> None:
        exact = vectors.astype(np.float64)
        self.count += len(exact)
        self.total = self.total + exact.sum(axis=0)
        self.outer = self.outer + exact.T @ exact
        self.keys.append(self.draw.random(len(exact)))
        self.vectors.append(vectors.astype(np.float16))
        keys, kept = np.concatenate(self.keys), np.concatenate(self.vectors)
        if len(keys) > SAMPLE:
            chosen = np.sort(np.argpartition(keys, SAMPLE)[:SAMPLE])
            keys, kept = keys[chosen], kept[chosen]
        self.keys, self.vectors = [keys], [kept]

    def sample(self) -> NDArray[np.float16]:
        return np.concatenate(self.vectors)


def prototype(supports: Sequence[SupportStatistics], *, per_support: bool = True) -> Array:
    r"""The direction of a structure's features.

    .. math:: p = \mathrm{unit}\Big(\frac1K \sum_k \mathrm{unit}\big(\sum_{x \in k} \hat f(x)\big)\Big)

    Args:
        supports: Of one structure.
        per_support: Every support has one vote; otherwise every voxel.

    Returns:
        (C,), unit length.

    Source: per support: Cermelli et al. 2020 (PIFS), arXiv:2012.01415; per voxel: masked average pooling.
    """
    ordered = _ordered(supports)
    vectors = [_unit(support.sums[0]) if per_support else support.sums[0] for support in ordered]
    return _unit(np.sum(vectors, axis=0))


def discriminant_kernel(supports: Sequence[SupportStatistics], *, ridge: float = RIDGE, calibrate: bool = True) -> Kernel:
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
    ordered = _ordered(supports)
    if len({support.sums.shape[1] for support in ordered}) != 1:
        sizes = sorted({support.sums.shape[1] for support in ordered})
        raise ModelError(f"All supports must have features of one size, got {sizes}. Register them with one base model.")
    counts = np.sum([support.counts for support in ordered], axis=0)
    means = np.sum([support.sums for support in ordered], axis=0) / counts[:, None]
    spreads = np.sum([support.outers for support in ordered], axis=0) / counts[:, None, None]
    covariances = spreads - np.einsum("sc,sd->scd", means, means)
    pooled = covariances.mean(axis=0)
    size = len(pooled)
    weight = np.linalg.solve(pooled + ridge * np.trace(pooled) / size * np.eye(size), means[0] - means[1])
    middle = float(weight @ (means[0] + means[1]) / 2)
    apart = max(float(weight @ (means[0] - means[1])), 1e-12)
    threshold = best_threshold(weight, ordered) if calibrate else middle
    return Kernel(weight, threshold, STEEPNESS / apart)


def best_threshold(weight: Array, supports: Sequence[SupportStatistics]) -> float:
    """The threshold with the best Dice on the supports' samples, each sample weighted to its support's voxels.

    Args:
        weight: (C,).
        supports: Of one structure.

    Returns:
        Midway between the two scores around the best cut.
    """
    scores, inside, outside = _scored(weight, supports)
    order = np.argsort(-scores, kind="stable")
    scores, inside, outside = scores[order], inside[order], outside[order]
    hits, false = np.cumsum(inside), np.cumsum(outside)
    dice = 2 * hits / (hits + false + inside.sum())
    best = int(np.argmax(dice))
    below = scores[best + 1] if best + 1 < len(scores) else scores[best] - 1e-6
    return float((scores[best] + below) / 2)


def expected_dice(kernel: Kernel, supports: Sequence[SupportStatistics]) -> float:
    """Dice of a kernel on the samples of supports, as if every voxel had been asked.

    Args:
        kernel: The rule.
        supports: Those to judge by, preferably others than it was made from.

    Returns:
        In [0, 1].
    """
    scores, inside, outside = _scored(kernel.weight, supports)
    chosen = scores > kernel.threshold
    hits = float(inside[chosen].sum())
    return 2 * hits / max(hits + float(outside[chosen].sum()) + float(inside.sum()), 1e-12)


def from_tensors(tensors: Mapping[str, NDArray[Any]], digest: str) -> SupportStatistics:
    """The inverse of ``SupportStatistics.tensors``."""
    return SupportStatistics(**{name: np.asarray(tensors[name]) for name in tensors}, digest=digest)


def _scored(weight: Array, supports: Sequence[SupportStatistics]) -> tuple[Array, Array, Array]:
    """Scores of all samples and how many voxels inside and outside each stands for; the supports count alike."""
    scores, inside, outside = [], [], []
    for support in supports:
        total = support.counts.sum()
        for side, sample in enumerate((support.inside, support.outside)):
            scores.append(sample.astype(np.float64) @ weight)
            share = np.full(len(sample), support.counts[side] / total / max(len(sample), 1))
            inside.append(share if side == 0 else np.zeros(len(sample)))
            outside.append(share if side == 1 else np.zeros(len(sample)))
    return np.concatenate(scores), np.concatenate(inside), np.concatenate(outside)


def _ordered(supports: Sequence[SupportStatistics]) -> list[SupportStatistics]:
    """By content: sums of floating-point numbers then do not depend on the order of registration."""
    return sorted(supports, key=lambda support: support.digest)


def _unit(vector: Array) -> Array:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
