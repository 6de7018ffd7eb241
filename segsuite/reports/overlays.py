"""Pictures of a case: three axial slices with the outlines of prediction and reference."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from segsuite.volumes.grid import Grid, network_grid, resample
from segsuite.volumes.reading import image_ending, read_labels, read_volume
from segsuite.volumes.writing import side_volume

__all__ = ["as_data_uri", "overlay_figure", "side_maps"]

COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00")
"""Okabe and Ito's palette, told apart with any colour vision."""
N_SLICES = 3
mpl.rcParams["svg.hashsalt"] = "segsuite"


def overlay_figure(image: Path | None, predicted: Path | None, reference: Path | None) -> Figure:
    """Axial slices through the thickest parts of the mask: prediction solid, reference dashed; maps beside the mask below.

    Args:
        image: The image; ``None``: outlines on black.
        predicted: Mask, or ``None``.
        reference: Mask on the same grid, or ``None``; at least one of both masks or the image must be there.

    Returns:
        A matplotlib figure; close it by dropping it.
    """
    masks = [None if path is None else _canonical(path) for path in (predicted, reference)]
    grey, aspect = _grey(image, masks)
    shown = masks[1] if masks[1] is not None and masks[1].any() else masks[0]
    slices = _chosen_slices(shown, grey.shape[2])
    window = _window(masks, grey.shape)
    maps = [] if predicted is None else side_maps(predicted)
    figure = Figure(figsize=(2.6 * N_SLICES, 2.8 * (1 + len(maps))), layout="constrained")
    rows = figure.subplots(1 + len(maps), N_SLICES, squeeze=False)
    for axes, k in zip(rows[0], slices, strict=True):
        _show_grey(axes, grey[(*window, k)], aspect)
        for mask, style in ((masks[1], "dashed"), (masks[0], "solid")):
            if mask is not None:
                _outline(axes, mask[(*window, k)], style)
        axes.set_title(f"slice {k + 1} of {grey.shape[2]}", fontsize=8)
    for (name, path), row in zip(maps, rows[1:], strict=True):
        values, _ = _on_canonical_axes(path)
        top = _top_of(values)
        for axes, k in zip(row, slices, strict=True):
            _show_grey(axes, grey[(*window, k)], aspect)
            heat = axes.imshow(values[(*window, k)].T, cmap="inferno", origin="lower", aspect=aspect, alpha=0.6, vmin=0, vmax=top)
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
    start = side_volume(mask, "map_").name.removesuffix(image_ending(mask))
    found = sorted(path for path in mask.parent.glob("*_map_*") if path.name.startswith(start))
    return [(path.name.removeprefix(start).removesuffix(image_ending(path)).replace("_", " "), path) for path in found]


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


def _grey(image: Path | None, masks: list[NDArray[Any] | None]) -> tuple[NDArray[np.float32], float]:
    if image is None or not image.exists():
        known = next(mask for mask in masks if mask is not None)
        return np.zeros(known.shape, dtype=np.float32), 1.0
    grey, grid = _on_canonical_axes(image)
    low, high = np.percentile(grey, [1, 99])
    spacing = grid.spacing_mm
    return np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32), spacing[1] / spacing[0]


def _on_canonical_axes(path: Path) -> tuple[NDArray[np.float32], Grid]:
    volume = read_volume(path)
    grid = network_grid(volume.grid, spacing_mm=None)
    return resample(volume.array[0], volume.grid, grid, interpolation="linear"), grid


def _chosen_slices(mask: NDArray[Any] | None, n: int) -> list[int]:
    if mask is None or not mask.any():
        return [n // 4, n // 2, min(n - 1, 3 * n // 4)]
    used = np.flatnonzero(mask.any(axis=(0, 1)))
    return [int(used[round(share * (len(used) - 1))]) for share in (0.25, 0.5, 0.75)]


def _window(masks: list[NDArray[Any] | None], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """In-plane view: the masks with a margin of a third of their extent, never less than a quarter of the image."""
    present = [mask for mask in masks if mask is not None and mask.any()]
    if not present:
        return slice(None), slice(None)
    either = np.logical_or.reduce([mask > 0 for mask in present])
    view = []
    for axis, others in ((0, (1, 2)), (1, (0, 2))):
        hits = np.flatnonzero(either.any(axis=others))
        margin = max((hits[-1] - hits[0]) // 3, shape[axis] // 8, 4)
        view.append(slice(max(0, int(hits[0] - margin)), int(hits[-1] + margin + 1)))
    return view[0], view[1]


def _show_grey(axes: Any, plane: NDArray[np.float32], aspect: float) -> None:
    axes.imshow(plane.T, cmap="gray", origin="lower", aspect=aspect, interpolation="nearest")
    axes.set_axis_off()


def _outline(axes: object, mask: NDArray[Any], style: str) -> None:
    for value in np.unique(mask[mask > 0]):
        colour = COLOURS[(int(value) - 1) % len(COLOURS)]
        axes.contour((mask == value).T, levels=[0.5], colors=colour, linewidths=1.1, linestyles=style)  # type: ignore[attr-defined]
