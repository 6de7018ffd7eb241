"""One volume through a network: windows in order, blended, and handed on row by row so that memory stays small.

Rows along one axis leave as soon as no later window touches them. Only ``classes x patch rows`` of probabilities are ever
held, never ``classes x volume``; where even these are many, in half precision. All of it happens where the network is: on a
GPU nothing is waited for until rows are looked at.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segsuite.shapes import Image, LabelMap, Size, row_order
from segsuite.volumes.cropping import pad_to_size
from segsuite.volumes.regions import THRESHOLD, code_dtype

__all__ = ["WindowInference", "argmax_rows", "gaussian_importance", "predict_rows", "threshold_rows", "window_starts"]


CPU = torch.device("cpu")
Held = tuple[int, int, int, int]
ONE_AT_A_TIME = threading.Lock()
"""Threads that share a GPU take turns, or each would have a pass's features in its memory."""
MOST_EXACT_BYTES = 512_000_000
"""Of the held rows in single precision; beyond, they are held in half precision: sums of probabilities, good to 1/1000."""
MOST_HELD_BYTES = 1_200_000_000
"""Of the held rows; beyond, the volume is worked through in parts, whose common windows are computed for both."""
MOST_BATCH_VALUES = 32_000_000
"""Outputs of one forward pass; fewer windows go through together where each has many."""
MARGIN_COLUMNS = 4
"""Between a part and the window after it: interpolation reaches so far at most, unless voxels are enlarged threefold."""
PART_VALUES = 4_000_000
"""Outputs that leave together."""
SIGMA_SHARE = 0.125
LEAST_IMPORTANCE = 1e-3


@dataclass(frozen=True)
class WindowInference:
    """How a volume is cut into windows.

    Attributes:
        patch_size: Window along i, j, k.
        n_classes: Classes, background included; or regions.
        overlap: Share of a window that the next one covers again, in [0, 1).
        mirror_axes: Average over all flips of these axes.
        batch_size: Windows per forward pass.
        precision: Number format of the convolutions.
        device: Where.
        gives_probabilities: The network gives probabilities already, not logits.
        n_extra: Channels of the network's output after the classes that take no part in the decision (uncertainty).
        sigmoid: Each output is decided by itself (regions that contain each other): a sigmoid in place of the softmax, and no
            background among them.
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
    sigmoid: bool = False

    @property
    def n_outputs(self) -> int:
        """Channels of the network's output."""
        return self.n_classes + self.n_extra

    @property
    def windows_per_pass(self) -> int:
        """Windows that go through the network together."""
        return min(self.batch_size, max(1, MOST_BATCH_VALUES // (self.n_outputs * math.prod(self.patch_size))))

    def held_rows(self, shape: Size, *, axis: int = 0, columns: slice | None = None) -> tuple[Held, torch.dtype]:
        """The rows that are held while windows add up.

        Args:
            shape: Of the image, (i, j, k).
            axis: Along which rows leave.
            columns: See ``predict_rows``.

        Returns:
            (outputs, rows, the other two axes) and the number format.
        """
        _, across, last = row_order(axis)
        size = [max(n, patch) for n, patch in zip(shape, self.patch_size, strict=True)]
        starts = self.starts_across(shape, across, columns)
        width = starts[-1] + self.patch_size[across] - starts[0]
        held = (self.n_outputs, self.patch_size[axis], width, size[last])
        return held, torch.float32 if 4 * math.prod(held) <= MOST_EXACT_BYTES else torch.float16

    def parts(self, shape: Size, *, axis: int = 0) -> list[slice]:
        """Columns of the axis across the rows that are worked through together, so that memory is bounded.

        Args:
            shape: Of the image, (i, j, k).
            axis: Along which rows leave.

        Returns:
            Slices without gaps; one where memory allows it. They end before a window that they need not begin.
        """
        across = row_order(axis)[1]
        n = shape[across]
        starts = self.starts_across(shape, across, None)
        for n_windows in range(len(starts), 0, -1):
            bounds = sorted({0, *(max(0, start - MARGIN_COLUMNS) for start in starts[n_windows::n_windows]), n})
            parts = [slice(low, high) for low, high in itertools.pairwise(bounds)]
            if max(self._held_bytes(shape, axis, part) for part in parts) <= MOST_HELD_BYTES:
                break
        return parts

    def _held_bytes(self, shape: Size, axis: int, columns: slice) -> int:
        held, dtype = self.held_rows(shape, axis=axis, columns=columns)
        return math.prod(held) * dtype.itemsize

    def starts_across(self, shape: Size, across: int, columns: slice | None) -> list[int]:
        """Where the windows begin that reach some columns.

        Args:
            shape: Of the image before padding, (i, j, k).
            across: Axis of the columns.
            columns: Of the image before padding; ``None``: all.

        Returns:
            Starts in the padded image.
        """
        patch = self.patch_size[across]
        starts = window_starts(max(shape[across], patch), patch, self.overlap)
        before = max(0, patch - shape[across]) // 2
        low, high = (0, shape[across]) if columns is None else (columns.start, columns.stop)
        return [start for start in starts if start < high + before and start + patch > low + before]


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


def predict_rows(
    network: Callable[[Tensor], Tensor], image: Image, windows: WindowInference, *, axis: int = 0, columns: slice | None = None
) -> Iterator[Tensor]:
    """Class probabilities of a volume, a few rows of one axis at a time, in order.

    Args:
        network: Batch (batch, channels, *patch) to logits (batch, classes, *patch); what it returns is changed in place.
        image: (channels, i, j, k), normalised.
        windows: Size, overlap, flips, device.
        axis: Along which rows come; along the longest the fewest are held at a time.
        columns: Of the first other axis: only these, with the numbers that they have in the whole; ``None``: all.

    Yields:
        (outputs, rows, the other two axes), float32, on the network's device, the classes sum to 1 (regions do not); the rows
        add up to the axis.
    """
    order = row_order(axis)
    shape = (image.shape[1], image.shape[2], image.shape[3])
    whole = pad_to_size(image, windows.patch_size, value=float(image.min()))
    # a tensor of a case that lies mapped on the disk, read-only, would be one that may be written to
    padded = torch.from_numpy(whole if whole.flags.writeable else whole.copy()).to(windows.device)
    before = [(big - small) // 2 for big, small in zip(padded.shape[1:], shape, strict=True)]
    chosen = slice(0, shape[order[1]]) if columns is None else columns
    shift = before[order[1]] - windows.starts_across(shape, order[1], columns)[0]
    crop = (slice(chosen.start + shift, chosen.stop + shift), slice(before[order[2]], before[order[2]] + shape[order[2]]))
    first, last = before[axis], before[axis] + shape[axis]
    done = 0
    for rows in _blended_rows(network, padded, windows, shape, order, columns):
        low, high = max(first - done, 0), min(last - done, rows.shape[1])
        done += rows.shape[1]
        if high > low:
            yield rows[(slice(None), slice(low, high), *crop)]


def gaussian_importance(patch: Size) -> Tensor:
    """How much each voxel of a window counts where windows overlap: a Gaussian about the centre, never below 1/1000.

    Args:
        patch: Window along i, j, k.

    Returns:
        (i, j, k), float32, in (0, 1].

    Source: as MONAI's sliding window (``mode="gaussian"``, ``sigma_scale=0.125``), which takes seconds to import.
    """
    lines = []
    for size in patch:
        distance = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
        lines.append(torch.exp(-0.5 * (distance / (SIGMA_SHARE * size)) ** 2))
    i, j, k = lines
    return (i[:, None, None] * j[:, None] * k).clamp_min(LEAST_IMPORTANCE)


def argmax_rows(rows: Iterator[Tensor], *, n_classes: int) -> LabelMap:
    """The label of largest probability per voxel; of equal ones the lower label.

    Args:
        rows: From ``predict_rows``.
        n_classes: Channels that take part.

    Returns:
        Integers (i, j, k), uint8 or uint16.
    """
    parts = []
    for probabilities in rows:
        classes = probabilities[:n_classes]
        # torch looks for the largest of several planes slowly on a CPU
        largest = classes.numpy().argmax(axis=0) if classes.device == CPU else classes.argmax(dim=0).cpu().numpy()
        parts.append(largest.astype(np.uint8 if n_classes <= 256 else np.uint16))
    return np.concatenate(parts)


def threshold_rows(rows: Iterator[Tensor], *, n_regions: int) -> LabelMap:
    """The regions that each voxel is in: those whose probability is at least one half.

    Args:
        rows: From ``predict_rows``.
        n_regions: Channels that take part.

    Returns:
        A bit per region, (i, j, k); see ``volumes.regions``.
    """
    dtype = code_dtype(n_regions)
    parts = []
    for probabilities in rows:
        inside = (probabilities[:n_regions] >= THRESHOLD).cpu().numpy()
        parts.append(sum(inside[place].astype(dtype) << place for place in range(n_regions)))
    return np.concatenate(parts)


def _blended_rows(
    network: Callable[[Tensor], Tensor],
    image: Tensor,
    windows: WindowInference,
    shape: Size,
    order: tuple[int, int, int],
    columns: slice | None,
) -> Iterator[Tensor]:
    patch = windows.patch_size
    starts = [window_starts(image.shape[1 + axis], patch[axis], windows.overlap) for axis in order]
    starts[1] = windows.starts_across(shape, order[1], columns)
    outputs_first = (0, *(1 + axis for axis in order))
    weight = gaussian_importance(patch).permute(order).contiguous().to(image.device)
    size, dtype = windows.held_rows(shape, axis=order[0], columns=columns)
    total = torch.zeros(size, dtype=dtype, device=image.device)
    weights = torch.zeros(size[1:], device=image.device)
    planes = list(itertools.product(starts[1], starts[2]))
    for number, at in enumerate(starts[0]):
        for group in range(0, len(planes), windows.windows_per_pass):
            places = planes[group : group + windows.windows_per_pass]
            batch = torch.stack([image[(slice(None), *_window((at, *place), order, patch))] for place in places])
            for place, probabilities in zip(places, _forward(network, batch, windows), strict=True):
                across = place[0] - starts[1][0]
                view = (slice(across, across + patch[order[1]]), slice(place[1], place[1] + patch[order[2]]))
                for held, channel in zip(total, probabilities.permute(outputs_first), strict=True):
                    held[(slice(None), *view)] += channel * weight
                weights[(slice(None), *view)] += weight
        following = starts[0][number + 1] if number + 1 < len(starts[0]) else at + patch[order[0]]
        n_done = following - at
        step = max(1, PART_VALUES // (size[0] * size[2] * size[3]))
        for row in range(0, n_done, step):
            part = slice(row, min(row + step, n_done))
            yield total[:, part].float() / weights[None, part]
        for held in (*total, weights):
            held[: len(held) - n_done] = held[n_done:].clone()
            held[len(held) - n_done :] = 0


def _window(starts: Sequence[int], order: tuple[int, int, int], patch: Size) -> tuple[slice, ...]:
    """The window of an image whose starts are given in the order of rows."""
    along = dict(zip(order, starts, strict=True))
    return tuple(slice(along[axis], along[axis] + patch[axis]) for axis in range(3))


@torch.inference_mode()
def _forward(network: Callable[[Tensor], Tensor], batch: Tensor, windows: WindowInference) -> Tensor:
    """Probabilities of a batch of windows, averaged over flips. A constant window holds no structure: background."""
    flat = batch.flatten(1)
    informative = flat.amax(dim=1) > flat.amin(dim=1)
    if batch.device != CPU:  # asking whether there is a constant window would wait for the GPU
        with ONE_AT_A_TIME:
            found = _forward_informative(network, batch, windows)
        background = torch.zeros(windows.n_outputs, device=batch.device)
        background[0] = float(not windows.sigmoid)
        return torch.where(informative.view(-1, 1, 1, 1, 1), found, background.view(1, -1, 1, 1, 1))
    if informative.all():
        return _forward_informative(network, batch, windows)
    result = torch.zeros(len(batch), windows.n_outputs, *batch.shape[2:])
    result[~informative, 0] = float(not windows.sigmoid)
    if informative.any():
        result[informative] = _forward_informative(network, batch[informative], windows)
    return result


def _forward_informative(network: Callable[[Tensor], Tensor], batch: Tensor, windows: WindowInference) -> Tensor:
    axes = windows.mirror_axes
    flips = [subset for n in range(len(axes) + 1) for subset in itertools.combinations(axes, n)]
    image = batch.contiguous(memory_format=torch.channels_last_3d)
    total: Tensor | None = None
    with torch.autocast(windows.device.type, dtype=torch.bfloat16, enabled=windows.precision == torch.bfloat16):
        for flip in flips:
            dims = [axis + 2 for axis in flip]
            output = network(image.flip(dims) if dims else image).float()
            output = output.flip(dims) if dims else output
            if not windows.gives_probabilities:
                # in place on a CPU, plane by plane: classes x window twice may be too much
                for part in output.split(1, dim=2) if windows.device == CPU else [output]:
                    part.copy_(part.sigmoid() if windows.sigmoid else part.softmax(dim=1))
            total = output if total is None else total.add_(output)
    assert total is not None  # noqa: S101 - there is always the empty flip
    return total.div_(len(flips)) if len(flips) > 1 else total
