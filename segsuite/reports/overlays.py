"""Pictures of a case in three planes, with the outlines of prediction and reference."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from segsuite.shapes import Spacing
from segsuite.volumes.formats.endings import without_ending
from segsuite.volumes.grid import Grid, network_grid, resample
from segsuite.volumes.reading import read_labels, read_volume
from segsuite.volumes.writing import is_side_volume, side_volume

__all__ = ["as_data_uri", "overlay_figure", "side_maps"]

COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00")
"""Okabe and Ito's palette, told apart with any colour vision."""
AXIAL_SHARES = (0.2, 0.5, 0.8)
"""Where axial slices lie between the first and the last that the mask touches."""
FIRST_WIDTH_INCHES, TITLE_INCHES = 2.6, 0.3
PLANES = {0: "sagittal", 1: "coronal", 2: "axial"}
mpl.rcParams["svg.hashsalt"] = "segsuite"


def overlay_figure(image: Path | None, predicted: Path | None, reference: Path | None) -> Figure:
    """Three axial slices, a coronal and a sagittal one: prediction solid, reference dashed; maps beside the mask below.

    Args:
        image: The image; ``None``: outlines on black.
        predicted: Mask, or ``None``.
        reference: Mask on the same grid, or ``None``; at least one of both masks or the image must be there.

    Returns:
        A matplotlib figure; close it by dropping it.
    """
    masks = [None if path is None else _canonical(path) for path in (predicted, reference)]
    grey, spacing = _grey(image, masks)
    shown = masks[1] if masks[1] is not None and masks[1].any() else masks[0]
    views = _views(shown, grey.shape)
    window = _window(masks, grey.shape)
    maps = [] if predicted is None else side_maps(predicted)
    widths = [_extent_mm(window, spacing, axis) for axis, _ in views]
    height = max(tall for _, tall in widths)
    inches = FIRST_WIDTH_INCHES / widths[0][0]
    size = inches * sum(wide for wide, _ in widths), (inches * height + TITLE_INCHES) * (1 + len(maps))
    figure = Figure(figsize=size, layout="constrained")
    rows = figure.subplots(1 + len(maps), len(views), squeeze=False, width_ratios=[wide for wide, _ in widths])
    for axes, view in zip(rows[0], views, strict=True):
        _show_grey(axes, grey, view, window, spacing, height)
        for mask, style in ((masks[1], "dashed"), (masks[0], "solid")):
            if mask is not None:
                _outline(axes, _plane(mask, view, window), style)
        axes.set_title(f"{PLANES[view[0]]} {view[1] + 1} of {grey.shape[view[0]]}", fontsize=8)
    for (name, path), row in zip(maps, rows[1:], strict=True):
        values, _ = _on_canonical_axes(path)
        top = _top_of(values)
        for axes, view in zip(row, views, strict=True):
            aspect = _show_grey(axes, grey, view, window, spacing, height)
            heat = axes.imshow(
                _plane(values, view, window).T, cmap="inferno", origin="lower", aspect=aspect, alpha=0.6, vmin=0, vmax=top
            )
        row[0].set_title(name, fontsize=8, loc="left")
        figure.colorbar(heat, ax=list(row), shrink=0.8)
    return figure


def side_maps(mask: Path) -> list[tuple[str, Path]]:
    """Maps that lie beside a mask, such as its uncertainty.

    Args:
        mask: The mask's file.

    Returns:
        Name and file, sorted.
    """
    start = without_ending(side_volume(mask, "map_").name)
    found = sorted(path for path in mask.parent.glob("*_map_*") if path.name.startswith(start) and is_side_volume(path))
    return [(without_ending(path.name.removeprefix(start)).replace("_", " "), path) for path in found]


def as_data_uri(figure: Figure, *, dpi: int = 110) -> str:
    """A figure as a PNG inside a ``data:`` address, for a page that needs no other file.

    Args:
        figure: The figure.
        dpi: Dots per inch.

    Returns:
        ``data:image/png;base64,...``
    """
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _top_of(values: NDArray[np.float32]) -> float:
    """Where a map's colours end: 1 for shares and probabilities, else its largest values without the rarest."""
    if values.min() >= 0 and values.max() <= 1:
        return 1.0
    return max(float(np.percentile(values, 99.9)), 1e-9)


def _canonical(path: Path) -> NDArray[Any]:
    volume = read_labels(path)
    return resample(volume.labels, volume.grid, network_grid(volume.grid, spacing_mm=None), interpolation="nearest")


def _grey(image: Path | None, masks: list[NDArray[Any] | None]) -> tuple[NDArray[np.float32], Spacing]:
    if image is None or not image.exists():
        known = next(mask for mask in masks if mask is not None)
        return np.zeros(known.shape, dtype=np.float32), (1.0, 1.0, 1.0)
    grey, grid = _on_canonical_axes(image)
    low, high = np.percentile(grey, [1, 99])
    return np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32), grid.spacing_mm


def _on_canonical_axes(path: Path) -> tuple[NDArray[np.float32], Grid]:
    volume = read_volume(path)
    grid = network_grid(volume.grid, spacing_mm=None)
    return resample(volume.array[0], volume.grid, grid, interpolation="linear"), grid


def _views(mask: NDArray[Any] | None, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Axis and index of every picture."""
    if mask is None or not mask.any():
        return [(2, round(share * (shape[2] - 1))) for share in AXIAL_SHARES] + [(1, shape[1] // 2), (0, shape[0] // 2)]
    used = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    axial = [(2, int(used[2][round(share * (len(used[2]) - 1))])) for share in AXIAL_SHARES]
    return [*axial, *((axis, int(used[axis][len(used[axis]) // 2])) for axis in (1, 0))]


def _window(masks: list[NDArray[Any] | None], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part that is shown: the masks with a margin of a third of their extent, never less than a quarter of the image."""
    present = [mask for mask in masks if mask is not None and mask.any()]
    if not present:
        return tuple(slice(0, size) for size in shape)
    either = np.logical_or.reduce([mask > 0 for mask in present])
    view = []
    for axis in range(3):
        hits = np.flatnonzero(either.any(axis=tuple({0, 1, 2} - {axis})))
        margin = max((hits[-1] - hits[0]) // 3, shape[axis] // 8, 2)
        view.append(slice(max(0, int(hits[0] - margin)), min(shape[axis], int(hits[-1] + margin + 1))))
    return tuple(view)


def _plane(volume: NDArray[Any], view: tuple[int, int], window: tuple[slice, ...]) -> NDArray[Any]:
    """The two axes that are left, in ascending order: the first runs to the right, the second upwards."""
    axis, index = view
    chosen: list[Any] = list(window)
    chosen[axis] = index
    plane: NDArray[Any] = volume[tuple(chosen)]
    return plane


def _extent_mm(window: tuple[slice, ...], spacing: Spacing, axis: int) -> tuple[float, float]:
    """Width and height of a picture."""
    sizes = [part.stop - part.start for part in window]
    wide, tall = (sizes[other] * spacing[other] for other in sorted({0, 1, 2} - {axis}))
    return wide, tall


def _show_grey(
    axes: Any,
    grey: NDArray[np.float32],
    view: tuple[int, int],
    window: tuple[slice, ...],
    spacing: Spacing,
    height_mm: float,
) -> float:
    """Draw the plane in the middle of a frame of a given height; returns its aspect."""
    plane = _plane(grey, view, window)
    across, up = (spacing[axis] for axis in sorted({0, 1, 2} - {view[0]}))
    axes.imshow(plane.T, cmap="gray", origin="lower", aspect=up / across, interpolation="nearest", vmin=0, vmax=1)
    axes.set_axis_off()
    missing = (height_mm / up - plane.shape[1]) / 2
    axes.set_ylim(-0.5 - max(missing, 0), plane.shape[1] - 0.5 + max(missing, 0))
    return up / across


def _outline(axes: object, mask: NDArray[Any], style: str) -> None:
    for value in np.unique(mask[mask > 0]):
        colour = COLOURS[(int(value) - 1) % len(COLOURS)]
        axes.contour((mask == value).T, levels=[0.5], colors=colour, linewidths=1.1, linestyles=style)  # type: ignore[attr-defined]
