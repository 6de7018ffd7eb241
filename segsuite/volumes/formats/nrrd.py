"""NRRD: the header is parsed here, so that no foreign text reaches a C++ library, and checksums are checked.

Source: the format's definition, http://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.errors import GridError, VolumeError
from segsuite.shapes import Affine
from segsuite.volumes.formats.content import Content
from segsuite.volumes.formats.description import (
    Description,
    in_millimetres,
    require_plausible,
    require_shape,
)
from segsuite.volumes.formats.texts import (
    LINES_AT_MOST,
    Body,
    numbers,
    read_body,
    require_room,
    spacing_or_refuse,
    voxels_beside,
    whole_numbers,
)
from segsuite.volumes.formats.unpacking import Packing

__all__ = ["describe_nrrd", "is_nrrd"]

_TYPE_WORDS = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_TYPES = {word: code for code, words in _TYPE_WORDS.items() for word in words}
_PACKINGS: dict[str, Packing] = {"gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
_SPACES = {
    "right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1), "right-anterior-superior-time": (1, 1, 1), "rast": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1), "las": (-1, 1, 1), "left-anterior-superior-time": (-1, 1, 1), "last": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1), "left-posterior-superior-time": (-1, -1, 1), "lpst": (-1, -1, 1),
}  # fmt: skip
"""Signs that bring each space to RAS."""
_UNKNOWN_SPACE = (-1, -1, 1)
"""What other readers of the format take where nothing is said: LPS."""
_UNITS_MM = {
    "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "millimetre": 1.0, "millimetres": 1.0, "m": 1000.0, "cm": 10.0,
    "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "micron": 1e-3, "microns": 1e-3, "nm": 1e-6,
}  # fmt: skip
_NO_UNITS = ("", "???", "none")
_IN_SPACE_KINDS = ("domain", "space")
_COLOURS = ("rgb-color", "rgba-color", "hsv-color", "xyz-color", "3-color", "4-color")
_VECTOR = re.compile(r"none|\([^()]*\)", re.IGNORECASE)
_SEGMENT = re.compile(r"^Segment\d+_")


def is_nrrd(start: bytes) -> bool:
    """Whether a file begins like NRRD.

    Args:
        start: Its first bytes.
    """
    return re.match(rb"NRRD\d{4}\r?\n", start) is not None


def describe_nrrd(content: Content) -> Description:
    """What the header says.

    Args:
        content: The file, open at its start.

    Returns:
        Shape with the axes of the body first, affine, notes, the keys of segments, and the way to the voxels.

    Raises:
        VolumeError: A header that cannot be, colour, or voxels outside the folder.
        GridError: Sizes or placements that cannot be.
        ValueError: A line that is not what its field asks for.
    """
    fields, keys = _fields(content)
    n_axes = whole_numbers(fields.get("dimension", ""), 1)[0]
    if not 1 <= n_axes <= 7:
        raise VolumeError(f"{content.path} must have 1 to 7 axes, got {n_axes} in its header (dimension). Export it again.")
    shape = require_shape(whole_numbers(fields.get("sizes", ""), n_axes), content.path)
    body = _body(fields, shape, content.path)
    directions = _directions(fields, n_axes)
    order = _axis_order(fields, directions, n_axes, content.path)
    in_space = (*(shape[axis] for axis in order[:3]), 1, 1)[:3]
    affine, notes, known = _placement(fields, directions, order[:3], content.path)
    unit, unit_mm = _unit(fields, content.path)
    affine, converted = in_millimetres(affine, unit_mm)
    require_room(content, body)
    require_plausible(in_space, affine, content.path)

    def voxels() -> NDArray[Any]:
        return np.transpose(read_body(content, body), order)

    header = {"space units": unit, "unit_mm": unit_mm} if converted else {}
    stored = tuple(shape[axis] for axis in order)
    segments = {key: value for key, value in keys.items() if _SEGMENT.match(key)}
    return Description(stored, affine, body.dtype, voxels, header, notes + converted, known, segments)


def _fields(content: Content) -> tuple[dict[str, str], dict[str, str]]:
    """Fields (``type: short``) and free keys (``name:=value``), up to the blank line or the end."""
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    content.line()
    for _ in range(LINES_AT_MOST):
        line = content.line()
        if not line.strip():
            return fields, keys
        if line.startswith("#"):
            continue
        name, sign, value = line.partition(":=")
        if sign and ": " not in name:
            keys[name.strip()] = value.strip()
            continue
        name, sign, value = line.partition(":")
        if not sign:
            raise ValueError(f"the line `{line[:80]}`")
        fields[name.strip().lower().replace(" ", "")] = value.strip()
    raise content.damaged(f"its header has more than {LINES_AT_MOST} lines")


def _body(fields: dict[str, str], shape: tuple[int, ...], path: Path) -> Body:
    kind = fields.get("type", "").lower()
    if kind not in _TYPES:
        raise VolumeError(f"{path} must have voxels of a known type, got `{kind[:50]}` (type). Export it again.")
    encoding, endian = fields.get("encoding", "").lower(), fields.get("endian", "").lower()
    known = {"raw": "binary", "ascii": "text", "text": "text", "txt": "text", "hex": "hex"} | dict.fromkeys(_PACKINGS, "binary")
    if encoding not in known:
        raise VolumeError(f"{path} must have one of the encodings {', '.join(known)}, got `{encoding[:50]}`. Export it again.")
    single = _TYPES[kind][1] == "1" or known[encoding] == "text"
    if endian not in ("little", "big") and not single:
        raise VolumeError(f"{path} must say its byte order (endian: little or big), got `{endian[:50]}`. Export it again.")
    lines, skipped = (whole_numbers(fields.get(name, "0"), 1)[0] for name in ("lineskip", "byteskip"))
    if lines < 0 or skipped < -1 or lines > LINES_AT_MOST or (skipped and encoding in _PACKINGS):
        raise ValueError(f"line skip {lines}, byte skip {skipped}")
    where = fields.get("datafile")
    return Body(
        shape=shape,
        dtype=np.dtype((">" if endian == "big" else "<") + _TYPES[kind]),
        packing=_PACKINGS.get(encoding),
        written=known[encoding],  # type: ignore[arg-type]
        file=None if where is None else voxels_beside(path, where),
        skip_lines=lines,
        skip_bytes=0 if where is None else skipped,
    )


def _directions(fields: dict[str, str], n_axes: int) -> list[NDArray[np.float64] | None] | None:
    """One vector per axis, ``None`` for an axis outside space; ``None`` if the header has none of them."""
    if "spacedirections" not in fields:
        return None
    found: list[NDArray[np.float64] | None] = []
    for text in _VECTOR.findall(fields["spacedirections"]):
        vector = None if text.lower() == "none" else np.array(_vector(text))
        found.append(None if vector is None or np.isnan(vector).all() else vector)
    if len(found) != n_axes:
        raise ValueError(f"{n_axes} space directions must come, got `{fields['spacedirections'][:80]}`")
    return found


def _axis_order(fields: dict[str, str], directions: Sequence[Any] | None, n_axes: int, path: Path) -> tuple[int, ...]:
    """The file's axes with those of the body first."""
    kinds = [kind.strip('"').lower() for kind in fields.get("kinds", "").split()]
    if "complex" in kinds:
        raise VolumeError(
            f"{path} must have real voxels, got complex ones. Save the magnitude (numpy.abs) as an image of its own."
        )
    if any(kind in _COLOURS for kind in kinds):
        raise VolumeError(f"{path} must be a grey-scale image, got colour voxels ({' '.join(kinds)}). Convert it to grey.")
    if directions is not None:
        outside = [axis for axis in range(n_axes) if directions[axis] is None]
    elif len(kinds) == n_axes:
        outside = [axis for axis in range(n_axes) if kinds[axis] not in _IN_SPACE_KINDS]
        outside = outside if n_axes - len(outside) == 3 else []
    else:
        outside = []
    inside = [axis for axis in range(n_axes) if axis not in outside]
    if outside and len(inside) < 3:
        raise VolumeError(f"{path} must be a 3-D image, got {len(inside)} axes in space of {n_axes}. Stack the slices first.")
    return (*inside, *outside)


def _placement(
    fields: dict[str, str], directions: Sequence[Any] | None, axes: Sequence[int], path: Path
) -> tuple[Affine, tuple[str, ...], bool]:
    """Voxel index to the file's own unit in RAS, a note, and whether the sides are known."""
    affine = np.eye(4)
    if directions is not None:
        for column, axis in enumerate(axes):
            affine[:3, column] = (*directions[axis], 0.0, 0.0)[:3]
    else:
        sizes = numbers(spacing_or_refuse(fields.get("spacings"), path, fields="space directions and no spacings"))
        for column, axis in enumerate(axes):
            affine[column, column] = sizes[axis]
    if "spaceorigin" in fields:
        affine[:3, 3] = (*_vector(fields["spaceorigin"]), 0.0, 0.0)[:3]
    elif directions is None and "axismins" in fields:
        lowest = numbers(fields["axismins"])
        affine[: len(axes), 3] = [0.0 if np.isnan(lowest[axis]) else lowest[axis] for axis in axes]
    space = fields.get("space", "").lower()
    affine = np.diag([*_SPACES.get(space, _UNKNOWN_SPACE), 1]) @ affine
    note = "The header does not say which way its axes run in the body (space); left-posterior-superior is taken."
    known = space in _SPACES and directions is not None
    return affine, (() if known else (note,)), known


def _vector(text: str) -> list[float]:
    return [float(part) for part in text.strip().strip("()").split(",")]


def _unit(fields: dict[str, str], path: Path) -> tuple[str, float]:
    """The unit of space as the header has it, and its length in mm; mm where it names none."""
    written = fields.get("spaceunits", "") or (fields.get("units", "") if fields.get("dimension") == "3" else "")
    parts = (re.findall(r'"([^"]*)"', written) or written.split())[:3]
    units = [part.strip().lower() for part in parts if part.strip().lower() not in _NO_UNITS]
    lengths = {_UNITS_MM.get(unit) for unit in units}
    if None in lengths or len(lengths) > 1:
        raise GridError(
            f"{path} must count in one unit of length that is known (mm, cm, m, um, nm), got {written[:80]}. Correct the header."
        )
    return (units[0], _UNITS_MM[units[0]]) if units else ("mm", 1.0)
