"""The deterministic part of the way from a file to the network: onto the network's grid, then normalised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from segsuite.errors import SettingsError, closest_hint
from segsuite.shapes import Image, LabelMap, Mask, Size, Spacing
from segsuite.volumes.cropping import bounding_box, box_without_padding, centred_window
from segsuite.volumes.grid import Grid, network_grid, resample
from segsuite.volumes.orders import order_to_upright, upright, upright_grid
from segsuite.volumes.volume import Volume

__all__ = [
    "SCHEMES",
    "Normalisation",
    "Preprocessing",
    "Region",
    "body_of",
    "normalise",
    "place_in_body",
    "prepare_image",
    "prepare_labels",
    "prepared_grid",
    "region_box",
]


Region = tuple[float | None, float | None, float | None]
"""Extent in mm along left-right, back-front, foot-head; ``None``: all of that axis."""
BODY_SHARE = 0.12
SCHEMES = ("zscore", "zscore_nonzero", "robust", "percentile", "window")
DARKEST = 0.01
"""Of the median of what is not zero, below which logarithms do not tell voxels apart."""
MOST_SAMPLED = 1_000_000
"""Voxels that threshold and quartiles are taken from, about so many; a large volume is not copied for them."""
IQR_OF_NORMAL = 1.349
"""Interquartile range of a standard normal distribution."""


@dataclass(frozen=True)
class Normalisation:
    """How one channel's intensities are scaled.

    Attributes:
        scheme: ``zscore`` over all voxels of the case; ``zscore_nonzero`` over its non-zero voxels, zeros stay zero;
            ``robust`` by median and interquartile range of the voxels above Otsu's threshold of the logarithms (the body),
            then asinh: a bright cyst or coil does not darken the rest; ``percentile`` clips to [low, high] percentiles of
            the case and maps them to [0, 1]; ``window`` clips to [low, high] intensities of the data set, subtracts
            ``mean``, divides by ``std`` (CT).
        low: Lower percentile, or lower intensity.
        high: Upper percentile, or upper intensity.
        mean: For ``window``.
        std: For ``window``.
    """

    scheme: str = "zscore"
    low: float = 0.5
    high: float = 99.5
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise SettingsError(
                f"Normalisation must be one of {SCHEMES}, got `{self.scheme}`. {closest_hint(self.scheme, SCHEMES)}"
            )
        if self.low >= self.high or self.std <= 0:
            raise SettingsError(f"Normalisation must have low < high and std > 0, got {asdict(self)}.")


@dataclass(frozen=True)
class Preprocessing:
    """What turns an image into the network's input; saved with the model, since prediction must repeat it.

    Attributes:
        spacing_mm: Voxel size along the RAS+ axes; ``None`` keeps each image's own.
        normalisation: One entry per channel.
        region_mm: The part around the field's centre that the network sees, for organs that lie there; constant planes at
            the border do not count. ``None``: everything.
        with_place: Add three channels that say where in the body each voxel lies; see ``place_in_body``.
    """

    spacing_mm: Spacing | None
    normalisation: tuple[Normalisation, ...]
    region_mm: Region | None = None
    with_place: bool = False

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        spacing = None if self.spacing_mm is None else list(self.spacing_mm)
        region = {} if self.region_mm is None else {"region_mm": list(self.region_mm)}
        place = {"with_place": True} if self.with_place else {}
        return {"spacing_mm": spacing, "normalisation": [asdict(entry) for entry in self.normalisation], **region, **place}

    @staticmethod
    def from_json(content: dict[str, Any]) -> Preprocessing:
        """The inverse of ``to_json``."""
        spacing = content["spacing_mm"]
        entries = tuple(Normalisation(**entry) for entry in content["normalisation"])
        region = content.get("region_mm")
        extent = None if region is None else (region[0], region[1], region[2])
        return Preprocessing(None if spacing is None else tuple(spacing), entries, extent, content.get("with_place", False))


def prepare_image(volume: Volume, preprocessing: Preprocessing, *, box: tuple[slice, ...] | None = None) -> tuple[Image, Grid]:
    """An image as the network sees it: the same, bit by bit, in whatever order a file stores its axes.

    Args:
        volume: Intensities (channels, i, j, k) on their own grid.
        preprocessing: Spacing and normalisation.
        box: Voxels of the volume to look at; ``None``: the region of ``preprocessing``.

    Returns:
        Normalised float32 (channels, i, j, k) on the network's grid, and that grid; with place three channels more.

    Raises:
        SettingsError: Another number of channels than normalisations.
    """
    if len(volume.array) != len(preprocessing.normalisation):
        raise SettingsError(
            f"{volume.path} must have {len(preprocessing.normalisation)} channels as in training, got {len(volume.array)}."
        )
    scan, order = upright(volume)
    inside = region_box(scan, preprocessing.region_mm) if box is None else order.applied_box(box, volume.grid.shape)
    part = scan.cropped(inside)
    grid = network_grid(part.grid, spacing_mm=preprocessing.spacing_mm)
    moved = resample(part.array, part.grid, grid, interpolation="linear")
    channels: Sequence[Any] = [
        normalise(channel, scheme) for channel, scheme in zip(moved, preprocessing.normalisation, strict=True)
    ]
    image = np.stack(channels).astype(np.float32, copy=False)
    if scan is not volume:
        to_body = order.applied_grid(volume.grid).affine @ np.linalg.inv(scan.grid.affine)
        grid = Grid(grid.shape, to_body @ grid.affine)
    return (np.concatenate([image, place_in_body(image)]) if preprocessing.with_place else image), grid


def body_of(image: Image) -> Mask:
    """Where the body is: brighter than a share of the way from the darkest voxel to the 99th percentile.

    Args:
        image: (channels, i, j, k), normalised; the first channel decides.

    Returns:
        (i, j, k); never empty.
    """
    low, high = float(image[0].min()), float(np.percentile(image[0], 99))
    return image[0] >= low + BODY_SHARE * (high - low)


def place_in_body(image: Image) -> Image:
    """How far each voxel lies from one end of the body to the other, along each axis.

    Args:
        image: (channels, i, j, k), normalised.

    Returns:
        (3, i, j, k) float32: -1 and 1 at the ends of the body's bounding box.
    """
    box = bounding_box(body_of(image))
    places = []
    for axis, part in enumerate(box):
        line = 2 * (np.arange(image.shape[axis + 1]) - part.start) / max(part.stop - 1 - part.start, 1) - 1
        shape = [1, 1, 1]
        shape[axis] = -1
        places.append(np.broadcast_to(line.reshape(shape), image.shape[1:]))
    return np.stack(places).astype(np.float32)


def region_box(volume: Volume, region_mm: Region | None) -> tuple[slice, ...]:
    """The voxels of the region around the field's centre; the same ones in whatever order a file stores its axes.

    Args:
        volume: Intensities on their own grid.
        region_mm: Extent along the body's axes; ``None``: the whole volume, with whatever pads it.

    Returns:
        One slice per array axis.
    """
    if region_mm is None:
        return tuple(slice(0, n) for n in volume.grid.shape)
    order = order_to_upright(volume.grid)
    inside = box_without_padding(order.applied(volume.array))
    return order.undone_box(_window(upright_grid(volume.grid), inside, region_mm), volume.grid.shape)


def prepared_grid(native: Grid, preprocessing: Preprocessing) -> Grid:
    """The network's grid of an image whose voxels were not read yet.

    Args:
        native: The image's own grid.
        preprocessing: Spacing and region.

    Returns:
        Shape and spacing of the grid that ``prepare_image`` gives, unless constant planes pad the image.
    """
    standing = upright_grid(native)
    whole = tuple(slice(0, n) for n in standing.shape)
    box = whole if preprocessing.region_mm is None else _window(standing, whole, preprocessing.region_mm)
    return network_grid(standing.cropped(box), spacing_mm=preprocessing.spacing_mm)


def _window(grid: Grid, inside: tuple[slice, ...], region_mm: Region) -> tuple[slice, ...]:
    """A window of the region's size around the centre of a box, within that box; on an upright grid."""
    shape: Size = tuple(part.stop - part.start for part in inside)
    size = tuple(
        n if mm is None else min(n, max(1, round(mm / voxel)))
        for n, mm, voxel in zip(shape, region_mm, grid.spacing_mm, strict=True)
    )
    window = centred_window(tuple(n // 2 for n in shape), size, shape)
    return tuple(slice(part.start + at.start, part.start + at.stop) for part, at in zip(inside, window, strict=True))


def prepare_labels(labels: Volume, grid: Grid) -> LabelMap:
    """A label map on the network's grid.

    Args:
        labels: One channel of integers on their own grid.
        grid: From ``prepare_image``.

    Returns:
        Integers (i, j, k).
    """
    return resample(labels.labels, labels.grid, grid, interpolation="label")  # type: ignore[return-value]


def normalise(channel: Any, scheme: Normalisation) -> Any:
    """Scale one channel's intensities.

    Args:
        channel: Intensities (i, j, k).
        scheme: How.

    Returns:
        float32 (i, j, k).
    """
    values = np.asarray(channel, dtype=np.float32)
    if scheme.scheme == "window":
        return (np.clip(values, scheme.low, scheme.high) - scheme.mean) / scheme.std
    if scheme.scheme == "percentile":
        low, high = np.percentile(values, [scheme.low, scheme.high])
        return (np.clip(values, low, high) - low) / max(float(high - low), 1e-8)
    if scheme.scheme == "zscore_nonzero":
        inside = values != 0
        kept = values[inside]
        return np.where(inside, (values - kept.mean()) / max(float(kept.std()), 1e-8), 0.0).astype(np.float32)
    if scheme.scheme == "robust":
        return _robust(values)
    mean, std = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    return (values - mean) / max(std, 1e-8)


def _robust(values: Any) -> Any:
    """See ``Normalisation``; the gain of the scanner does not matter."""
    from skimage.filters import threshold_otsu  # loads slowly; other schemes do without

    above = values - values.min()
    sample = above.ravel()[:: max(1, above.size // MOST_SAMPLED)]
    kept = sample[sample > 0]
    if not len(kept):
        return above
    logarithms = np.log(kept / np.median(kept) + DARKEST)
    body = kept[logarithms > threshold_otsu(logarithms)] if np.ptp(logarithms) else kept
    low, middle, high = np.percentile(body, [25, 50, 75])
    return np.arcsinh((above - middle) * (IQR_OF_NORMAL / max(float(high - low), 1e-8))).astype(np.float32)
