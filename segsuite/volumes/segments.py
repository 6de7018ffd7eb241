"""The structures of a 3D Slicer segmentation (``.seg.nrrd``): names, colours, values, and its layers joined to one map."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.errors import VolumeError

__all__ = ["Segment", "join_layers", "segments_of"]

MOST_SEGMENTS = 4096
_KEY = re.compile(r"^Segment(\d{1,6})_(ID|Name|Color|LabelValue|Layer)$")


@dataclass(frozen=True)
class Segment:
    """One structure.

    Attributes:
        name: As the file has it; numbered where two would have one name.
        value: Its integer in the label map that ``read_labels`` gives.
        stored_value: Its integer in its layer.
        layer: Which volume of the file it is drawn in, counted from 0.
        colour: Red, green, blue from 0 to 1; ``None`` if the file has none.
    """

    name: str
    value: int
    stored_value: int
    layer: int = 0
    colour: tuple[float, float, float] | None = None


def segments_of(keys: dict[str, str], path: Path) -> list[Segment]:
    """The structures that a header names.

    Values that differ between all of them are kept. Where layers use a value twice, the structures are numbered from 1
    in the order of the file. Files without values (Slicer before 4.11) have one structure in each layer, drawn as 1.

    Args:
        keys: ``Segment0_Name`` and so on, with their values.
        path: For messages.

    Returns:
        In the order of the file.

    Raises:
        VolumeError: Numbers that are none, or two structures of one layer with one value.
    """
    parts: dict[int, dict[str, str]] = {}
    for key, value in keys.items():
        if match := _KEY.match(key):
            parts.setdefault(int(match[1]), {})[match[2]] = value
    if len(parts) > MOST_SEGMENTS:
        raise VolumeError(f"{path} must have at most {MOST_SEGMENTS} segments, got {len(parts)}.")
    found = [_segment(parts[number], number, path) for number in sorted(parts)]
    if twice := [place for place, count in Counter((one.layer, one.stored_value) for one in found).items() if count > 1]:
        names = [one.name for one in found if (one.layer, one.stored_value) == twice[0]]
        raise VolumeError(f"{path} must have a value of its own for each segment, got {twice[0][1]} for {' and '.join(names)}.")
    if len({one.stored_value for one in found}) < len(found):
        found = [replace(one, value=number) for number, one in enumerate(found, start=1)]
    seen: Counter[str] = Counter()
    for index, one in enumerate(found):
        seen[one.name] += 1
        if seen[one.name] > 1:
            found[index] = replace(one, name=f"{one.name} {seen[one.name]}")
    return found


def join_layers(
    layers: NDArray[Any], segments: Sequence[Segment], path: Path, *, order: Sequence[str] = ()
) -> NDArray[np.uint16]:
    """Layers as one label map.

    Args:
        layers: Integers (i, j, k, layers).
        segments: What is drawn in them; values that none of them names are a segment each.
        path: For messages.
        order: Names of segments that may overlap, the one that wins last; empty: none may.

    Returns:
        Integers (i, j, k), ``Segment.value`` each.

    Raises:
        VolumeError: Segments that overlap, or a name that is none of them.
    """
    everything = [*segments, *_unnamed(layers, segments)]
    if strangers := [name for name in order if name not in {one.name for one in everything}]:
        known = ", ".join(f"`{one.name}`" for one in everything)
        raise VolumeError(f"{path} must have the segments that are put in order, got no `{strangers[0]}`. Known: {known}.")
    if missing := [one.name for one in segments if one.layer >= layers.shape[3]]:
        raise VolumeError(f"{path} must have a layer for each segment, got {layers.shape[3]} layers without `{missing[0]}`'s.")
    ranks = {name: rank for rank, name in enumerate(order)}
    joined = np.zeros(layers.shape[:3], dtype=np.uint16)
    for one in sorted(everything, key=lambda one: ranks.get(one.name, -1)):
        drawn = layers[..., one.layer] == one.stored_value
        below = np.bincount(joined[drawn])
        clashes = [other for other in everything if 0 < other.value < len(below) and below[other.value]]
        for other in clashes:
            if not (one.name in ranks and other.name in ranks):
                raise VolumeError(
                    f"{path} must have segments that do not overlap to be one label map, got `{other.name}` and "
                    f"`{one.name}` both in {below[other.value]} voxels. {_how_to_order(path, other.name, one.name)}"
                )
        joined[drawn] = one.value
    return joined


def _how_to_order(path: Path, first: str, second: str) -> str:
    """A name with a comma cannot be put in order on a command line."""
    if "," in first + second:
        return "Let one of them win in the program that drew them, or give them names without commas there."
    words = ["segsuite", "manifest", "combine", str(path), "--order", f"{first},{second}", "--out"]
    return (
        f"Say which wins, the last one does: `{shlex.join(words)} FOLDER` writes an ordinary label map. Or let one win in the "
        "program that drew them (3D Slicer: Segment Editor, Modify other segments: Overwrite all)."
    )


def _segment(parts: dict[str, str], number: int, path: Path) -> Segment:
    name = " ".join((parts.get("Name") or parts.get("ID") or f"segment {number}").split())
    try:
        layer = int(parts.get("Layer", number if "LabelValue" not in parts else 0))
        value = int(parts.get("LabelValue", 1))
        colour = tuple(float(part) for part in parts.get("Color", "").split())
    except ValueError as error:
        raise VolumeError(f"{path} must have numbers for its segment `{name}`, got {parts}. Export it again.") from error
    if not (0 <= layer <= MOST_SEGMENTS and 0 < value <= 65535):
        raise VolumeError(f"{path} must have values from 1 to 65535 for its segments, got {value} for `{name}` (layer {layer}).")
    return Segment(name, value, value, layer, (colour[0], colour[1], colour[2]) if len(colour) == 3 else None)


def _unnamed(layers: NDArray[Any], segments: Sequence[Segment]) -> list[Segment]:
    """A segment for each value that the header does not name."""
    named = {(one.layer, one.stored_value) for one in segments}
    taken = max((one.value for one in segments), default=0)
    found = []
    for layer in range(layers.shape[3]):
        for value in np.unique(layers[..., layer]):
            if value != 0 and (layer, int(value)) not in named:
                taken += 1
                found.append(Segment(f"layer {layer}, value {int(value)}", taken, int(value), layer))
    return found
