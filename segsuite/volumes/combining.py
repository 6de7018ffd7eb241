"""One file per structure (TotalSegmentator's folders) as one label map, and what to do where two structures claim a voxel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.errors import VolumeError, closest_hint
from segsuite.shapes import LabelMap, Mask
from segsuite.volumes.labels import label_counts, labels_present
from segsuite.volumes.orders import reordered
from segsuite.volumes.reading import read_labels
from segsuite.volumes.volume import Volume

__all__ = ["CombinedStructures", "Overlap", "combine_channels", "combine_structures", "structure_mask"]

LARGEST_LABEL = 65535
DUST = 1e-4
"""How far beyond 0 and 1 rounding may take a probability."""


@dataclass(frozen=True)
class Overlap:
    """Voxels that two structures claim: those of ``lost`` are given to ``kept``."""

    kept: str
    lost: str
    n_voxels: int


@dataclass(frozen=True)
class CombinedStructures:
    """A label map made of one file per structure.

    Attributes:
        volume: Integers (1, i, j, k), uint8 where they fit, else uint16, on the grid of the first file.
        overlaps: What the declared order decided; empty where no two structures share a voxel.
        empty: Structures whose file holds nothing.
    """

    volume: Volume
    overlaps: tuple[Overlap, ...]
    empty: tuple[str, ...]


def combine_structures(files: Mapping[str, Path], values: Mapping[str, int], *, order: Sequence[str] = ()) -> CombinedStructures:
    """One label map of masks that lie in one file per structure; one file at a time is in memory.

    Args:
        files: Structure to its mask; whatever is not 0 in it (1, 255) is the structure.
        values: Structure to the integer that it gets, 1 to 65535; structures without a file are welcome.
        order: Who wins where structures overlap: what is named later overwrites, as in nnU-Net's ``regions_class_order``.
            Structures that it does not name must not overlap with any other.

    Returns:
        The map, with the overlaps that the order decided.

    Raises:
        FileNotFoundError: A file is not there.
        VolumeError: No file; a file that holds several values, or fractions; structures that overlap without an order; a
            structure without a value, or with that of another.
        GridError: The files lie on different grids.
    """
    _require_values(files, values, order)
    ranked = sorted(files, key=lambda name: order.index(name) if name in order else -1)
    first = read_labels(files[ranked[0]])
    combined: NDArray[Any] = np.zeros(first.grid.shape, np.uint8 if max(values[name] for name in files) <= 255 else np.uint16)
    names = {value: name for name, value in values.items()}
    claims: dict[tuple[str, str], int] = {}
    empty = []
    for name in ranked:
        volume = first if name == ranked[0] else read_labels(files[name])
        mask = structure_mask(reordered(volume, first.grid, names=(str(first.path), str(volume.path))), name)
        counts = label_counts(combined[mask])
        claims |= {(name, names[int(value)]): int(counts[value]) for value in np.flatnonzero(counts) if value}
        combined[mask] = values[name]
        if not mask.any():
            empty.append(name)
    whole = Volume(combined[None], first.grid, first.path, first.header)
    return CombinedStructures(whole, _decided(claims, order, files), tuple(empty))


def _require_values(files: Mapping[str, Path], values: Mapping[str, int], order: Sequence[str]) -> None:
    if not files:
        raise VolumeError("At least one file of a structure must come to be combined, got none.")
    if unknown := [name for name in files if name not in values]:
        raise VolumeError(
            f"{files[unknown[0]]}: structure `{unknown[0]}` must have an integer, got those of {len(values)} structures. "
            f"{closest_hint(unknown[0], values)}"
        )
    used = Counter(values.values())
    if twice := [name for name, value in values.items() if used[value] > 1 or not 1 <= value <= LARGEST_LABEL]:
        raise VolumeError(
            f"Each structure must have an integer of its own from 1 to {LARGEST_LABEL}, got "
            f"{', '.join(f'{name} {values[name]}' for name in twice[:4])}."
        )
    if strangers := [name for name in order if name not in values]:
        raise VolumeError(f"The order must name known structures, got `{strangers[0]}`. {closest_hint(strangers[0], values)}")


def structure_mask(volume: Volume, name: str) -> Mask:
    """Where the file of one structure is not 0.

    Args:
        volume: A label map.
        name: Of the structure, for the message.

    Returns:
        Boolean (i, j, k).

    Raises:
        VolumeError: Several values beside 0.
    """
    found = [value for value in labels_present(volume.array) if value]
    if len(found) > 1:
        raise VolumeError(
            f"{volume.path} must hold one structure ({name}: 0 and one other value), got values {found[:6]}. "
            "It is a label map of its own: leave it out of what is combined."
        )
    return volume.labels != 0


def _decided(claims: Mapping[tuple[str, str], int], order: Sequence[str], files: Mapping[str, Path]) -> tuple[Overlap, ...]:
    """The overlaps, where the order knows both of each."""
    open_ones = [(pair, count) for pair, count in claims.items() if not set(pair) <= set(order)]
    if open_ones:
        told = "; ".join(f"{later} and {earlier} in {count} voxels" for (later, earlier), count in open_ones[:5])
        (later, earlier), _ = open_ones[0]
        more = f" and {len(open_ones) - 5} more pairs" if len(open_ones) > 5 else ""
        raise VolumeError(
            f"Structures of one label map must not share voxels unless an order says which wins, got {told}{more} "
            f"({files[later]}, {files[earlier]}). Name both in the order, the one that wins later: {earlier},{later}"
        )
    return tuple(Overlap(later, earlier, count) for (later, earlier), count in claims.items())


def combine_channels(
    volume: Volume, values: Sequence[int], *, with_background: bool, threshold: float = 0.5, order: Sequence[int] = ()
) -> LabelMap:
    """One label map of a mask that has a channel per structure: 0 and 1 (one-hot), or probabilities.

    Probabilities with a channel of the background: the largest wins, of equal ones the first. Without: the largest wins where
    it reaches the threshold; the rest is background. One-hot channels must not share voxels unless the order says who wins.

    Args:
        volume: (channels, i, j, k), values from 0 to 1, or 0 and 255.
        values: Integer of each channel, without that of the background.
        with_background: Whether the first channel is the background.
        threshold: See above; above 0, at most 1.
        order: Integers that may overlap in one-hot channels; what is named later overwrites.

    Returns:
        Integers (i, j, k).

    Raises:
        VolumeError: Another number of channels, values outside 0 to 1, or overlaps that no order decides.
    """
    channels = np.asarray(volume.array, dtype=np.float32)
    if len(channels) != len(values) + with_background:
        wanted = f"{len(values)} structures{' and the background' if with_background else ''}"
        raise VolumeError(f"{volume.path} must have a channel for each of {wanted}, got {len(channels)}.")
    low, high = float(channels.min()), float(channels.max())
    if high == 255.0 and bool(np.isin(channels, (0.0, 255.0)).all()):
        channels, high = channels / 255.0, 1.0
    if not (np.isfinite(low) and np.isfinite(high) and low >= -DUST and high <= 1 + DUST):
        raise VolumeError(
            f"{volume.path} must hold probabilities from 0 to 1, or 0 and 1, got {low:.4g} to {high:.4g}. Are these logits?"
        )
    structures = channels[1:] if with_background else channels
    if bool(np.isin(channels, (0.0, 1.0)).all()):
        return _of_one_hot(structures > 0, values, order, volume.path)
    table = np.asarray([0, *values] if with_background else values, dtype=np.uint16)
    winner = table[channels.argmax(axis=0)]
    if not with_background:
        winner[structures.max(axis=0) < threshold] = 0
    return winner


def _of_one_hot(structures: NDArray[np.bool_], values: Sequence[int], order: Sequence[int], path: Path | None) -> LabelMap:
    combined: NDArray[Any] = np.zeros(structures.shape[1:], dtype=np.uint16)
    ranked = sorted(range(len(values)), key=lambda number: order.index(values[number]) if values[number] in order else -1)
    for number in ranked:
        mask = structures[number]
        beneath = sorted(set(np.unique(combined[mask]).tolist()) - {0})
        if undecided := [value for value in beneath if value not in order or values[number] not in order]:
            count = int((combined[mask] == undecided[0]).sum())
            raise VolumeError(
                f"{path}: channels of one label map must not share voxels unless an order says which wins, got labels "
                f"{undecided[0]} and {values[number]} in {count} voxels. Name both in the order, the one that wins later."
            )
        combined[mask] = values[number]
    return combined
