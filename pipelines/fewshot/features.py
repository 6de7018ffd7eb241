"""Features of whole volumes, and the base kernels that are deployed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from pipelines.fewshot.kernels import Array
from pipelines.fewshot.network import KernelNetwork
from segsuite.data.cache import PreparedCase
from segsuite.engines.inference import WindowInference, predict_rows
from segsuite.shapes import FloatArray, Image

__all__ = ["base_prototypes", "deploy", "feature_rows"]

MOST_CASES = 64


def feature_rows(network: KernelNetwork, image: Image, windows: WindowInference) -> Iterator[FloatArray]:
    """Features of a prepared volume, by the windows that prediction uses, never all at once.

    A network that is training is looked at as if it were not, and trains on as before: batch norm keeps its statistics.

    Args:
        network: The features' network.
        image: (channels, i, j, k), normalised.
        windows: Of prediction.

    Yields:
        (C, rows, j, k), in order of the first axis; blended, so of length at most 1.
    """
    size = int(network.kernels.shape[1])
    plain = replace(windows, n_classes=size, n_extra=0, mirror_axes=(), gives_probabilities=True)
    modes = {part: part.training for part in network.modules()}
    network.eval()
    try:
        with torch.inference_mode():
            for rows in predict_rows(network.features, image, plain):
                yield rows.cpu().numpy()
    finally:
        for part, was_training in modes.items():
            part.training = was_training


def base_prototypes(network: KernelNetwork, cases: Sequence[PreparedCase], windows: WindowInference) -> Array:
    """Directions of the base classes' features over training cases, each case one vote; summed in float64.

    Args:
        network: The trained network.
        cases: Taught cases; of many, the first 64.
        windows: Of prediction.

    Returns:
        (1 + base, C); 0 for background and for classes that no case shows.
    """
    total = np.zeros(tuple(network.kernels.shape))
    for case in cases[:MOST_CASES]:
        label = np.asarray(case.label)
        sums = np.zeros_like(total)
        start = 0
        for part in feature_rows(network, np.asarray(case.image), windows):
            unit = part.astype(np.float64) / np.maximum(np.linalg.norm(part, axis=0, keepdims=True), 1e-12)
            here = label[start : start + part.shape[1]]
            for place in range(1, len(total)):
                sums[place] += unit[:, here == place].sum(axis=1)
            start += part.shape[1]
        total += sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return total


@torch.no_grad()
def deploy(network: KernelNetwork, prototypes: Array) -> None:
    """Put the gated kernels of the base classes in place of the learned ones, once and for all.

    Args:
        network: With a gate; its kernels are changed.
        prototypes: (1 + base, C) of ``base_prototypes``.
    """
    assert network.update is not None  # noqa: S101 - only models with a gate are deployed so
    kernels = F.normalize(network.kernels.float(), dim=1, eps=1e-12)
    found = torch.from_numpy(prototypes).float().to(kernels.device)
    shown = found.norm(dim=1, keepdim=True) > 0
    network.kernels.copy_(network.update(kernels, torch.where(shown, found, kernels)))
