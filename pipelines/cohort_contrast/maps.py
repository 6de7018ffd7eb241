"""Where in a scan its salient score comes from, and where a cohort's scores come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from pipelines.cohort_contrast.network import TwoBranches
from segsuite.seeding import keyed_generator
from segsuite.shapes import FloatArray

__all__ = ["CohortMap", "cohort_map", "integrated_gradients", "occlusion", "salient_energy", "salient_region"]

BLOCKS_PER_EDGE = 8
VOXELS_AT_ONCE = 50_000
SMOOTH_VOXELS = 1.0


def salient_energy(network: TwoBranches, image: Tensor) -> Tensor:
    """Squared distance of each image from the null point, which maps explain.

    Args:
        network: Trained, in evaluation mode.
        image: (n, channels, ...).

    Returns:
        (n,).
    """
    return network.salient(image)[1].square().sum(dim=1)


def integrated_gradients(network: TwoBranches, image: Tensor, baseline: Tensor, *, steps: int, at_once: int = 4) -> Tensor:
    r"""How much each voxel adds to the salient energy on the way from a healthy baseline to the image.

    .. math:: (x - b) \odot \frac{1}{m} \sum_{k=1}^{m} \nabla f\left(b + \frac{k - 1/2}{m} (x - b)\right)

    Args:
        network: Trained, in evaluation mode.
        image: (channels, ...).
        baseline: Same shape.
        steps: m.
        at_once: Steps per pass of the network; bounds the memory.

    Returns:
        (...), summed over channels; its sum is the energy of the image minus that of the baseline, up to the steps.

    Source: Sundararajan, Taly and Yan, ICML 2017, arXiv:1703.01365, eq. 3, with midpoints.
    """
    total = torch.zeros_like(image)
    shares = (torch.arange(steps, dtype=image.dtype, device=image.device) + 0.5) / steps
    for part in shares.split(at_once):
        points = (baseline + part.view(-1, *[1] * image.ndim) * (image - baseline)).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(salient_energy(network, points).sum(), points)
        total += gradient.sum(dim=0)
    return ((image - baseline) * total / steps).sum(dim=0)


@torch.inference_mode()
def occlusion(
    network: TwoBranches, image: Tensor, baseline: Tensor, *, blocks: int = BLOCKS_PER_EDGE, at_once: int = 32
) -> Tensor:
    """How much the salient energy falls when a block of the image is replaced by the baseline.

    Args:
        network: Trained, in evaluation mode.
        image: (channels, ...).
        baseline: Same shape.
        blocks: Per edge.
        at_once: Blocks per pass.

    Returns:
        (...): each voxel has its block's fall, spread over the block.
    """
    shape = image.shape[1:]
    edges = [np.linspace(0, n, min(blocks, n) + 1).astype(int) for n in shape]
    places = [
        tuple(slice(int(e[i]), int(e[i + 1])) for e, i in zip(edges, index, strict=True))
        for index in np.ndindex(*[len(e) - 1 for e in edges])
    ]
    whole = float(salient_energy(network, image[None])[0])
    found = torch.zeros(shape, dtype=image.dtype, device=image.device)
    for start in range(0, len(places), at_once):
        part = places[start : start + at_once]
        hidden = image[None].repeat(len(part), *[1] * image.ndim)
        for row, place in enumerate(part):
            hidden[(row, slice(None), *place)] = baseline[(slice(None), *place)]
        for place, energy in zip(part, salient_energy(network, hidden).tolist(), strict=True):
            found[place] = (whole - energy) / found[place].numel()
    return found


def salient_region(saliency: FloatArray, *, share: float) -> FloatArray:
    """The largest connected part of the voxels that add most to the score.

    Args:
        saliency: (i, j, k).
        share: Of the field.

    Returns:
        (i, j, k) booleans; empty where nothing adds anything.
    """
    smooth = ndimage.gaussian_filter(saliency.astype(np.float64), SMOOTH_VOXELS)
    level = max(float(np.quantile(smooth, 1 - share)), 0.0)
    parts, n = ndimage.label(smooth > level)
    if not n:
        return np.zeros(saliency.shape, dtype=bool)
    weight = ndimage.sum_labels(smooth, parts, np.arange(1, n + 1))
    return parts == 1 + int(np.argmax(weight))


@dataclass(frozen=True)
class CohortMap:
    """Where the diseased differ as a group.

    Attributes:
        t: Welch's t of diseased against healthy maps, per voxel.
        threshold: Level that the largest t of permuted groups exceeds in 5 of 100 permutations.
        p: Family-wise p of the largest t.
    """

    t: FloatArray
    threshold: float
    p: float


def cohort_map(maps: FloatArray, is_diseased: FloatArray, subjects: Sequence[str], *, n: int = 200, seed: int = 0) -> CohortMap:
    """Voxelwise t of two groups of maps, with family-wise error from the largest t under permuted groups.

    Maps are read in slabs of voxels, so that a memory-mapped array of any number of subjects will do. The scans must lie in
    one space (registered): a voxel must mean the same place in everyone.

    Args:
        maps: (scans, i, j, k).
        is_diseased: (scans,) booleans.
        subjects: Groups are permuted among subjects, not scans.
        n: Permutations.
        seed: Of them.

    Returns:
        The map.

    Source: Nichols and Holmes, Hum. Brain Mapp. 2002, doi:10.1002/hbm.1058.
    """
    names = sorted(set(subjects))
    of_subject = dict(zip(subjects, np.asarray(is_diseased).astype(bool), strict=True))
    labels = np.array([of_subject[name] for name in names])
    row_of = np.array([names.index(name) for name in subjects])
    draw = keyed_generator(seed, "cohort map")
    orders = [labels, *(draw.permutation(labels) for _ in range(n))]
    flat = maps.reshape(len(maps), -1)
    t = np.zeros(flat.shape[1], dtype=np.float32)
    largest = np.full(n + 1, -np.inf)
    for start in range(0, flat.shape[1], VOXELS_AT_ONCE):
        slab = np.asarray(flat[:, start : start + VOXELS_AT_ONCE], dtype=np.float64)
        for number, order in enumerate(orders):
            found = _welch_t(slab, order[row_of])
            largest[number] = max(largest[number], float(found.max()))
            if number == 0:
                t[start : start + VOXELS_AT_ONCE] = found
    reached = int(np.sum(largest[1:] >= largest[0]))
    return CohortMap(t.reshape(maps.shape[1:]), float(np.quantile(largest[1:], 0.95)), (1 + reached) / (n + 1))


def _welch_t(values: FloatArray, is_diseased: FloatArray) -> FloatArray:
    one, two = values[is_diseased], values[~is_diseased]
    spread = one.var(axis=0, ddof=1) / len(one) + two.var(axis=0, ddof=1) / len(two)
    return (one.mean(axis=0) - two.mean(axis=0)) / np.sqrt(np.maximum(spread, 1e-12))
