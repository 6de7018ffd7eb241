"""What simpler methods make of the same two cohorts: the lines that every table of results must hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.metrics import silhouette_score
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.cohort_contrast.network import Branch
from pipelines.cohort_contrast.scans import Scans
from segsuite.seeding import keyed_generator
from segsuite.shapes import FloatArray

__all__ = [
    "ALPHAS",
    "ContrastiveAutoencoder",
    "best_alpha",
    "contrastive_components",
    "maximum_mean_discrepancy",
    "train_autoencoder",
]

ALPHAS = (0.0, 0.3, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0)
BANDWIDTHS = (1e-2, 1e-1, 1.0, 10.0)


def contrastive_components(diseased: FloatArray, healthy: FloatArray, *, alpha: float, n: int) -> FloatArray:
    r"""Directions in which the diseased vary and the healthy do not (cPCA): alpha 0 is PCA of the diseased.

    .. math:: \text{top eigenvectors of } \Sigma_Y - \alpha \Sigma_X

    Args:
        diseased: (n_y, d), pixels or features.
        healthy: (n_x, d).
        alpha: Weight of the healthy covariance, at least 0.
        n: Number of directions.

    Returns:
        (d, n), orthonormal, largest first; the first nonzero entry of each is positive.

    Source: Abid, Zhang, Bagaria and Zou, Nature Communications 2018, doi:10.1038/s41467-018-04608-8, eq. 2.
    """
    covariances = [np.cov(rows, rowvar=False) for rows in (diseased, healthy)]
    values, vectors = np.linalg.eigh(covariances[0] - alpha * covariances[1])
    chosen = vectors[:, np.argsort(values)[::-1][:n]]
    first = chosen[np.argmax(np.abs(chosen) > 1e-12, axis=0), np.arange(chosen.shape[1])]
    return chosen * np.where(first < 0, -1.0, 1.0)


def best_alpha(diseased: FloatArray, healthy: FloatArray, *, n: int, alphas: Sequence[float] = ALPHAS) -> float:
    """The alpha whose directions set the groups apart best, without any attribute.

    Args:
        diseased: (n_y, d).
        healthy: (n_x, d).
        n: Number of directions.
        alphas: To try.

    Returns:
        The alpha of the largest silhouette of the groups in the projected space.
    """
    rows = np.concatenate([healthy, diseased])
    groups = np.arange(len(rows)) >= len(healthy)

    def apart(alpha: float) -> float:
        projected = rows @ contrastive_components(diseased, healthy, alpha=alpha, n=n)
        return float(silhouette_score(projected, groups, sample_size=min(1000, len(rows)), random_state=0))

    return max(alphas, key=apart)


def maximum_mean_discrepancy(first: Tensor, second: Tensor) -> Tensor:
    r"""How different two clouds of rows are, over several Gaussian kernels.

    .. math:: \overline{k(x, x')} + \overline{k(y, y')} - 2\, \overline{k(x, y)}

    Args:
        first: (n, d).
        second: (m, d).

    Returns:
        Scalar, at least 0.

    Source: Gretton et al., JMLR 2012, 13:723-773, eq. 5 (biased).
    """

    def mean_kernel(a: Tensor, b: Tensor) -> Tensor:
        distances = (a[:, None] - b[None]).square().sum(-1)
        return torch.stack([torch.exp(-gamma * distances).mean() for gamma in BANDWIDTHS]).sum()

    return mean_kernel(first, first) + mean_kernel(second, second) - 2 * mean_kernel(first, second)


class ContrastiveAutoencoder(nn.Module):
    """A compact MM-cVAE: healthy images are decoded from the common code alone, diseased ones from both.

    Source: Weinberger, Beebe-Wang and Lee, AISTATS 2022, arXiv:2202.10560. Differs: small, and the weights are our own.
    """

    def __init__(self, common: Branch, salient: Branch, *, d_common: int, d_salient: int, n_pixels: int) -> None:
        """Build.

        Args:
            common: Encoder of the common code; its representation is used.
            salient: Encoder of the salient code.
            d_common: Dimensions of the common code.
            d_salient: Dimensions of the salient code.
            n_pixels: Of an image, channels included.
        """
        super().__init__()
        self.common, self.salient = common, salient
        self.decoder = nn.Sequential(nn.Linear(d_common + d_salient, 256), nn.ReLU(), nn.Linear(256, n_pixels))

    def loss(self, image: Tensor, is_diseased: Tensor, draw: torch.Generator) -> Tensor:
        """Reconstruction, a unit prior on the codes, and equal common codes and no salient code of the healthy.

        Args:
            image: (n, channels, ...).
            is_diseased: (n,) booleans.
            draw: Of the codes' noise.

        Returns:
            Scalar.
        """
        common, salient = self.common(image)[0], self.salient(image)[0]
        shown = torch.where(is_diseased[:, None], salient, torch.zeros_like(salient))
        codes = torch.cat([common, shown], dim=1)
        noisy = codes + 0.1 * torch.randn(codes.shape, generator=draw)
        rebuilt = F.mse_loss(self.decoder(noisy), image.flatten(1), reduction="none").mean(1).mean()
        prior = common.square().mean() + salient[is_diseased].square().mean()
        null = torch.zeros_like(salient[~is_diseased])
        apart = maximum_mean_discrepancy(common[is_diseased], common[~is_diseased])
        return rebuilt + 1e-3 * prior + 0.1 * apart + 0.1 * maximum_mean_discrepancy(salient[~is_diseased], null)


def train_autoencoder(model: ContrastiveAutoencoder, scans: Scans, *, steps: int, batch_size: int, seed: int) -> None:
    """Train in place.

    Args:
        model: Fresh.
        scans: Of both groups.
        steps: Optimiser steps.
        batch_size: Rows per step, half of each group.
        seed: Of batches and noise.
    """
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    draw, rows = torch.Generator().manual_seed(seed), keyed_generator(seed, "autoencoder")
    groups = [np.flatnonzero(np.asarray(scans.is_diseased) == group) for group in (False, True)]
    diseased = torch.arange(batch_size) >= batch_size // 2
    model.train()
    for _ in range(steps):
        chosen = np.concatenate([rows.choice(group, batch_size // 2) for group in groups])
        optimiser.zero_grad()
        model.loss(scans.batch(chosen), diseased, draw).backward()
        optimiser.step()
    model.eval()
