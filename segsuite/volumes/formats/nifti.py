"""NIfTI-1 and NIfTI-2 in one file or as a pair, and Analyze; header fields by nibabel, everything checked before use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.nifti1 import data_type_codes
from nibabel.spatialimages import HeaderDataError
from nibabel.spm2analyze import Spm2AnalyzeHeader
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from segsuite.errors import GridError, VolumeError
from segsuite.shapes import Affine
from segsuite.volumes.formats.content import Content, open_content, size_text
from segsuite.volumes.formats.description import (
    Description,
    in_millimetres,
    require_plausible,
    require_real,
    require_shape,
)
from segsuite.volumes.formats.endings import voxels_of_pair
from segsuite.volumes.grid import Grid

__all__ = ["GEOMETRY_FIELDS", "describe_nifti", "is_nifti"]

GEOMETRY_FIELDS = (
    "pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
    "srow_x", "srow_y", "srow_z", "xyzt_units",
)  # fmt: skip
FIRST_BYTES, SECOND_BYTES = 348, 540
"""Size of the header of NIfTI-1 (and Analyze), and of NIfTI-2; its own first field."""
MOST_EXTENSION_BYTES = 1 << 26
FORMS_APART_VOXELS = 1.0
"""sform and qform that place a corner farther apart than this contradict each other; closer, they are rounded."""
KNOWN_CODES = range(6)
_SPACE_UNITS = {1: (1000.0, "metres"), 2: (1.0, "mm"), 3: (1e-3, "micrometres")}
_KINDS = {
    (FIRST_BYTES, b"n+1"): nib.Nifti1Header,
    (FIRST_BYTES, b"ni1"): nib.nifti1.Nifti1PairHeader,
    (SECOND_BYTES, b"n+2"): nib.Nifti2Header,
    (SECOND_BYTES, b"ni2"): nib.nifti2.Nifti2PairHeader,
}


@dataclass(frozen=True)
class _Placement:
    """Where the voxels lie, what is to be said of it, and whether the sides are known."""

    affine: Affine
    notes: tuple[str, ...] = ()
    sides_known: bool = True


def is_nifti(start: bytes) -> bool:
    """Whether a file begins like NIfTI or Analyze.

    Args:
        start: Its first bytes.
    """
    return _byte_order(start)[1] > 0


def describe_nifti(content: Content) -> Description:
    """What the header says.

    Args:
        content: The file, open at its start; of a pair, the header.

    Returns:
        Shape, affine, notes, and the way to the voxels.

    Raises:
        VolumeError: A header that cannot be, or colour or complex voxels.
        GridError: Sizes or placements that cannot be.
    """
    header, n_header, separate = _header(content)
    shape, dtype = _shape(header, content.path), _dtype(header, content.path)
    _repair_pixdim(header, content.path)
    _repair_codes(header)
    in_space = (*shape, 1, 1)[:3]
    analyze = isinstance(header, Spm2AnalyzeHeader)
    placed = _analyze_placement(header) if analyze else _placement(header, in_space, content.path)
    code = 0 if analyze else int(header["xyzt_units"]) & 7
    unit_mm, unit = _SPACE_UNITS.get(code, (1.0, ""))
    affine, converted = in_millimetres(placed.affine, unit_mm)
    offset = _offset(header, n_header, separate=separate, path=content.path)
    kept = {name: np.array(header[name]) for name in GEOMETRY_FIELDS if name in header}
    if not separate:
        content.require_room(shape, dtype)
    require_plausible(in_space, affine, content.path, unit=unit)

    def voxels() -> NDArray[Any]:
        if not separate:
            return _scaled(_raw(content, offset - n_header, shape, dtype), header, content.path)
        partner, n_bytes = _partner(content.path), math.prod(shape) * dtype.itemsize + offset
        with open_content(partner, unpack=partner.stat().st_size != n_bytes) as other:
            return _scaled(_raw(other, offset, shape, dtype), header, content.path)

    return Description(shape, affine, dtype, voxels, kept, placed.notes + converted, placed.sides_known)


def _byte_order(start: bytes) -> tuple[str, int]:
    """``<`` or ``>``, and the size of the header; 0 if it is none."""
    for order, name in (("<", "little"), (">", "big")):
        size = int.from_bytes(start[:4], "little" if name == "little" else "big")
        if size in (FIRST_BYTES, SECOND_BYTES):
            return order, size
    return "", 0


def _header(content: Content) -> tuple[Any, int, bool]:
    """The header, its bytes, and whether the voxels are in a file of their own."""
    order, size = _byte_order(content.start())
    if not size:
        raise VolumeError(f"{content.path} must have a readable NIfTI header, got none. Export it again.")
    block = content.exactly(size, what="its header")
    magic = block[344:347] if size == FIRST_BYTES else block[4:7]
    kind = _KINDS.get((size, magic), Spm2AnalyzeHeader if size == FIRST_BYTES else None)
    if kind is None:
        raise VolumeError(f"{content.path} must have a readable NIfTI header, got the mark {magic!r}. Export it again.")
    return kind(block, endianness=order, check=False), size, magic[:2] != b"n+"


def _shape(header: Any, path: Path) -> tuple[int, ...]:
    dim = [int(n) for n in header["dim"]]
    if not 1 <= dim[0] <= 7:
        raise VolumeError(f"{path} must have 1 to 7 axes, got {dim[0]} in its header (dim[0]). Export it again.")
    return require_shape(dim[1 : dim[0] + 1], path)


def _dtype(header: Any, path: Path) -> np.dtype[Any]:
    code = int(header["datatype"])
    known: Any = data_type_codes.dtype
    dtype: np.dtype[Any] = np.dtype(known.get(code, "V"))
    if dtype.kind == "V" and not dtype.names:
        raise VolumeError(f"{path} must have voxels of a known type, got the code {code} in its header. Export it again.")
    require_real(dtype, path)
    return dtype.newbyteorder(header.endianness)


def _repair_pixdim(header: Any, path: Path) -> None:
    """Refuse sizes that are none; take their absolute values, and 1 for a handedness that is neither 1 nor -1."""
    stored = tuple(float(size) for size in header["pixdim"][1:4])
    if not np.isfinite(stored).all() or min(np.abs(stored)) <= 0:
        raise GridError(
            f"{path} must have voxel sizes above zero, got pixdim {stored} mm. Correct the header before using this image."
        )
    header["pixdim"][1:4] = np.abs(stored)
    if header["pixdim"][0] not in (-1.0, 1.0):
        header["pixdim"][0] = 1.0


def _repair_codes(header: Any) -> None:
    """A code above zero says that there is a form; one that the format does not have becomes 2, as of another scan."""
    for name in ("qform_code", "sform_code"):
        if name in header and int(header[name]) not in KNOWN_CODES:
            header[name] = 2 if int(header[name]) > 0 else 0


def _analyze_placement(header: Any) -> _Placement:
    note = "The Analyze format does not say which side of the body is left; the first axis is taken to run from right to left."
    return _Placement(header.get_base_affine(), (note,), sides_known=False)


def _placement(header: Any, in_space: tuple[int, ...], path: Path) -> _Placement:
    """The sform before the qform, as in nibabel; what contradicts it is said."""
    sform = header.get_sform() if int(header["sform_code"]) > 0 else None
    qform, fault = _qform(header)
    if sform is None:
        if fault:
            raise GridError(f"{path} must have a qform that is a rotation, got {fault}. Correct the header (quatern_b, c, d).")
        if qform is not None:
            return _Placement(qform)
        note = "The header places the image nowhere (sform and qform code 0); which side of the body is left is not known."
        return _Placement(header.get_base_affine(), (note,), sides_known=False)
    if fault:
        return _Placement(sform, (f"The qform cannot be used ({fault}); the sform is taken.",))
    if qform is None or not (_is_grid(sform) and _is_grid(qform)):
        return _Placement(sform)
    first, second = Grid(in_space, sform), Grid(in_space, qform)
    apart = first.corner_distance_voxels(second)
    if apart <= FORMS_APART_VOXELS:
        return _Placement(sform)
    note = (
        f"sform and qform place the image differently (corners {apart:.1f} voxels apart, orientation {first.orientation} "
        f"and {second.orientation}); the sform is taken. Programs that prefer the qform see another image."
    )
    return _Placement(sform, (note,))


def _qform(header: Any) -> tuple[Affine | None, str]:
    """The affine, if the code says that there is one; or why it cannot be."""
    if int(header["qform_code"]) <= 0:
        return None, ""
    parts = [float(header[name]) for name in ("quatern_b", "quatern_c", "quatern_d")]
    try:
        affine: Affine = header.get_qform()
    except (HeaderDataError, ValueError):
        return None, f"the quaternion {tuple(round(part, 6) for part in parts)}, which is longer than 1"
    return (affine, "") if np.isfinite(affine).all() else (None, f"the quaternion {tuple(parts)}")


def _is_grid(affine: Affine) -> bool:
    return bool(np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-12)


def _offset(header: Any, n_header: int, *, separate: bool, path: Path) -> int:
    """Where the voxels begin in their file."""
    stored = float(header["vox_offset"])
    lowest = 0 if separate else n_header + 4
    if stored == 0 and not separate:
        return lowest  # a header that leaves it open: directly after it, as the format's own library reads it
    if not np.isfinite(stored) or stored != int(stored) or not lowest <= stored <= lowest + MOST_EXTENSION_BYTES:
        raise VolumeError(
            f"{path} must have its voxels {lowest} bytes or more after its start, got vox_offset {stored:g} in its header "
            f"(at most {size_text(MOST_EXTENSION_BYTES)} of extensions are read). The header is damaged: export it again."
        )
    return int(stored)


def _partner(header: Path) -> Path:
    found = voxels_of_pair(header)
    if found is None:
        wanted = header.with_suffix(".img").name
        raise VolumeError(f"{header} must have its voxels beside it, but there is no {wanted}. Copy both files of the pair.")
    return found


def _raw(content: Content, before: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    content.skip(before, what="its header")
    array = content.voxels(shape, dtype)
    content.require_end()
    return array


def _scaled(raw: NDArray[Any], header: Any, path: Path) -> NDArray[Any]:
    """The voxels with slope and intercept applied, in single precision as nibabel does it when asked for float32."""
    try:
        slope, inter = header.get_slope_inter()
    except HeaderDataError as error:
        stored = (float(header["scl_slope"]), float(header["scl_inter"]))
        raise VolumeError(f"{path} must have a finite scl_slope and scl_inter, got {stored}. Correct the header.") from error
    if (slope, inter) in ((None, None), (1.0, 0.0)):
        return raw
    scaled = np.empty(raw.shape, dtype=np.float32, order="F")
    for index in range(raw.shape[-1]):  # slab by slab: computed in double precision, kept in single
        scaled[..., index] = apply_read_scaling(raw[..., index], slope, inter)
    return scaled
