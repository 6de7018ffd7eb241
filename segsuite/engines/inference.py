"""One volume through a network: windows in order, blended, and handed on row by row so that memory stays small.

Rows along the first axis leave as soon as no later window touches them. Only ``classes x patch rows`` of
probabilities are ever held, never ``classes x volume``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import torch
from monai.data.utils import compute_importance_map
from monai.utils.enums import BlendMode
from torch import Tensor

from segsuite.shapes import FloatArray, Image, LabelMap, Size
from segsuite.volumes.cropping import pad_to_size

__all__ = ["WindowInference", "argmax_rows", "predict_rows", "window_starts"]


CPU = torch.device("cpu")


@dataclass(frozen=True)
class WindowInference:
    """How a volume is cut into windows.

    Attributes:
        patch_size: Window along i, j, k.
        n_classes: Classes, background included.
        overlap: Share of a window that the next one covers again, in [0, 1).
        mirror_axes: Average over all flips of these axes.
        batch_size: Windows per forward pass.
        precision: Number format of the convolutions.
        device: Where.
        gives_probabilities: The network gives probabilities already, not logits.
        n_extra: Channels of the network's output after the classes that take no part in the decision (uncertainty).
    """

    patch_size: Size
    n_classes: int
    overlap: float = 0.5
    mirror_axes: tuple[int, ...] = ()
    batch_size: int = 4
    precision: torch.dtype = torch.float32
    device: torch.device = CPU
    gives_probabilities: bool = False
    n_extra: int = 0

    @property
    def n_outputs(self) -> int:
        """Channels of the network's output."""
        return self.n_classes + self.n_extra


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along one axis: evenly spread, first at 0, last at the end.

    Args:
        length: Voxels of the image, at least ``window``.
        window: Voxels of a window.
        overlap: Share covered twice.

    Returns:
        Increasing starts.
    """
    if length <= window:
        return [0]
    step = max(1, int(window * (1 - overlap)))
    count = -(-(length - window) // step) + 1
    return [round(n * (length - window) / (count - 1)) for n in range(count)]


def predict_rows(network: Callable[[Tensor], Tensor], image: Image, windows: WindowInference) -> Iterator[FloatArray]:
    """Class probabilities of a volume, a few rows of the first axis at a time, in order.

    Args:
        network: Batch (batch, channels, *patch) to logits (batch, classes, *patch).
        image: (channels, i, j, k), normalised.
        windows: Size, overlap, flips, device.

    Yields:
        (outputs, rows, j, k), float32, the classes sum to 1; the rows add up to i.
    """
    shape = image.shape[1:]
    padded = pad_to_size(image, windows.patch_size, value=float(image.min()))
    before = [(big - small) // 2 for big, small in zip(padded.shape[1:], shape, strict=True)]
    crop = tuple(slice(b, b + n) for b, n in zip(before[1:], shape[1:], strict=True))
    first, last = before[0], before[0] + shape[0]
    done = 0
    for rows in _blended_rows(network, padded, windows):
        low, high = max(first - done, 0), min(last - done, rows.shape[1])
        done += rows.shape[1]
        if high > low:
            yield rows[(slice(None), slice(low, high), *crop)]


def argmax_rows(rows: Iterator[FloatArray], *, n_classes: int) -> LabelMap:
    """The label of largest probability per voxel; of equal ones the lower label.

    Args:
        rows: From ``predict_rows``.
        n_classes: Channels that take part.

    Returns:
        Integers (i, j, k), uint8 or uint16.
    """
    parts = []
    for probabilities in rows:
        dtype = np.uint8 if n_classes <= 256 else np.uint16
        parts.append(probabilities[:n_classes].argmax(axis=0).astype(dtype))
    return np.concatenate(parts)


def _blended_rows(network: Callable[[Tensor], Tensor], image: Image, windows: WindowInference) -> Iterator[FloatArray]:
    patch = windows.patch_size
    starts = [window_starts(n, p, windows.overlap) for n, p in zip(image.shape[1:], patch, strict=True)]
    weight = compute_importance_map(patch, mode=BlendMode.GAUSSIAN, sigma_scale=0.125).numpy().astype(np.float32)
    total = np.zeros((windows.n_outputs, patch[0], *image.shape[2:]), dtype=np.float32)
    weights = np.zeros(total.shape[1:], dtype=np.float32)
    planes = list(product(starts[1], starts[2]))
    for number, at in enumerate(starts[0]):
        for group in range(0, len(planes), windows.batch_size):
            chosen = planes[group : group + windows.batch_size]
            views = [(slice(None), slice(j, j + patch[1]), slice(k, k + patch[2])) for j, k in chosen]
            batch = np.stack([image[(slice(None), slice(at, at + patch[0]), *view[1:])] for view in views])
            for view, probabilities in zip(views, _forward(network, batch, windows), strict=True):
                total[(slice(None), *view)] += probabilities * weight
                weights[view] += weight
        following = starts[0][number + 1] if number + 1 < len(starts[0]) else at + patch[0]
        n_done = following - at
        yield total[:, :n_done] / weights[None, :n_done]
        total = np.concatenate([total[:, n_done:], np.zeros_like(total[:, :n_done])], axis=1)
        weights = np.concatenate([weights[n_done:], np.zeros_like(weights[:n_done])])


def _forward(network: Callable[[Tensor], Tensor], batch: FloatArray, windows: WindowInference) -> FloatArray:
    """Probabilities of a batch of windows, averaged over flips. A constant window holds no structure: background."""
    flat = batch.reshape(len(batch), -1)
    informative = flat.max(axis=1) > flat.min(axis=1)
    result = np.zeros((len(batch), windows.n_outputs, *batch.shape[2:]), dtype=np.float32)
    result[~informative, 0] = 1.0
    if informative.any():
        result[informative] = _forward_informative(network, torch.from_numpy(batch[informative]), windows)
    return result


@torch.inference_mode()
def _forward_informative(network: Callable[[Tensor], Tensor], batch: Tensor, windows: WindowInference) -> FloatArray:
    axes = windows.mirror_axes
    flips = [subset for n in range(len(axes) + 1) for subset in combinations(axes, n)]
    image = batch.to(windows.device).contiguous(memory_format=torch.channels_last_3d)
    total: Tensor | None = None
    with torch.autocast(windows.device.type, dtype=torch.bfloat16, enabled=windows.precision == torch.bfloat16):
        for flip in flips:
            dims = [axis + 2 for axis in flip]
            output = network(image.flip(dims) if dims else image).float()
            output = output.flip(dims) if dims else output
            probabilities = output if windows.gives_probabilities else output.softmax(dim=1)
            total = probabilities if total is None else total + probabilities
    assert total is not None  # noqa: S101 - there is always the empty flip
    mean: FloatArray = (total / len(flips)).cpu().numpy()
    return mean
