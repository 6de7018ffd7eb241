"""The bytes of a result in each format, on the grid of the image that it belongs to."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib
from nibabel.freesurfer.mghformat import MGHHeader
from numpy.typing import NDArray

from segsuite.volumes.formats.freesurfer import MGH_TYPES
from segsuite.volumes.formats.metaimage import META_TYPES
from segsuite.volumes.volume import Volume

__all__ = ["metaimage_bytes", "mgh_bytes", "nifti_bytes", "nrrd_bytes", "packed", "storable"]

GZIP_LEVEL = 2
"""Of isal: about as small as zlib's level 1, and faster."""
LONGEST_FIRST_NIFTI_AXIS = 32767
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NRRD_WORDS = {
    "u1": "uint8", "i1": "int8", "u2": "uint16", "i2": "int16", "u4": "uint32", "i4": "int32", "u8": "uint64", "i8": "int64",
    "f4": "float", "f8": "double",
}  # fmt: skip
_META_WORDS = {code: word for word, code in META_TYPES.items() if word not in ("MET_LONG", "MET_ULONG")}
_MGH_CODES = {code: number for number, code in MGH_TYPES.items() if number != 10}  # 10 is unknown to older readers


def packed(content: bytes) -> bytes:
    """The same as gzip; equal content gives equal bytes.

    Args:
        content: Anything.
    """
    return igzip.compress(content, GZIP_LEVEL, mtime=0)


def storable(array: NDArray[Any], ending: str) -> NDArray[Any]:
    """The array in a type that the format has.

    Args:
        array: Any real type.
        ending: Of the file, lower case.
    """
    if ending not in (".mgz", ".mgh") or array.dtype.str[1:] in _MGH_CODES:
        return array
    return array.astype(np.float32 if array.dtype.kind == "f" else np.uint8 if array.dtype.kind == "b" else np.int32)


def nifti_bytes(array: NDArray[Any], like: Volume) -> bytes:
    """A NIfTI-1 file, or NIfTI-2 where an axis is too long for it, with the placement of the image's own header.

    Args:
        array: (i, j, k).
        like: The image.
    """
    second = max(array.shape) > LONGEST_FIRST_NIFTI_AXIS
    kind: Any = nib.Nifti2Image if second else nib.Nifti1Image
    header = kind.header_class()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    if "pixdim" in like.header:
        for name, value in like.header.items():
            header[name] = value
        header["pixdim"][4:] = 0
        image = kind(array, None, header)
    else:
        header.set_xyzt_units("mm")
        image = kind(array, like.grid.affine, header)
        image.set_sform(like.grid.affine, code=1)
        image.set_qform(like.grid.affine, code=1, strip_shears=True)
    image.header["descrip"] = b"segsuite"
    return bytes(image.to_bytes())


def nrrd_bytes(array: NDArray[Any], like: Volume) -> bytes:
    """A NRRD file, its voxels gzipped.

    Args:
        array: (i, j, k).
        like: The image.
    """
    affine = _in_lps(like)
    vectors = " ".join(_vector(affine[:3, axis]) for axis in range(3))
    unit = like.header.get("space units")
    lines = [
        "NRRD0005",
        f"type: {_NRRD_WORDS[array.dtype.str[1:]]}",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, array.shape))}",
        f"space directions: {vectors}",
        "kinds: domain domain domain",
        *([f'space units: "{unit}" "{unit}" "{unit}"'] if unit else []),
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(affine[:3, 3])}",
    ]
    return "\n".join([*lines, "", ""]).encode() + packed(_little(array))


def metaimage_bytes(array: NDArray[Any], like: Volume) -> bytes:
    """A MetaImage in one file, its voxels deflated.

    Args:
        array: (i, j, k).
        like: The image.
    """
    affine = _in_lps(like)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    body = isal_zlib.compress(_little(array), GZIP_LEVEL)
    unit = like.header.get("DistanceUnits")
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        f"CompressedDataSize = {len(body)}",
        f"TransformMatrix = {_numbers((affine[:3, :3] / sizes).T.ravel())}",
        f"Offset = {_numbers(affine[:3, 3])}",
        "CenterOfRotation = 0 0 0",
        f"ElementSpacing = {_numbers(sizes)}",
        *([f"DistanceUnits = {unit}"] if unit else []),
        f"DimSize = {' '.join(map(str, array.shape))}",
        f"ElementType = {_META_WORDS[array.dtype.str[1:]]}",
        "ElementDataFile = LOCAL",
    ]
    return "\n".join([*lines, ""]).encode() + body


def mgh_bytes(array: NDArray[Any], like: Volume) -> bytes:
    """An MGH file, not packed.

    Args:
        array: (i, j, k), of a type that ``storable`` gives.
        like: The image.
    """
    affine, sizes = like.grid.affine, np.asarray(like.spacing_mm)
    header: Any = MGHHeader()
    header["dims"] = (*array.shape, 1)
    header["type"] = _MGH_CODES[array.dtype.str[1:]]
    header["goodRASFlag"] = int(like.sides_known)
    header["delta"] = sizes
    header["Mdc"] = (affine[:3, :3] / sizes).T
    header["Pxyz_c"] = (affine @ (*(np.asarray(array.shape) / 2), 1.0))[:3]
    block = bytes(header.binaryblock)[:90].ljust(284, b"\0")
    return block + array.astype(array.dtype.newbyteorder(">")).tobytes(order="F")


def _in_lps(like: Volume) -> NDArray[np.float64]:
    """The affine as these formats store it, in the unit of the image's own header."""
    affine = _LPS @ like.grid.affine
    affine[:3] /= like.header.get("unit_mm", 1.0)
    return affine + 0.0  # no minus zero in texts


def _little(array: NDArray[Any]) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes(order="F")


def _vector(values: NDArray[Any]) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"


def _numbers(values: NDArray[Any]) -> str:
    return " ".join(repr(float(value)) for value in values)
