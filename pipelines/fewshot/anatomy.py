"""Pseudo-anatomy: regions of similar intensity at a similar place, found without labels, to be told apart in base training.

A network that has learned liver and background alone sees no kidney; one that tells such regions apart has a direction for
it before anyone draws it. The idea and the numbers are our own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.cluster import MiniBatchKMeans

from segsuite.data.cache import PreparedCase
from segsuite.data.transforms import body_of, place_in_body
from segsuite.seeding import keyed_generator
from segsuite.shapes import Spacing

__all__ = ["Regions", "describe_voxels", "fit_regions"]

SMOOTH_MM = 5.0
VOXELS_PER_CASE = 3000
MOST_CASES = 64
POSITION_WEIGHT = 2.0


class Regions:
    """Clusters of voxels; assigns the nearest to every voxel of a volume."""

    def __init__(self, centres: NDArray[np.float64], n_channels: int) -> None:
        """Set up.

        Args:
            centres: (regions, channels * 2 + 3), as ``describe_voxels`` describes voxels.
            n_channels: Of intensities.
        """
        self.centres, self.n_channels = centres, n_channels

    def assign(self, image: NDArray[np.float32], spacing_mm: Spacing) -> NDArray[np.int16]:
        """The region of every voxel.

        Args:
            image: (channels, i, j, k), normalised.
            spacing_mm: Voxel size.

        Returns:
            (i, j, k): 0 outside the body, else 1 to the number of regions.
        """
        described, body = describe_voxels(image[: self.n_channels], spacing_mm)
        vectors = described[body]
        nearest = np.empty(len(vectors), dtype=np.int16)
        for start in range(0, len(vectors), 100_000):
            part = vectors[start : start + 100_000]
            distance = -2 * part @ self.centres.T + (self.centres**2).sum(axis=1)
            nearest[start : start + len(part)] = distance.argmin(axis=1) + 1
        regions = np.zeros(image.shape[1:], dtype=np.int16)
        regions[body] = nearest
        return regions


def describe_voxels(image: NDArray[np.float32], spacing_mm: Spacing) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """What clusters are made from: smoothed intensity, local spread, place within the body.

    Args:
        image: (channels, i, j, k), normalised, without place.
        spacing_mm: Voxel size.

    Returns:
        (i, j, k, channels * 2 + 3), and where the body is.
    """
    sigma = [SMOOTH_MM / mm / 2 for mm in spacing_mm]
    smooth = [ndimage.gaussian_filter(channel, sigma) for channel in image]
    spread = [np.sqrt(np.maximum(ndimage.gaussian_filter(c**2, sigma) - s**2, 0)) for c, s in zip(image, smooth, strict=True)]
    body = body_of(np.stack(smooth))
    scale = max(float(smooth[0][body].std()), 1e-6)
    parts = [(s - s[body].mean()) / scale for s in smooth] + [s / scale for s in spread]
    parts += [POSITION_WEIGHT * place for place in place_in_body(np.stack(smooth))]
    return np.stack(parts, axis=-1).astype(np.float64), body


def fit_regions(cases: Sequence[PreparedCase], *, n_regions: int, n_channels: int, spacing_mm: Spacing, seed: int) -> Regions:
    """Cluster voxels of training images; labels are not looked at.

    Args:
        cases: Prepared training cases; of many, 64 are drawn.
        n_regions: Number of clusters.
        n_channels: Of intensities; what the prepared image has besides does not count.
        spacing_mm: Voxel size.
        seed: Of draws and clustering.

    Returns:
        The regions.
    """
    draw = keyed_generator(seed, "regions")
    chosen = list(cases)
    if len(chosen) > MOST_CASES:
        chosen = [chosen[int(place)] for place in np.sort(draw.choice(len(chosen), MOST_CASES, replace=False))]
    samples = []
    for case in chosen:
        described, body = describe_voxels(np.asarray(case.image[:n_channels]), spacing_mm)
        vectors = described[body]
        samples.append(vectors[draw.choice(len(vectors), min(VOXELS_PER_CASE, len(vectors)), replace=False)])
    clusters = MiniBatchKMeans(n_regions, random_state=seed % 2**32, n_init=3, batch_size=4096).fit(np.concatenate(samples))
    return Regions(np.asarray(clusters.cluster_centers_, dtype=np.float64), n_channels)
