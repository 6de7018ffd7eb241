"""Any image file or DICOM folder as a volume: what a file is, its content says; its name only helps where that is silent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.errors import GridError, VolumeError
from segsuite.shapes import Affine, Image
from segsuite.volumes.dicom_files import may_be_slice
from segsuite.volumes.formats.endings import NIFTI_ENDINGS, image_ending, is_image
from segsuite.volumes.formats.opening import described
from segsuite.volumes.grid import Grid
from segsuite.volumes.label_values import whole_labels
from segsuite.volumes.orders import reordered
from segsuite.volumes.segments import Segment, join_layers, segments_of
from segsuite.volumes.volume import Volume

__all__ = [
    "NIFTI_ENDINGS",
    "holds_fractions",
    "image_ending",
    "is_image",
    "read_channels",
    "read_grid",
    "read_labels",
    "read_segment_names",
    "read_segments",
    "read_stored",
    "read_volume",
    "stored_shape",
]


def read_volume(path: Path, *, n_channels: int = 1, series_uid: str | None = None) -> Volume:
    """One image from a NIfTI, NRRD or MHA file, or from a folder with a DICOM series.

    Args:
        path: File, or folder with the slices of a series, or one of its files.
        n_channels: How many channels the file must hold. A 4-D file is accepted only if its fourth axis is this long.
        series_uid: For a folder with several series: which one.

    Returns:
        Intensities (channels, i, j, k), float32, with slope and intercept applied; the affine in RAS+ mm.

    Raises:
        FileNotFoundError: Nothing is there.
        VolumeError: Unreadable, truncated, or not one image of ``n_channels``.
        GridError: Zero spacing or a broken affine.
    """
    if _is_series(path):
        from segsuite.volumes.dicom import read_series  # pydicom takes a third of a second

        stack = read_series(path, series_uid=series_uid)
        _require_channels(stack.voxels.shape, path, n_channels)
        channels = _as_channels(stack.voxels)
        return Volume(channels, _grid(stack.voxels.shape[:3], stack.affine, path), path, notes=stack.notes)
    with described(path) as found:
        _require_channels(found.shape, path, n_channels)
        grid = _grid(found.shape[:3], found.affine, path)
        channels = _as_channels(found.voxels()).astype(np.float32, copy=False)
    return Volume(channels, grid, path, found.header, found.notes, found.sides_known)


def read_stored(path: Path) -> tuple[NDArray[Any], Grid]:
    """One 3-D image in the number format of its file: for large volumes of which nothing is computed.

    Args:
        path: NIfTI, NRRD or MHA.

    Returns:
        (i, j, k), and where the voxels lie.

    Raises:
        FileNotFoundError: Nothing is there.
        VolumeError: Unreadable, truncated, or not one image.
        GridError: Zero spacing or a broken affine.
    """
    with described(path) as found:
        _require_channels(found.shape, path, 1)
        return _as_channels(found.voxels())[0], _grid(found.shape[:3], found.affine, path)


def read_channels(paths: Sequence[Path], *, series_uid: str | None = None, n_channels: int | None = None) -> Volume:
    """One image whose channels come from one file each (or from one 4-D file).

    Args:
        paths: One path for all channels, or one per channel, all on one grid; in the storage order of the first.
        series_uid: As in ``read_volume``.
        n_channels: How many channels must come; ``None``: as many as there are paths.

    Returns:
        The channels stacked; grid and header of the first.

    Raises:
        GridError: The channels lie on different grids.
        VolumeError: Another number of channels than declared.
    """
    wanted = len(paths) if n_channels is None else n_channels
    if len(paths) == 1:
        return read_volume(paths[0], n_channels=wanted, series_uid=series_uid)
    if len(paths) != wanted:
        raise VolumeError(f"{wanted} channels must come, got {len(paths)} files: {', '.join(map(str, paths))}.")
    volumes = [read_volume(path) for path in paths]
    first = volumes[0]
    alike = [reordered(other, first.grid, names=(str(first.path), str(other.path))) for other in volumes]
    notes = tuple(dict.fromkeys(note for volume in volumes for note in volume.notes))
    sides_known = all(volume.sides_known for volume in volumes)
    return Volume(np.concatenate([volume.array for volume in alike]), first.grid, first.path, first.header, notes, sides_known)


def read_labels(path: Path, *, mapping: dict[int, int] | None = None, segment_order: Sequence[str] = ()) -> Volume:
    """A label map with its integers as stored, without the rounding dust of float files; a Slicer segmentation as one map.

    Args:
        path: File with one label map, or with the layers of a segmentation.
        mapping: Source value to target value, applied after reading; values that are not named stay.
        segment_order: Names of a segmentation's structures that may overlap, the one that wins last.

    Returns:
        Integers (1, i, j, k), uint8 where they fit, else uint16.

    Raises:
        FileNotFoundError: Nothing is there.
        VolumeError: Unreadable, not 3-D, overlapping segments, or values that are no whole numbers in [0, 65535].
        GridError: Zero spacing or a broken affine.
    """
    with described(path) as found:
        segments = segments_of(found.segments, path)
        layered = len(found.shape) == 4 and (bool(segments) or image_ending(path) == ".seg.nrrd")
        _require_channels(found.shape, path, found.shape[3] if layered else 1)
        grid = _grid(found.shape[:3], found.affine, path)
        raw = found.voxels()
    if layered or any(one.value != one.stored_value for one in segments):
        layers = whole_labels(raw if raw.ndim == 4 else raw[..., None], path)
        raw = join_layers(layers, segments, path, order=segment_order)
    labels = whole_labels(_as_channels(raw), path, mapping=mapping)
    return Volume(labels, grid, path, found.header, found.notes, found.sides_known)


def read_segments(path: Path) -> list[Segment]:
    """The structures that a file itself names, with the integers that ``read_labels`` gives them; from the header alone.

    Args:
        path: A label map; only Slicer segmentations (``.seg.nrrd``) name structures.

    Returns:
        In the order of the file; empty where it names none.

    Raises:
        FileNotFoundError: Nothing is there.
        VolumeError: Unreadable.
    """
    with described(path) as found:
        return segments_of(found.segments, path)


def read_segment_names(path: Path) -> dict[int, str]:
    """``read_segments`` as a table.

    Args:
        path: A label map.

    Returns:
        Integer to name, in order of the integers; empty where the file names none.

    Raises:
        FileNotFoundError: Nothing is there.
        VolumeError: Unreadable.
    """
    return {one.value: one.name for one in sorted(read_segments(path), key=lambda one: one.value)}


def stored_shape(path: Path) -> tuple[int, ...]:
    """The axes of a file as its header has them, trailing ones of a single voxel left out beyond the third.

    Args:
        path: As in ``read_stored``.

    Returns:
        For example (128, 128, 40) or (64, 64, 30, 200).

    Raises:
        FileNotFoundError: Nothing is there.
        VolumeError: Unreadable.
        GridError: A placement that cannot be.
    """
    with described(path) as found:
        axes = list(found.shape)
    while len(axes) > 3 and axes[-1] == 1:
        axes.pop()
    return tuple(axes)


def holds_fractions(path: Path) -> bool:
    """Whether a file's number format is a float, from the header alone.

    Args:
        path: As in ``read_stored``.

    Raises:
        FileNotFoundError: Nothing is there.
        VolumeError: Unreadable.
        GridError: A placement that cannot be.
    """
    with described(path) as found:
        return found.dtype.kind == "f"


def read_grid(path: Path) -> Grid:
    """Where an image's voxels lie, from the header alone where the format allows it.

    Args:
        path: As in ``read_volume``.

    Returns:
        Shape (i, j, k) and affine.

    Raises:
        FileNotFoundError: Nothing is there.
        VolumeError: Unreadable.
        GridError: Zero spacing or a broken affine.
    """
    if _is_series(path):
        from segsuite.volumes.dicom import grid_of_series

        return _grid(*grid_of_series(path), path)
    with described(path) as found:
        return _grid(found.shape[:3], found.affine, path)


def _is_series(path: Path) -> bool:
    return path.is_dir() or (may_be_slice(path, image_ending(path)))


def _require_channels(shape: tuple[int, ...], path: Path, n_channels: int) -> None:
    """Check that a file holds one 3-D image of so many channels."""
    axes = list(shape)
    while len(axes) > 3 and axes[-1] == 1:
        axes.pop()
    if len(axes) < 3:
        raise VolumeError(f"{path} must be a 3-D image, got {len(axes)}-D of shape {shape}. Stack the slices first.")
    if len(axes) > 4:
        raise VolumeError(
            f"{path} must be one 3-D image, got {len(shape)}-D of shape {shape}: a vector (or more) in each voxel, such as a "
            "displacement field. Save what shall be segmented as an image of its own."
        )
    found = axes[3] if len(axes) == 4 else 1
    if found != n_channels and found == 1:
        raise VolumeError(
            f"{path} must be one 3-D image with {n_channels} channels, got one of shape {shape}. Channels that are files of "
            f"their own are called NAME_0000 to NAME_{n_channels - 1:04d}, or are listed in a manifest."
        )
    if found != n_channels:
        raise VolumeError(
            f"{path} must be one 3-D image{f' with {n_channels} channels' if n_channels > 1 else ''}, got "
            f"{len(shape)}-D of shape {shape}. Split the time points or channels into files, or declare "
            f"`channels` in the manifest if they are input channels."
        )


def _as_channels(raw: NDArray[Any]) -> Image:
    """(channels, i, j, k), contiguous and writable, of what ``_require_channels`` let through."""
    while raw.ndim > 3 and raw.shape[-1] == 1:
        raw = raw[..., 0]
    moved = np.moveaxis(raw, 3, 0) if raw.ndim == 4 else raw[None]
    return np.ascontiguousarray(moved)


def _grid(shape: tuple[int, ...], affine: Affine, path: Path) -> Grid:
    try:
        return Grid(shape, affine)
    except GridError as error:
        raise GridError(f"{path}: {error}") from error
