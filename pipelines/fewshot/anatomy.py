"""Pseudo-anatomy: supervoxels of similar intensity at a similar place, found without labels, to be told apart in base training.

A network that has learned liver and background alone sees no kidney; one that tells such regions apart has a direction for
it before anyone draws it. The idea and the numbers are our own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans

from segsuite.data.cache import PreparedCase
from segsuite.data.transforms import body_of, place_in_body
from segsuite.seeding import keyed_generator
from segsuite.shapes import Spacing

__all__ = ["Regions", "describe_supervoxels", "fit_regions", "supervoxels"]

SUPERVOXELS_PER_BODY = 700
SPATIAL_WEIGHT = 0.3
ITERATIONS = 5
MOST_CASES = 64
POSITION_WEIGHTS = (2.0, 2.0, 1.5)
"""Of the place along left-right, back-front, foot-head, against one standard deviation of intensity."""


class Regions:
    """Clusters of supervoxels; assigns the nearest to every voxel of a volume."""

    def __init__(self, centres: NDArray[np.float64], n_channels: int) -> None:
        """Set up.

        Args:
            centres: (regions, channels * 2 + 3), as ``describe_supervoxels`` describes them.
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
        described, members = describe_supervoxels(image[: self.n_channels], spacing_mm)
        distance = -2 * described @ self.centres.T + (self.centres**2).sum(axis=1)
        nearest = np.concatenate([[0], distance.argmin(axis=1) + 1])
        return nearest[members].astype(np.int16)


def supervoxels(image: NDArray[np.float32], spacing_mm: Spacing) -> NDArray[np.int32]:
    """Connected parts of about one size and one intensity each, about 700 per body.

    Args:
        image: (channels, i, j, k), normalised.
        spacing_mm: Voxel size.

    Returns:
        (i, j, k): 0 outside the body, else 1, 2, ... without gaps.

    Source: Achanta et al., IEEE PAMI 2012, doi:10.1109/TPAMI.2012.120 (SLIC), as in SimpleITK.
    """
    body = body_of(image)
    edge_mm = (body.sum() * np.prod(spacing_mm) / SUPERVOXELS_PER_BODY) ** (1 / 3)
    scaled = _scaled(image, body)
    slic = sitk.SLICImageFilter()
    slic.SetSuperGridSize([max(2, round(float(edge_mm / mm))) for mm in spacing_mm])
    slic.SetSpatialProximityWeight(SPATIAL_WEIGHT)
    slic.SetMaximumNumberOfIterations(ITERATIONS)
    slic.SetEnforceConnectivity(True)
    picture = sitk.GetImageFromArray(np.ascontiguousarray(scaled.transpose(3, 2, 1, 0)), isVector=True)
    found = sitk.GetArrayFromImage(slic.Execute(picture)).transpose(2, 1, 0).astype(np.int64)
    kept = np.where(body, found + 1, 0)
    numbers, members = np.unique(kept, return_inverse=True)
    return (members.reshape(kept.shape) + (numbers[0] > 0)).astype(np.int32)


def describe_supervoxels(image: NDArray[np.float32], spacing_mm: Spacing) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """What clusters are made from: mean intensity, spread of intensity, place within the body.

    Args:
        image: (channels, i, j, k), normalised, without place.
        spacing_mm: Voxel size.

    Returns:
        (supervoxels, channels * 2 + 3), and the supervoxel of each voxel, counted from 1, 0 outside the body.
    """
    members = supervoxels(image, spacing_mm)
    sizes = np.bincount(members.ravel())

    def mean(values: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(members.ravel(), values.ravel(), minlength=len(sizes)) / np.maximum(sizes, 1))[1:]

    scaled = _scaled(image, members > 0)
    means = [mean(channel) for channel in scaled]
    spreads = [np.sqrt(np.maximum(mean(c**2) - m**2, 0)) for c, m in zip(scaled, means, strict=True)]
    places = [weight * mean(place) for weight, place in zip(POSITION_WEIGHTS, place_in_body(image), strict=True)]
    return np.stack([*means, *spreads, *places], axis=1), members


def fit_regions(cases: Sequence[PreparedCase], *, n_regions: int, n_channels: int, spacing_mm: Spacing, seed: int) -> Regions:
    """Cluster supervoxels of training images; labels are not looked at.

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
    described = [describe_supervoxels(np.asarray(case.image[:n_channels]), spacing_mm)[0] for case in chosen]
    clusters = MiniBatchKMeans(n_regions, random_state=seed % 2**32, n_init=4, batch_size=4096).fit(np.concatenate(described))
    return Regions(np.asarray(clusters.cluster_centers_, dtype=np.float64), n_channels)


def _scaled(image: NDArray[np.float32], body: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Each channel with mean 0 and standard deviation 1 within the body: a scanner's gain does not matter."""
    return np.stack([(c - c[body].mean()) / max(float(c[body].std()), 1e-6) for c in image]).astype(np.float32)
