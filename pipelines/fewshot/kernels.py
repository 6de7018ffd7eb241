"""What supports leave behind (sums, outer products, a feature sample), and the threshold of a kernel that they decide.

Everything is additive over supports, so that shots can be added later, in any order, with the same result as all at once.
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
    "expected_dice",
    "from_tensors",
    "in_order",
    "prototype",
    "unit_vector",
]

SAMPLE = 3000
"""Feature vectors kept per support, inside and outside each, to calibrate thresholds on."""

PARTS = ("counts", "sums", "outers", "base_sums", "inside", "outside")
"""What is stored of a support."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SupportStatistics:
    """What one support volume leaves behind of one structure. C feature channels; features have unit length.

    Attributes:
        counts: Voxels inside and outside, (2,).
        sums: Sum of the features of each, (2, C).
        outers: Sum of their outer products, (2, C, C).
        base_sums: Sum of the features where the base model finds background and each base class, (1 + base, C).
        inside: Sample of features, (n, C), float16.
        outside: Sample of features, (m, C), float16.
        digest: Content hash of image and mask.
        scan: What the model knows the image by; empty where it knows no scans.
    """

    counts: Array
    sums: Array
    outers: Array
    base_sums: Array
    inside: NDArray[np.float16]
    outside: NDArray[np.float16]
    digest: str
    scan: str = ""

    def tensors(self) -> dict[str, NDArray[Any]]:
        """All arrays by name."""
        return {name: getattr(self, name) for name in PARTS}


@dataclass(frozen=True, eq=False)
class Kernel:
    r"""A rule on unit features: inside where :math:`\max_m w_m^\top \hat f(x) > t`.

    Attributes:
        weights: One w per sub-prototype, (m, C).
        threshold: t.
        gain: What the margin is multiplied with to become a logit.
    """

    weights: Array
    threshold: float
    gain: float

    def score(self, features: NDArray[Any]) -> Array:
        """The largest product with a weight, of features (n, C)."""
        scores: Array = (features.astype(np.float64) @ self.weights.T).max(axis=1)
        return scores


def collect_statistics(
    rows: Iterator[NDArray[np.float32]],
    inside: NDArray[np.bool_],
    called: Callable[[NDArray[np.float32], slice], NDArray[np.integer[Any]]],
    *,
    n_base: int,
    digest: str,
    where: str,
) -> SupportStatistics:
    """Sums and a sample of one support; only a few rows of features are ever held.

    Args:
        rows: Features (C, rows, j, k), in order of the first axis; their length does not matter.
        inside: (i, j, k), voxels of the structure.
        called: Unit features of some rows and where they lie to what the base model calls each voxel: 0 background, base
            classes, -1 where nothing is known. What it calls a structure of its own teaches nothing about a new one.
        n_base: Number of base classes.
        digest: Content hash of image and mask; also seeds the sample, so that it does not depend on order.
        where: Class, shot and file, for messages.

    Returns:
        The statistics, in float64.

    Raises:
        VolumeError: No voxel inside or outside, or features that are not finite.
    """
    sides = [_Side(keyed_generator(int(digest[:12], 16), "sample", number)) for number in range(2)]
    base_sums: Any = 0.0
    start = 0
    for part in rows:
        if not np.isfinite(part).all():
            raise VolumeError(f"{where}: the network's features must be finite, got NaN or infinite ones. Check the image.")
        at = slice(start, start + part.shape[1])
        unit = part / np.maximum(np.linalg.norm(part, axis=0, keepdims=True), 1e-12)
        own = inside[at]
        sides[0].add(unit[:, own].T)
        names = called(unit, at)
        sides[1].add(unit[:, (names == 0) & ~own].T)
        base_sums = base_sums + _sums_per_class(unit, np.where(own, -1, names), 1 + n_base)
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
        base_sums,
        sides[0].sample(),
        sides[1].sample(),
        digest,
    )


def _sums_per_class(unit: NDArray[np.float32], names: NDArray[np.integer[Any]], n_classes: int) -> Array:
    chosen = names >= 0
    member = (names[chosen][:, None] == np.arange(n_classes)).astype(np.float64)
    sums: Array = member.T @ unit[:, chosen].T.astype(np.float64)
    return sums


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
    ordered = in_order(supports)
    vectors = [unit_vector(support.sums[0]) if per_support else support.sums[0] for support in ordered]
    return unit_vector(np.sum(vectors, axis=0))


def best_threshold(weights: Array, supports: Sequence[SupportStatistics]) -> float:
    """The threshold with the best Dice on the supports' samples, each sample weighted to its support's voxels.

    Args:
        weights: (m, C).
        supports: Of one structure.

    Returns:
        Midway between the two scores around the best cut.
    """
    scores, inside, outside = _scored(Kernel(weights, 0, 1), supports)
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
    scores, inside, outside = _scored(kernel, supports)
    chosen = scores > kernel.threshold
    hits = float(inside[chosen].sum())
    return 2 * hits / max(hits + float(outside[chosen].sum()) + float(inside.sum()), 1e-12)


def from_tensors(tensors: Mapping[str, NDArray[Any]], digest: str, *, scan: str = "") -> SupportStatistics:
    """The inverse of ``SupportStatistics.tensors``."""
    return SupportStatistics(**{name: np.asarray(tensors[name]) for name in tensors}, digest=digest, scan=scan)


def _scored(kernel: Kernel, supports: Sequence[SupportStatistics]) -> tuple[Array, Array, Array]:
    """Scores of all samples and how many voxels inside and outside each stands for; the supports count alike."""
    scores, inside, outside = [], [], []
    for support in supports:
        total = support.counts.sum()
        for side, sample in enumerate((support.inside, support.outside)):
            scores.append(kernel.score(sample))
            share = np.full(len(sample), support.counts[side] / total / max(len(sample), 1))
            inside.append(share if side == 0 else np.zeros(len(sample)))
            outside.append(share if side == 1 else np.zeros(len(sample)))
    return np.concatenate(scores), np.concatenate(inside), np.concatenate(outside)


def in_order(supports: Sequence[SupportStatistics]) -> list[SupportStatistics]:
    """By content: sums of floating-point numbers then do not depend on the order of registration.

    Args:
        supports: In any order.

    Returns:
        All of them.

    Raises:
        ModelError: Supports of different feature size.
    """
    sizes = sorted({support.sums.shape[1] for support in supports})
    if len(sizes) != 1:
        raise ModelError(f"All supports must have features of one size, got {sizes}. Register them with one base model.")
    return sorted(supports, key=lambda support: support.digest)


def unit_vector(vector: Array) -> Array:
    """The direction of a vector; 0 stays 0."""
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
