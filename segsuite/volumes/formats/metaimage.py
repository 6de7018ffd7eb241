"""MetaImage (MHA, MHD): the header is parsed here, so that no foreign text reaches a C++ library, and checksums are checked."""

from __future__ import annotations

import re
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

__all__ = ["META_TYPES", "describe_metaimage", "is_metaimage"]

META_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_UNITS_MM = {"mm": 1.0, "cm": 10.0, "um": 1e-3}
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_FIRST = re.compile(rb"^\s*(ObjectType|NDims|Comment|ID|Name|BinaryData|DimSize)\s*=", re.ASCII)


def is_metaimage(start: bytes) -> bool:
    """Whether a file begins like MetaImage.

    Args:
        start: Its first bytes.
    """
    return _FIRST.match(start) is not None


def describe_metaimage(content: Content) -> Description:
    """What the header says.

    Args:
        content: The file, open at its start.

    Returns:
        Shape, affine, notes, and the way to the voxels.

    Raises:
        VolumeError: A header that cannot be, or voxels outside the folder.
        GridError: Sizes or placements that cannot be.
        ValueError: A line that is not what its key asks for.
    """
    fields = _fields(content)
    n_axes = whole_numbers(fields.get("NDims", ""), 1)[0]
    if not 1 <= n_axes <= 7:
        raise VolumeError(f"{content.path} must have 1 to 7 axes, got {n_axes} in its header (NDims). Export it again.")
    shape = require_shape(whole_numbers(fields.get("DimSize", ""), n_axes), content.path)
    body = _body(fields, shape, content.path)
    unit = fields.get("DistanceUnits", "").strip('"').lower()
    if unit not in ("", "?", *_UNITS_MM):
        raise GridError(f"{content.path} must have DistanceUnits mm, cm or um, got {unit[:20]}. Correct the header.")
    affine, notes, known = _placement(fields, n_axes, content.path)
    affine, converted = in_millimetres(affine, _UNITS_MM.get(unit, 1.0))
    require_room(content, body)
    require_plausible((*shape, 1, 1)[:3], affine, content.path)
    has_channels = len(body.shape) > len(shape)

    def voxels() -> NDArray[Any]:
        array = read_body(content, body)
        return np.moveaxis(array, 0, -1) if has_channels else array

    stored = (*shape, body.shape[0]) if has_channels else shape
    header = {"DistanceUnits": unit, "unit_mm": _UNITS_MM[unit]} if converted else {}
    return Description(stored, _LPS_TO_RAS @ affine, body.dtype, voxels, header, notes + converted, known)


def _fields(content: Content) -> dict[str, str]:
    """The header's keys and values; the key of the voxels is the last."""
    fields: dict[str, str] = {}
    for _ in range(LINES_AT_MOST):
        line = content.line()
        key, sign, value = line.partition("=")
        if not sign and not line.strip():
            break
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            return fields
    raise VolumeError(f"{content.path} must have a complete MetaImage header, got no ElementDataFile in it. Export it again.")


def _body(fields: dict[str, str], shape: tuple[int, ...], path: Path) -> Body:
    kind = fields.get("ElementType", "")
    if kind.removesuffix("_ARRAY") not in META_TYPES:
        raise VolumeError(f"{path} must have voxels of a known type, got `{kind[:50]}` (ElementType). Export it again.")
    n_channels = whole_numbers(fields.get("ElementNumberOfChannels", "1"), 1)[0]
    skipped = whole_numbers(fields.get("HeaderSize", "0"), 1)[0]
    packed = _is_true(fields.get("CompressedData", "False"))
    if n_channels < 1 or skipped < -1 or (skipped and packed):
        raise ValueError(f"{n_channels} channels, HeaderSize {skipped}")
    big = _is_true(fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")))
    where = fields["ElementDataFile"]
    return Body(
        shape=(n_channels, *shape) if n_channels > 1 else shape,
        dtype=np.dtype((">" if big else "<") + META_TYPES[kind.removesuffix("_ARRAY")]),
        packing="zlib" if packed else None,
        written="binary" if _is_true(fields.get("BinaryData", "True")) else "text",
        file=None if where.upper() == "LOCAL" else voxels_beside(path, where),
        skip_bytes=0 if where.upper() == "LOCAL" else skipped,
    )


def _placement(fields: dict[str, str], n_axes: int, path: Path) -> tuple[Affine, tuple[str, ...], bool]:
    """Voxel index to the file's own unit in LPS, a note, and whether the sides are known."""
    spacing = spacing_or_refuse(_first(fields, "ElementSpacing", "ElementSize"), path, fields="ElementSpacing")
    directions = _first(fields, "TransformMatrix", "Rotation", "Orientation")
    origin = _first(fields, "Offset", "Position", "Origin")
    matrix, affine, used = np.eye(max(n_axes, 3)), np.eye(4), min(n_axes, 3)
    if directions is not None:
        matrix[:n_axes, :n_axes] = np.reshape(numbers(directions, n_axes**2), (n_axes, n_axes)).T
    sizes = np.ones(3)
    sizes[:used] = numbers(spacing, n_axes)[:used]
    affine[:3, :3] = matrix[:3, :3] * sizes
    if origin is not None:
        affine[:used, 3] = numbers(origin, n_axes)[:used]
    note = "The header has no directions (TransformMatrix); which side of the body is left is not known."
    return affine, (() if directions is not None else (note,)), directions is not None


def _first(fields: dict[str, str], *keys: str) -> str | None:
    return next((fields[key] for key in keys if key in fields), None)


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("true", "t", "yes", "1")
