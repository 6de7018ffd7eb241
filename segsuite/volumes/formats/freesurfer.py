"""MGH and MGZ, the volumes of FreeSurfer: big-endian, the placement by direction cosines and the centre."""

from __future__ import annotations

from typing import Any

import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader
from numpy.typing import NDArray

from segsuite.errors import VolumeError
from segsuite.volumes.formats.content import Content
from segsuite.volumes.formats.description import Description, require_plausible, require_shape

__all__ = ["MGH_TYPES", "describe_mgh", "is_mgh"]

HEADER_BYTES = 90
VOXELS_AT = 284
MOST_TAG_BYTES = 1 << 26
MGH_TYPES = {0: "u1", 1: "i4", 3: "f4", 4: "i2", 10: "u2"}
"""The format's codes; 10 since FreeSurfer 7."""


def is_mgh(start: bytes) -> bool:
    """Whether a file begins like MGH: version 1, then at least one voxel along each axis.

    Args:
        start: Its first bytes.
    """
    return len(start) >= HEADER_BYTES and start[:4] == b"\0\0\0\1" and b"\0\0\0\0" not in (start[4:8], start[8:12], start[12:16])


def describe_mgh(content: Content) -> Description:
    """What the header says.

    Args:
        content: The file, open at its start.

    Returns:
        Shape, affine, notes, and the way to the voxels.

    Raises:
        VolumeError: A header that cannot be.
        GridError: Sizes or placements that cannot be.
    """
    path = content.path
    block = content.exactly(VOXELS_AT, what="its header")
    header: Any = MGHHeader(block[:HEADER_BYTES], check=False)
    n_frames = int(header["dims"][3])
    shape = require_shape(header["dims"][:3] if n_frames == 1 else header["dims"], path)
    code = int(header["type"])
    if code not in MGH_TYPES:
        raise VolumeError(f"{path} must have voxels of a known type, got the code {code} in its header (type). Export it again.")
    dtype = np.dtype(f">{MGH_TYPES[code]}")
    placed = int.from_bytes(block[28:30], "big") != 0
    note = "The header places the image nowhere (goodRASFlag 0); voxels of 1 mm and coronal slices are taken, as FreeSurfer does."
    affine = np.asarray(header.get_affine(), dtype=np.float64)
    content.require_room(shape, dtype)
    require_plausible(shape, affine, path)

    def voxels() -> NDArray[Any]:
        array = content.voxels(shape, dtype)
        content.rest(MOST_TAG_BYTES)  # scan parameters and tags; read for the checksum
        return array

    return Description(shape, affine, dtype, voxels, notes=() if placed else (note,), sides_known=placed)
