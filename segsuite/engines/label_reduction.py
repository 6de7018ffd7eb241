"""From rows of probabilities on the network's grid to labels on the image's own grid, without ever holding them all.

Each native row is interpolated from the few network rows under it, one class after the other with a running maximum, where
the rows are: of a GPU's only the labels leave it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segsuite.shapes import FloatArray, LabelMap, Size, row_order
from segsuite.volumes.grid import AxisMap, Grid, axis_maps, network_grid
from segsuite.volumes.regions import THRESHOLD, code_dtype

__all__ = ["Reduced", "reduce_to_labels"]

CODES = {1: torch.uint8, 2: torch.int16, 4: torch.int32}
"""Bytes of a number with a bit per region to what torch computes it in."""


@dataclass(frozen=True, eq=False)
class Reduced:
    """Network output on the image's own grid.

    Attributes:
        labels: Class indices (i, j, k); of regions a bit for each, see ``volumes.regions``.
        probabilities: (classes, i, j, k) float16, or ``None``.
        extra: (extra outputs, i, j, k) float16.
    """

    labels: LabelMap
    probabilities: NDArray[np.float16] | None
    extra: NDArray[np.float16]


def reduce_to_labels(
    rows: Callable[[slice], Iterator[Tensor | FloatArray]],
    network: Grid,
    native: Grid,
    *,
    axis: int = 0,
    parts: Sequence[slice] | None = None,
    keep_probabilities: bool = False,
    n_extra: int = 0,
    regions: bool = False,
) -> Reduced:
    """Labels on the native grid: probabilities are interpolated linearly, then the largest wins, or each decides by itself.

    Args:
        rows: Columns to outputs (classes and extra, rows, columns, third axis) on ``network``, in order of the rows, as
            ``predict_rows`` yields them.
        network: From ``volumes.grid.network_grid(native, ...)``.
        native: The image's own grid.
        axis: Of ``network``, along which the rows come.
        parts: Columns of the axis across the rows that come together, without gaps; ``None``: all at once.
        keep_probabilities: Also return them on the native grid (classes x volume in memory).
        n_extra: Outputs after the classes that are interpolated and kept but take no part in the decision.
        regions: The outputs are regions: a voxel is in each whose probability is at least one half.

    Returns:
        Labels, probabilities if asked for, extra outputs.
    """
    canonical = network_grid(native, spacing_mm=None).reordered(row_order(axis))
    maps = axis_maps(network.reordered(row_order(axis)), canonical)
    back = axis_maps(canonical, native)
    if maps is None or back is None:
        raise ValueError(f"The network's grid must share its axes with the native one, got {network} and {native}.")
    first, second, third = maps
    result = _Result(canonical.shape, keep_probabilities, n_extra, regions)
    for columns, part, across in _parts(second, parts or [slice(0, network.shape[row_order(axis)[1]])]):
        reduced = _Rows((first, across, third), result, part)
        for outputs in rows(columns):
            reduced.add(outputs)
        reduced.finish()
    labels, kept, extra = result.arrays()
    return Reduced(_to_native(labels, back), None if kept is None else _to_native(kept, back), _to_native(extra, back))


def _parts(across: AxisMap, parts: Sequence[slice]) -> Iterator[tuple[slice, slice, AxisMap]]:
    """Source columns, the target columns that they decide, and the map between them; together all target columns."""
    low, high = _reach(across)
    start = 0
    for part in parts:
        stop = int(np.searchsorted(low, part.stop, side="left"))
        if stop == start:
            continue
        columns = slice(int(low[start]), int(high[start:stop].max()) + 1)
        weights = None if across.weights is None else across.weights[start:stop, columns]
        coordinates = across.coordinates[start:stop] - columns.start
        yield columns, slice(start, stop), replace(across, coordinates=coordinates, weights=weights)
        start = stop


def _reach(entry: AxisMap) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first and the last source index under each target index."""
    if entry.weights is None:
        at = np.round(entry.coordinates).astype(np.intp)
        return at, at
    used = entry.weights > 0
    return used.argmax(axis=1), used.shape[1] - 1 - used[:, ::-1].argmax(axis=1)


class _Result:
    """The arrays that all parts write into; labels come with the first outputs, which tell how many classes there are."""

    def __init__(self, shape: Size, keep: bool, n_extra: int, regions: bool) -> None:
        self.shape, self.keep, self.n_extra, self.regions = shape, keep, n_extra, regions
        self.labels: Tensor | None = None
        self.kept: NDArray[np.float16] | None = None
        self.extra: NDArray[np.float16] = np.zeros((n_extra, *shape), dtype=np.float16)

    def open(self, n_classes: int, device: torch.device) -> Tensor:
        if self.labels is None:
            dtype = torch.uint8 if n_classes <= 256 else torch.int16  # torch computes little in uint16
            if self.regions:
                dtype = CODES[code_dtype(n_classes).itemsize]
            self.labels = torch.zeros(self.shape, dtype=dtype, device=device)
            self.kept = np.zeros((n_classes, *self.shape), dtype=np.float16) if self.keep else None
        return self.labels

    def arrays(self) -> tuple[LabelMap, NDArray[np.float16] | None, NDArray[np.float16]]:
        if self.labels is None:
            raise ValueError("All rows of the volume must come, got none.")
        labels = self.labels.cpu().numpy()
        return labels.view(np.uint16) if labels.dtype == np.int16 else labels, self.kept, self.extra


class _Rows:
    """Collects network rows and emits canonical native rows as soon as all rows under them are there."""

    def __init__(self, maps: tuple[AxisMap, AxisMap, AxisMap], result: _Result, part: slice) -> None:
        self.maps, self.result, self.part = maps, result, part
        self.weights: list[Tensor | None] = []
        self.low, self.high = _reach(maps[0])
        self.pending: Tensor | None = None
        self.first = 0
        self.n_done, self.n_out = 0, result.shape[0]

    def add(self, outputs: Tensor | FloatArray) -> None:
        rows = torch.as_tensor(outputs)
        if self.pending is None:
            self.weights = [None if entry.weights is None else torch.as_tensor(entry.weights).to(rows) for entry in self.maps]
        self.pending = rows if self.pending is None else torch.cat([self.pending, rows], dim=1)
        end = self.first + self.pending.shape[1]
        ready = self.n_done
        while ready < self.n_out and self.high[ready] < end:
            ready += 1
        if ready == self.n_done:
            return
        self._emit(self.n_done, ready)
        self.n_done = ready
        needed = int(self.low[ready]) if ready < self.n_out else end
        self.pending = self.pending[:, needed - self.first :].clone()
        self.first = needed

    def finish(self) -> None:
        if self.n_done < self.n_out:
            raise ValueError(f"All rows of the volume must come, got {self.n_done} of {self.n_out} rows.")

    def _emit(self, start: int, stop: int) -> None:
        assert self.pending is not None  # noqa: S101 - only called with rows at hand
        result, at = self.result, (slice(start, stop), self.part)
        n_classes = len(self.pending) - result.n_extra
        labels = result.open(n_classes, self.pending.device)[at]
        best = torch.full(labels.shape, -1.0, device=self.pending.device)
        for label, probability in enumerate(self.pending):
            moved = self._interpolate(probability, start, stop)
            if label >= n_classes:
                result.extra[(label - n_classes, *at)] = moved.cpu().numpy()
                continue
            if result.regions:
                labels.add_((moved >= THRESHOLD).to(labels.dtype), alpha=1 << label)
            else:
                labels.masked_fill_(moved > best, label)
                torch.maximum(best, moved, out=best)
            if result.kept is not None:
                result.kept[(label, *at)] = moved.cpu().numpy()

    def _interpolate(self, probability: Tensor, start: int, stop: int) -> Tensor:
        first, second, third = self.weights
        if first is None:
            rows = probability[torch.as_tensor(self.low[start:stop] - self.first)]
        else:
            rows = torch.tensordot(first[start:stop, self.first : self.first + len(probability)], probability, dims=([1], [0]))
        if second is not None:
            rows = second @ rows
        return rows if third is None else rows @ third.T


def _to_native(array: NDArray[Any], back: tuple[AxisMap, AxisMap, AxisMap]) -> NDArray[Any]:
    lead = array.ndim - 3
    result = np.transpose(array, (*range(lead), *(lead + entry.source_axis for entry in back)))
    for axis, entry in enumerate(back):
        if entry.coordinates[0] > entry.coordinates[-1]:
            result = np.flip(result, axis=lead + axis)
    return np.ascontiguousarray(result)
