"""The masks of a pair as labels of the evaluation; whatever a file is or does belongs to its own case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segsuite.engines.pairs import NO_STRUCTURE, Pair
from segsuite.engines.structure_files import common_name
from segsuite.errors import VolumeError
from segsuite.shapes import FloatArray, LabelMap
from segsuite.volumes.combining import structure_mask
from segsuite.volumes.formats.endings import without_ending
from segsuite.volumes.grid import Grid
from segsuite.volumes.labels import label_counts
from segsuite.volumes.mask_files import why_absent
from segsuite.volumes.orders import reordered
from segsuite.volumes.reading import read_labels, read_volume
from segsuite.volumes.regions import Label, file_word, integers_of
from segsuite.volumes.volume import Volume
from segsuite.volumes.writing import side_volume

__all__ = ["Labelled", "probability_of", "read_part", "read_predicted", "read_reference", "structures_in"]

LARGEST_LABEL = 65535
"""Of a label map; what is beyond can only be mapped."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """One side of a case.

    Attributes:
        volume: Labels of the evaluation, 0 elsewhere; grid and header of the file.
        undeclared: Integers of the file that are none of the structures, with their voxels.
    """

    volume: Volume
    undeclared: Mapping[int, int]


def read_reference(pair: Pair, declared: Iterable[int]) -> Labelled:
    """The reference of a case that is one file.

    Args:
        pair: The case.
        declared: Labels that count, background and ignore label included.

    Returns:
        Its labels.

    Raises:
        VolumeError: Nothing there, unreadable, or no label map.
    """
    volume, mapping = _read(pair.reference, pair.mapping)
    return _as_declared(volume, mapping, declared)


def read_predicted(pair: Pair, grid: Grid, declared: Iterable[int]) -> Labelled:
    """The prediction of a case that is one file, on the reference's grid and in its order of axes.

    Args:
        pair: The case; it must have a prediction.
        grid: Of the reference.
        declared: Labels that count, background and ignore label included.

    Returns:
        Its labels.

    Raises:
        VolumeError: None there, unreadable, or no label map.
        GridError: On another grid.
    """
    if pair.predicted is None:
        raise VolumeError(pair.reason or "no prediction of this name")
    volume, mapping = _read(pair.predicted, pair.predicted_mapping)
    return _as_declared(_on_grid(volume, grid, pair.reference), mapping, declared)


def read_part(path: Path, label: int, like: tuple[Grid, Path] | None = None) -> Volume:
    """The file of one structure, as that structure's label.

    Args:
        path: A mask with one value beside 0, whatever it is.
        label: Of the structure.
        like: Grid that it must lie on, and whose that is; ``None``: any.

    Returns:
        Label and 0.

    Raises:
        VolumeError: Nothing there, unreadable, or several values.
        GridError: On another grid.
    """
    volume, _ = _read(path, {})
    mask = structure_mask(volume, without_ending(path.name))
    array: LabelMap = np.where(mask, np.array(label, dtype=np.uint8 if label <= 255 else np.uint16), 0)[None]
    volume = replace(volume, array=array)
    return volume if like is None else _on_grid(volume, *like)


def structures_in(files: Mapping[str, Path], structures: Mapping[Label, str]) -> Iterator[tuple[Label, Path | None]]:
    """For each structure its file, by name.

    Args:
        files: Names to files.
        structures: Label to name.

    Yields:
        Label and file; ``None``: there is no file of this name.
    """
    by_name = {common_name(name): path for name, path in files.items()}
    for label, name in structures.items():
        yield label, files.get(name, by_name.get(common_name(name)))


def _read(path: Path, mapping: Mapping[int, int]) -> tuple[Volume, Mapping[int, int]]:
    """A label map as stored and the mapping; already mapped where the mapping is about what no label map may hold, such as -1."""
    if reason := why_absent(path):
        raise VolumeError(reason)
    if path.is_dir():
        raise VolumeError(f"{path} must be a mask, got a folder that holds none.")
    if all(0 <= value <= LARGEST_LABEL for value in mapping):
        return read_labels(path), mapping
    return read_labels(path, mapping={value: max(target, 0) for value, target in mapping.items()}), {}


def _on_grid(volume: Volume, grid: Grid, reference: Path) -> Volume:
    """The same voxels in the reference's order of axes, if they then lie on its grid; with what its file leaves open."""
    return reordered(volume, grid, names=(str(reference), str(volume.path)))


def _as_declared(volume: Volume, mapping: Mapping[int, int], declared: Iterable[int]) -> Labelled:
    """Labels after the mapping; what is then none of the declared ones is counted and becomes background."""
    labels: LabelMap = volume.labels
    counts, known = label_counts(labels), set(declared)
    targets = {value: mapping.get(value, value) for value in map(int, np.flatnonzero(counts))}
    undeclared = {value: int(counts[value]) for value, target in targets.items() if target not in known}
    changed = {value: 0 if value in undeclared else target for value, target in targets.items()}
    if any(value != target for value, target in changed.items()):
        table: LabelMap = np.zeros(len(counts), dtype=np.uint8 if max(changed.values()) <= 255 else np.uint16)
        for value, target in changed.items():
            table[value] = target
        mapped: LabelMap = table[labels]
        volume = replace(volume, array=mapped[None])
    return Labelled(volume, {value: n for value, n in undeclared.items() if value != 0 or mapping.get(0) == NO_STRUCTURE})


def probability_of(pair: Pair, grid: Grid, label: Label, *, name: str = "") -> FloatArray:
    """The probability that was saved beside a predicted mask.

    Args:
        pair: The case; it must have a prediction.
        grid: Of the reference.
        label: Of the structure in the evaluation; several of the prediction's own that mean it are added up, and those of a
            region's labels where the model decided labels and no regions.
        name: Of the structure; files of a region's probability are called after it.

    Returns:
        In the reference's order of axes, (i, j, k).

    Raises:
        VolumeError: It was not saved.
        GridError: On another grid.
    """
    assert pair.predicted is not None  # noqa: S101 - asked for only where there is a prediction
    of_region = side_volume(pair.predicted, f"probability_{file_word(name)}")
    integers = integers_of(label)
    own = [value for value, target in pair.predicted_mapping.items() if target in integers]
    own += [value for value in integers if value not in pair.predicted_mapping]
    paths = [side_volume(pair.predicted, f"probability_{value}") for value in own]
    there = [of_region] if isinstance(label, str) and of_region.is_file() else [path for path in paths if path.is_file()]
    if not there:
        what, place = (f"label {label}", paths[:1]) if isinstance(label, int) else (f"region {name}", [of_region])
        raise VolumeError(
            f"case {pair.case_id}: the probability of {what} must lie in {place[0] if place else pair.predicted.parent}, but "
            "nothing is there. Predict with --save-probabilities, or evaluate without --probabilities."
        )
    total: FloatArray = np.sum([_on_grid(read_volume(path), grid, pair.reference).array[0] for path in there], axis=0)
    return total
