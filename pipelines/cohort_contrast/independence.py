"""Whether two spaces know about each other: estimates, tests, penalties, and the exact removal of what is linear."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from pipelines.cohort_contrast.kernels import log_kernel, require_same_rows, squared_distances, without_self
from segsuite.seeding import keyed_generator
from segsuite.shapes import FloatArray

__all__ = [
    "Eraser",
    "distance_correlation",
    "fit_eraser",
    "hsic",
    "kernel_mutual_information",
    "permutation_p_value",
    "standardised",
    "what_varies_in_both",
]


def kernel_mutual_information(common: Tensor, salient: Tensor, *, bandwidth: float = 0.5) -> Tensor:
    r"""A kernel estimate of the mutual information of two spaces; a diagnostic, not a loss.

    .. math:: \hat I = \frac{1}{N} \sum_i \log m_i(k_c k_s) - \log m_i(k_c) - \log m_i(k_s), \quad m_i = \text{mean over } j \ne i

    Args:
        common: (n, d_c).
        salient: (n, d_s).
        bandwidth: tau of both kernels.

    Returns:
        Scalar; about 0 for independent spaces, smaller than the truth for dependent ones.

    Raises:
        ValueError: Other numbers of rows, or fewer than two.

    Source: our own, from the terms of k-JEM.
    """
    require_same_rows(common, salient)
    first, second = (without_self(log_kernel(rows, bandwidth)) for rows in (common, salient))
    diagonal = torch.diag(torch.full((len(first),), math.inf, dtype=first.dtype, device=first.device))
    both = torch.where(diagonal > 0, first, first + second)
    logs = [torch.logsumexp(logits, 1) - math.log(len(first) - 1) for logits in (both, first, second)]
    return (logs[0] - logs[1] - logs[2]).mean()


def permutation_p_value(common: Tensor, salient: Tensor, *, bandwidth: float = 0.5, n: int = 200, seed: int = 0) -> float:
    """How often a shuffling of one space's rows gives as much kernel mutual information as the pairs themselves.

    Args:
        common: (n, d_c).
        salient: (n, d_s).
        bandwidth: tau of both kernels.
        n: Permutations.
        seed: Of them.

    Returns:
        In (0, 1]; small where the spaces depend on each other.
    """
    draw = torch.Generator().manual_seed(seed)
    found = float(kernel_mutual_information(common, salient, bandwidth=bandwidth))
    shuffled = (salient[torch.randperm(len(salient), generator=draw)] for _ in range(n))
    reached = sum(float(kernel_mutual_information(common, rows, bandwidth=bandwidth)) >= found for rows in shuffled)
    return (1 + reached) / (n + 1)


def hsic(first: Tensor, second: Tensor) -> Tensor:
    r"""The normalised Hilbert-Schmidt independence criterion with Gaussian kernels of median width, in [0, 1].

    .. math:: \frac{\mathrm{tr}(K H L H)}{\sqrt{\mathrm{tr}(K H K H)\, \mathrm{tr}(L H L H)}}

    Args:
        first: (n, d).
        second: (n, e).

    Returns:
        Scalar; 0 where a space is constant.

    Source: Gretton et al., ALT 2005, doi:10.1007/11564089_7, eq. 9; normalised as in Cortes et al., JMLR 2012.
    """
    require_same_rows(first, second)
    one, two = (_centred(torch.exp(-distances / _median(distances))) for distances in map(squared_distances, (first, second)))
    return (one * two).sum() / (one.square().sum() * two.square().sum()).sqrt().clamp_min(1e-12)


def distance_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Distance correlation, in [0, 1]; 0 in the limit of many rows only for independent spaces.

    Args:
        first: (n, d).
        second: (n, e).

    Returns:
        Scalar; 0 where a space is constant.

    Source: Szekely, Rizzo and Bakirov, Ann. Stat. 2007, doi:10.1214/009053607000000505, definition 5.
    """
    require_same_rows(first, second)
    one, two = (_centred((squared_distances(rows) + 1e-12).sqrt()) for rows in (first, second))
    covariance = (one * two).mean().clamp_min(0)
    return (covariance / (one.square().mean() * two.square().mean()).sqrt().clamp_min(1e-12) + 1e-12).sqrt()


@dataclass(frozen=True)
class Eraser:
    """A linear map of the salient space after which no linear model finds the erased concept in it.

    Attributes:
        matrix: (d, d); applied as ``rows @ matrix.T``. The null point 0 stays where it is.
    """

    matrix: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """(n, d) to (n, d)."""
        return rows @ self.matrix.to(rows).T


def fit_eraser(rows: FloatArray, concept: FloatArray, *, ridge: float = 1e-6, n_permutations: int = 50, seed: int = 0) -> Eraser:
    r"""The least change of the rows that makes the concept linearly unpredictable from them (LEACE), beyond chance.

    .. math:: P = I - W^{+} (W \Sigma_{xz}) (W \Sigma_{xz})^{+} W, \quad W = \Sigma_{xx}^{-1/2}

    Args:
        rows: (n, d).
        concept: (n, k).
        ridge: Added to the rows' covariance, as a share of its mean variance.
        n_permutations: Directions of the whitened cross-covariance that are no larger than the largest one of a concept with
            shuffled rows are chance, and stay; 0: nothing stays, and every direction of the concept is erased.
        seed: Of the permutations.

    Returns:
        The eraser. Only its linear part is kept, so that the null point does not move.

    Source: Belrose et al., NeurIPS 2023, arXiv:2306.03819, theorem 4.2. Differs: what chance explains is not erased, since
        a concept of more columns than the rows have dimensions would otherwise leave nothing.
    """
    x, z = rows - rows.mean(0), concept - concept.mean(0)
    z = z / np.maximum(z.std(0), 1e-9)
    covariance = x.T @ x / len(x)
    covariance = covariance + ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(covariance)
    white, colour = (vectors * values**power @ vectors.T for power in (-0.5, 0.5))
    whitened = x @ white
    left, size, _ = np.linalg.svd(whitened.T @ z / len(x), full_matrices=False)
    draw = keyed_generator(seed, "eraser")
    by_chance = [np.linalg.norm(whitened.T @ draw.permutation(z) / len(x), 2) for _ in range(n_permutations)]
    kept = left[:, size > max([*by_chance, 1e-9])]
    return Eraser(torch.from_numpy(np.eye(len(covariance)) - colour @ kept @ kept.T @ white).float())


def what_varies_in_both(
    common: FloatArray, is_diseased: FloatArray, *, n_directions: int = 4, n_clusters: int = 8, seed: int = 0
) -> FloatArray:
    """A description of what varies among the healthy, for every row: what the salient space should not know.

    The directions of largest variance among healthy rows, and the nearest of clusters that were found among healthy rows:
    what only the diseased have plays no part in either.

    Args:
        common: (n, d_c), all rows.
        is_diseased: (n,) booleans.
        n_directions: Principal directions of the healthy.
        n_clusters: Clusters of the healthy; 0: none.
        seed: Of the clustering.

    Returns:
        (n, n_directions + n_clusters).
    """
    healthy = common[~is_diseased.astype(bool)]
    middle = healthy.mean(0)
    directions = np.linalg.svd(healthy - middle, full_matrices=False)[2][:n_directions]
    projected = (common - middle) @ directions.T
    if not n_clusters:
        return projected
    clusters = KMeans(min(n_clusters, len(healthy)), random_state=seed, n_init=4).fit(
        np.ascontiguousarray(projected[~is_diseased.astype(bool)])
    )
    member = np.eye(clusters.n_clusters)[clusters.predict(np.ascontiguousarray(projected))]
    return np.concatenate([projected, member], axis=1)


def standardised(rows: FloatArray) -> FloatArray:
    """A space about its mean, with a mean squared distance of 1 from it, so that one bandwidth fits every space.

    Args:
        rows: (n, d).

    Returns:
        (n, d).
    """
    centred = rows - rows.mean(axis=0)
    return centred / max(float(np.sqrt((centred**2).sum(axis=1).mean())), 1e-9)


def _centred(matrix: Tensor) -> Tensor:
    return matrix - matrix.mean(0, keepdim=True) - matrix.mean(1, keepdim=True) + matrix.mean()


def _median(distances: Tensor) -> Tensor:
    return distances.detach()[~torch.eye(len(distances), dtype=torch.bool, device=distances.device)].median().clamp_min(1e-6)
