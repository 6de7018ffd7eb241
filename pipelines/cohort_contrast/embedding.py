"""From scans to the two spaces; and, after training, the null point and the erasure that belong to the network."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.cohort_contrast.independence import Eraser, fit_eraser, what_varies_in_both
from pipelines.cohort_contrast.network import TwoBranches
from pipelines.cohort_contrast.scans import Scans
from segsuite.shapes import FloatArray

__all__ = ["Spaces", "coarse_pixels", "embed", "finish_network"]

BLOCKS = 8

ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Spaces:
    """Scans in both spaces.

    Attributes:
        common: (n, d_c).
        salient: (n, d_s), about the null point.
        salient_head: (n, d_s), what the loss pulled.
        pixels: (n, d_p), from ``coarse_pixels``: what needs no learning, to compare with.
    """

    common: FloatArray
    salient: FloatArray
    salient_head: FloatArray
    pixels: FloatArray

    @property
    def score(self) -> FloatArray:
        """(n,): distance of each scan from the null point, in the space that training pulled healthy scans to 0 in."""
        return np.linalg.norm(self.salient_head, axis=1)


@torch.no_grad()
def embed(network: TwoBranches, scans: Scans, *, device: torch.device | str = "cpu") -> Spaces:
    """Every scan in both spaces, in order; one small batch is in memory at a time.

    Args:
        network: Trained.
        scans: Any number.
        device: Where.

    Returns:
        The spaces.
    """
    network = network.to(device).eval()
    parts = []
    for start in range(0, len(scans), ROWS_AT_ONCE):
        images = scans.batch(range(start, min(start + ROWS_AT_ONCE, len(scans)))).to(device)
        found = network(images)
        columns = (found.common, found.salient, found.salient_head, coarse_pixels(images))
        parts.append([column.float().cpu().numpy() for column in columns])
    return Spaces(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def coarse_pixels(images: Tensor) -> Tensor:
    """Every scan as a few numbers without any learning: means over at most 8 blocks per axis.

    Args:
        images: (n, channels, ...), 2-D or 3-D.

    Returns:
        (n, channels times blocks).
    """
    size = [min(BLOCKS, n) for n in images.shape[2:]]
    pool = F.adaptive_avg_pool3d if images.ndim == 5 else F.adaptive_avg_pool2d
    return pool(images, size).flatten(1)


def finish_network(
    network: TwoBranches,
    training: Scans,
    *,
    erase: bool,
    seed: int,
    erase_sites: bool = False,
    device: torch.device | str = "cpu",
) -> Spaces:
    """Fix the null point, and erase from the salient space what the common one says of how healthy subjects vary.

    Args:
        network: Trained; changed in place.
        training: Training scans; no attribute is looked at.
        erase: Whether to erase.
        erase_sites: Whether to erase the site too, where several are known.
        seed: Of the clustering.
        device: Where.

    Returns:
        The training scans in the finished spaces.
    """
    network.forget_null()
    found = embed(network, training, device=device)
    diseased = np.asarray(training.is_diseased).astype(bool)
    null = torch.from_numpy(found.salient[~diseased].mean(axis=0))
    eraser = None
    if erase:
        concept = what_varies_in_both(found.common, diseased, seed=seed)
        eraser = fit_eraser(found.salient[diseased].astype(np.float64), concept[diseased].astype(np.float64))
    if erase_sites and len(set(training.sites)) > 1:
        eraser = _without_sites(found.salient.astype(np.float64), training, eraser)
    network.set_null(null, eraser)
    return replace(found, salient=network.cpu().erased(torch.from_numpy(found.salient)).numpy())


def _without_sites(salient: FloatArray, training: Scans, before: Eraser | None) -> Eraser:
    """An eraser that also takes away how sites differ within each group."""
    first = Eraser(torch.eye(salient.shape[1])) if before is None else before
    rows = first(torch.from_numpy(salient)).numpy()
    member = (np.asarray(training.sites)[:, None] == np.array(sorted(set(training.sites)))).astype(np.float64)
    for group in (False, True):
        here = np.asarray(training.is_diseased).astype(bool) == group
        rows[here] -= rows[here].mean(axis=0)
        member[here] -= member[here].mean(axis=0)
    second = fit_eraser(rows, member, n_permutations=0)
    return Eraser(second.matrix @ first.matrix)
