"""What a scan looks like from afar: voxel size, field of view, plane of its slices, shape of its histogram; all on body axes.

The same numbers for a scan however its file stores the axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segsuite.volumes.orders import order_to_upright, upright_grid
from segsuite.volumes.volume import Volume

__all__ = ["PLANES", "QUANTILES", "common_profile", "profile_distance", "profile_of"]

QUANTILES = (0.5, 5.0, 25.0, 50.0, 75.0, 95.0, 99.5)
"""Percent, of the intensities of a channel."""
SAMPLES = 200_000
THICK = 1.8
"""An axis whose voxels are this many times longer than both others is the slice axis."""
PLANES = ("sagittal", "coronal", "axial")
"""By the body axis that runs across slices: left-right, back-front, foot-head."""
DIGITS = 5


def profile_of(volume: Volume) -> dict[str, Any]:
    """Numbers of one scan.

    Args:
        volume: Intensities.

    Returns:
        ``spacing_mm`` and ``extent_mm`` along left-right, back-front, foot-head; ``plane``, empty where no axis is thick;
        ``quantiles``: per channel the intensities at ``QUANTILES``. JSON values.
    """
    grid = upright_grid(volume.grid)
    spacing = np.asarray(grid.spacing_mm)
    extent = spacing * np.asarray(grid.shape)
    return {
        "spacing_mm": [round(float(mm), DIGITS) for mm in spacing],
        "extent_mm": [round(float(mm), DIGITS - 2) for mm in extent],
        "plane": _plane(spacing),
        "quantiles": [_quantiles(channel) for channel in order_to_upright(volume.grid).applied(volume.array)],
    }


def common_profile(profiles: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What scans of one data set have in common.

    Args:
        profiles: From ``profile_of``; at least one.

    Returns:
        ``spacing_mm`` and ``extent_mm``: lowest and highest per body axis; ``planes``; ``lowest``: per channel the range of the
        lowest quantile; ``histogram``: per channel the mean of the quantiles, centred and scaled, and ``spread``: how far the
        farthest of the scans lies from it. JSON values.
    """
    return {
        "spacing_mm": _range([profile["spacing_mm"] for profile in profiles]),
        "extent_mm": _range([profile["extent_mm"] for profile in profiles]),
        "planes": sorted({profile["plane"] for profile in profiles}),
        **_histograms([profile["quantiles"] for profile in profiles]),
    }


def profile_distance(quantiles: Sequence[float], histogram: Sequence[float]) -> float:
    """How far the shape of a histogram is from a mean one, whatever its scale.

    Args:
        quantiles: Of one channel of a scan.
        histogram: Of the same channel, from ``common_profile``.

    Returns:
        Mean distance of the quantiles in units of the range that they span.
    """
    return float(np.abs(_scaled(quantiles) - np.asarray(histogram)).mean())


def _plane(spacing: Any) -> str:
    longest = int(np.argmax(spacing))
    return PLANES[longest] if spacing[longest] > THICK * np.delete(spacing, longest).max() else ""


def _quantiles(channel: Any) -> list[float]:
    """From evenly spread voxels of a channel in the body's order."""
    step = max(1, int(np.ceil((channel.size / SAMPLES) ** (1 / 3))))
    return [float(f"{value:.6g}") for value in np.percentile(channel[::step, ::step, ::step], QUANTILES)]


def _scaled(quantiles: Sequence[float]) -> Any:
    values = np.asarray(quantiles, dtype=float)
    return (values - values[len(values) // 2]) / max(values[-1] - values[0], 1e-12)


def _range(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    return [np.min(rows, axis=0).tolist(), np.max(rows, axis=0).tolist()]


def _histograms(quantiles: Sequence[Sequence[Sequence[float]]]) -> dict[str, Any]:
    lowest, means, spreads = [], [], []
    for channel in zip(*quantiles, strict=True):
        scaled = np.array([_scaled(row) for row in channel])
        mean = scaled.mean(axis=0)
        lowest.append([min(row[0] for row in channel), max(row[0] for row in channel)])
        means.append([round(float(value), DIGITS) for value in mean])
        spreads.append(round(float(np.abs(scaled - mean).mean(axis=1).max()), DIGITS))
    return {"lowest": lowest, "histogram": means, "spread": spreads}
