"""From rows of probabilities on the network's grid to labels on the image's own grid, without ever holding them all.

Each native row is interpolated from the few network rows under it, one class after the other with a running maximum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.shapes import FloatArray, LabelMap
from segsuite.volumes.grid import AxisMap, Grid, axis_maps, network_grid

__all__ = ["Reduced", "reduce_to_labels"]


@dataclass(frozen=True, eq=False)
class Reduced:
    """Network output on the image's own grid.

    Attributes:
        labels: Class indices (i, j, k).
        probabilities: (classes, i, j, k) float16, or ``None``.
        extra: (extra outputs, i, j, k) float16.
    """

    labels: LabelMap
    probabilities: NDArray[np.float16] | None
    extra: NDArray[np.float16]


def reduce_to_labels(
    rows: Iterator[FloatArray], network: Grid, native: Grid, *, keep_probabilities: bool = False, n_extra: int = 0
) -> Reduced:
    """Labels on the native grid: probabilities are interpolated linearly, then the largest wins.

    Args:
        rows: Outputs (classes and extra, rows, j, k) on ``network``, in order, as ``predict_rows`` yields them.
        network: From ``volumes.grid.network_grid(native, ...)``.
        native: The image's own grid.
        keep_probabilities: Also return them on the native grid (classes x volume in memory).
        n_extra: Outputs after the classes that are interpolated and kept but take no part in the decision.

    Returns:
        Labels, probabilities if asked for, extra outputs.
    """
    canonical = network_grid(native, spacing_mm=None)
    maps = axis_maps(network, canonical)
    back = axis_maps(canonical, native)
    if maps is None or back is None:
        raise ValueError(f"The network's grid must share its axes with the native one, got {network} and {native}.")
    reduced = _Rows(maps, canonical, keep_probabilities, n_extra)
    for part in rows:
        reduced.add(part)
    labels, kept, extra = reduced.finish()
    return Reduced(_to_native(labels, back), None if kept is None else _to_native(kept, back), _to_native(extra, back))


class _Rows:
    """Collects network rows and emits canonical native rows as soon as all rows under them are there."""

    def __init__(self, maps: tuple[AxisMap, AxisMap, AxisMap], canonical: Grid, keep: bool, n_extra: int) -> None:
        self.maps, self.canonical, self.keep, self.n_extra = maps, canonical, keep, n_extra
        n_out = canonical.shape[0]
        if maps[0].weights is None:
            at = np.round(maps[0].coordinates).astype(int)
            self.low, self.high = at, at
        else:
            used = maps[0].weights > 0
            self.low = used.argmax(axis=1)
            self.high = used.shape[1] - 1 - used[:, ::-1].argmax(axis=1)
        self.pending: FloatArray | None = None
        self.first = 0
        self.n_done, self.n_out = 0, n_out
        self.labels: NDArray[np.uint16] | None = None
        self.kept: NDArray[np.float16] | None = None
        self.extra: NDArray[np.float16] = np.zeros((n_extra, *canonical.shape), dtype=np.float16)

    def add(self, rows: FloatArray) -> None:
        self.pending = rows if self.pending is None else np.concatenate([self.pending, rows], axis=1)
        end = self.first + self.pending.shape[1]
        ready = self.n_done
        while ready < self.n_out and self.high[ready] < end:
            ready += 1
        if ready == self.n_done:
            return
        self._emit(self.n_done, ready)
        self.n_done = ready
        needed = int(self.low[ready]) if ready < self.n_out else end
        self.pending = self.pending[:, needed - self.first :].copy()
        self.first = needed

    def finish(self) -> tuple[LabelMap, NDArray[np.float16] | None, NDArray[np.float16]]:
        if self.n_done < self.n_out or self.labels is None:
            raise ValueError(f"All rows of the volume must come, got {self.n_done} of {self.n_out} rows.")
        return self.labels, self.kept, self.extra

    def _emit(self, start: int, stop: int) -> None:
        assert self.pending is not None  # noqa: S101 - only called with rows at hand
        shape = self.canonical.shape
        n_classes = len(self.pending) - self.n_extra
        if self.labels is None:
            dtype = np.uint8 if n_classes <= 256 else np.uint16
            self.labels = np.zeros(shape, dtype=dtype)
            self.kept = np.zeros((n_classes, *shape), dtype=np.float16) if self.keep else None
        best = np.full((stop - start, *shape[1:]), -1.0, dtype=np.float32)
        for label, probability in enumerate(self.pending):
            moved = self._interpolate(probability, start, stop)
            if label >= n_classes:
                self.extra[label - n_classes, start:stop] = moved
                continue
            wins = moved > best
            self.labels[start:stop][wins] = label
            np.maximum(best, moved, out=best)
            if self.kept is not None:
                self.kept[label, start:stop] = moved

    def _interpolate(self, probability: FloatArray, start: int, stop: int) -> FloatArray:
        first, second, third = self.maps
        if first.weights is None:
            rows = probability[self.low[start:stop] - self.first]
        else:
            window = first.weights[start:stop, self.first : self.first + len(probability)]
            rows = np.tensordot(window, probability, axes=(1, 0))
        for axis, entry in ((1, second), (2, third)):
            if entry.weights is not None:
                rows = np.moveaxis(np.tensordot(entry.weights, rows, axes=(1, axis)), 0, axis)
        return np.ascontiguousarray(rows, dtype=np.float32)


def _to_native(array: NDArray[Any], back: tuple[AxisMap, AxisMap, AxisMap]) -> NDArray[Any]:
    lead = array.ndim - 3
    result = np.transpose(array, (*range(lead), *(lead + entry.source_axis for entry in back)))
    for axis, entry in enumerate(back):
        if entry.coordinates[0] > entry.coordinates[-1]:
            result = np.flip(result, axis=lead + axis)
    return np.ascontiguousarray(result)
