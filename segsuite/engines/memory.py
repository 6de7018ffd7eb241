"""What predicting a case will take, before it is begun: memory by part from the header, the network's own by one real pass."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import psutil
import torch

from segsuite.data.transforms import Preprocessing, prepared_grid
from segsuite.engines.case_sizes import MOST_VOXELS_BESIDE
from segsuite.engines.inference import PART_VALUES, predict_rows, window_starts
from segsuite.engines.model_predictor import ModelPredictor
from segsuite.engines.segmentation import row_axis
from segsuite.shapes import row_order
from segsuite.volumes.grid import Grid
from segsuite.volumes.orders import order_to_upright
from segsuite.volumes.regions import code_dtype

__all__ = ["CaseForecast", "WindowCost", "forecast_case", "measure_window"]

SAMPLE_SECONDS = 0.001
FLOAT = 4
INTERMEDIATES = 2
"""Copies that resampling holds of an image on its way to the network's grid."""


@dataclass(frozen=True)
class WindowCost:
    """What one pass of the network takes here.

    Attributes:
        seconds: Of one pass.
        n_bytes: That it adds at its peak, on the device.
        resident_bytes: Of the process before: libraries and weights.
    """

    seconds: float
    n_bytes: int
    resident_bytes: int


@dataclass(frozen=True)
class CaseForecast:
    """What one case will take.

    Attributes:
        parts: Name to bytes, of what is in memory together at the peak.
        n_passes: Of the network.
        seconds: Of the network alone.
    """

    parts: dict[str, int]
    n_passes: int
    seconds: float

    @property
    def peak_bytes(self) -> int:
        """Of main memory."""
        return sum(self.parts.values())


def measure_window(predictor: ModelPredictor) -> WindowCost:
    """Send one batch of windows of noise through the network, after a first one that warms it up.

    Args:
        predictor: An open model; of an ensemble, its first member.

    Returns:
        Seconds and bytes.
    """
    windows = replace(predictor.windows(predictor.members[0]), overlap=0.0)
    forward = predictor.first_forward()
    i, j, k = windows.patch_size
    shape = (i, j * windows.windows_per_pass, k)
    noise = np.random.default_rng(0).normal(size=(predictor.n_inputs, *shape)).astype(np.float32)
    before = psutil.Process().memory_info().rss
    with _peak() as peak:
        list(predict_rows(forward, noise, windows))
    started = time.monotonic()
    list(predict_rows(forward, noise, windows))
    seconds = time.monotonic() - started
    held, dtype = windows.held_rows(shape)
    own = math.prod(held) * dtype.itemsize + noise.nbytes
    used = torch.cuda.max_memory_allocated(windows.device) if windows.device.type == "cuda" else peak[0] - before - own
    return WindowCost(seconds, max(used, 0), before)


def forecast_case(predictor: ModelPredictor, native: Grid, cost: WindowCost, *, bytes_per_voxel: int = 2) -> CaseForecast:
    """Memory and seconds of one case.

    Args:
        predictor: An open model.
        native: The image's own grid, from its header.
        cost: From ``measure_window``.
        bytes_per_voxel: As the file stores it.

    Returns:
        The parts at the highest of three moments: reading, resampling, running the network.
    """
    windows = predictor.windows(predictor.members[0])
    how: Preprocessing = predictor.preprocessing
    grid = prepared_grid(native, how)
    n_native, n_network = math.prod(native.shape), math.prod(grid.shape)
    volume = FLOAT * n_native * predictor.n_channels
    image = FLOAT * n_network * predictor.n_inputs
    axis, across, last = row_order(row_axis(grid.shape))
    parts = windows.parts(grid.shape, axis=axis)
    sizes = [windows.held_rows(grid.shape, axis=axis, columns=part) for part in parts]
    held, dtype = max(sizes, key=lambda size: math.prod(size[0]) * size[1].itemsize)
    label = n_native * (1 if max(predictor.class_labels) < 256 else 2)
    if predictor.regions is not None:  # a bit per region, and the map that is written from them
        label += n_native * code_dtype(len(predictor.regions)).itemsize
    plane = math.prod(native.shape) // max(native.shape)
    released = n_native * predictor.n_channels > MOST_VOXELS_BESIDE
    turned = {} if released or order_to_upright(native).is_identity else {"volume in RAS+ order": volume}
    resampling = min(INTERMEDIATES, 1 + (n_network != n_native)) * volume
    moments = [
        {"volume": volume, "stored voxels": 2 * bytes_per_voxel * n_native},
        {"volume": volume, **turned, "resampling": resampling, "prepared image": image},
        {
            "volume": 0 if released else volume,
            "prepared image": image,
            "held rows": math.prod(held) * dtype.itemsize,
            "rows that leave": FLOAT * 3 * max(PART_VALUES, held[0] * held[2] * held[3]) + FLOAT * plane,
            "labels": label,
            "network": cost.n_bytes if windows.device.type != "cuda" else 0,
        },
    ]
    peak = max(moments, key=lambda parts: sum(parts.values()))
    starts = [len(window_starts(max(n, p), p, windows.overlap)) for n, p in zip(grid.shape, windows.patch_size, strict=True)]
    planes = [len(windows.starts_across(grid.shape, across, part)) * starts[last] for part in parts]
    n_passes = starts[axis] * sum(math.ceil(n / windows.windows_per_pass) for n in planes) * len(predictor.members)
    return CaseForecast({"process": cost.resident_bytes, **peak}, n_passes, n_passes * cost.seconds)


@contextmanager
def _peak() -> Iterator[list[int]]:
    """The highest resident memory while the block runs, as the only item of a list."""
    process, highest, over = psutil.Process(), [0], threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_SECONDS):
            highest[0] = max(highest[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield highest
    finally:
        over.set()
        watcher.join()
