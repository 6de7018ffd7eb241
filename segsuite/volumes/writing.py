"""Write results on an image's own grid, atomically, and read them back before they get their name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from isal import igzip
from numpy.typing import NDArray

from segsuite.errors import OutputError, VolumeError
from segsuite.files import remove_unfinished, write_atomically
from segsuite.volumes.reading import ITK_ENDINGS, NIFTI_ENDINGS, image_ending, read_stored
from segsuite.volumes.volume import Volume

__all__ = ["SIDE_VOLUMES", "is_side_volume", "remove_unfinished_outputs", "side_volume", "write_image", "write_mask"]

REGION = "_region_"
SIDE_VOLUMES = ("_probability_", "_map_", REGION)
"""What follows a mask's name in those of the volumes that belong to it."""

AFFINE_TOLERANCE = 1e-5
GZIP_LEVEL = 2
"""Of isal: about as small as zlib's level 1, and faster."""
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def side_volume(mask: Path, name: str) -> Path:
    """Where a volume lies that belongs to a mask.

    Args:
        mask: The mask's file.
        name: ``probability_0``, ``map_uncertainty``, ``region_core``, ...

    Returns:
        ``<mask>_<name>`` with the same ending, in the same folder.
    """
    ending = image_ending(mask)
    return mask.with_name(f"{mask.name.removesuffix(ending)}_{name}{ending}")


def remove_unfinished_outputs(mask: Path) -> None:
    """Delete what a process that died was writing of a mask and of what lies beside it; other masks' files stay.

    Args:
        mask: The mask's file.
    """
    stem = mask.name.removesuffix(image_ending(mask))
    for name in (mask.name, f"{stem}_report.json"):
        remove_unfinished(mask.parent, name)
    for mark in SIDE_VOLUMES:
        remove_unfinished(mask.parent, f"{stem}{mark}", is_beginning=True)


def is_side_volume(path: Path) -> bool:
    """Whether a file is such a volume and no mask: its mask lies beside it, and it holds fractions or one region of that.

    ``label_map_01`` and ``p2_map_final`` are usual names of masks, so that the name alone does not tell. Regions have names;
    what only numbers regions (``scan_region_2``) is a mask.

    Args:
        path: The file.
    """
    ending = image_ending(path)
    stem = path.name[: len(path.name) - len(ending)]
    marks = [
        mark
        for mark in SIDE_VOLUMES
        for at in range(1, len(stem))
        if stem.startswith(mark, at) and path.with_name(f"{stem[:at]}{ending}").is_file()
    ]
    if REGION in marks and not stem.rsplit(REGION, 1)[-1].isdigit():
        return True
    return bool(marks) and _holds_fractions(path)


def _holds_fractions(path: Path) -> bool:
    """By the number format in the header; what cannot be read is taken for a mask, so that somebody hears of it."""
    try:
        if image_ending(path) in NIFTI_ENDINGS:
            stored: Any = nib.load(path)  # type: ignore[attr-defined]
            return bool(np.issubdtype(stored.get_data_dtype(), np.floating))
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
    except Exception:  # whatever a damaged file makes a reader raise
        return False
    return reader.GetPixelID() in (sitk.sitkFloat32, sitk.sitkFloat64)


def write_mask(path: Path, labels: NDArray[Any], *, like: Volume) -> None:
    """Write a label map on the grid of the image it belongs to, with the same qform and sform codes.

    Args:
        path: ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha``; the folder must exist.
        labels: Integers (i, j, k).
        like: The image; its grid is the mask's grid.

    Raises:
        VolumeError: The mask has another shape than the image, or values that are no integers.
        OutputError: The file cannot be written, or does not read back equal.
    """
    if not np.issubdtype(labels.dtype, np.integer) and labels.dtype != np.bool_:
        raise VolumeError(f"{path}: a mask must hold integers, got {labels.dtype}.")
    dtype = np.uint8 if int(labels.max(initial=0)) <= 255 else np.uint16
    write_image(path, labels.astype(dtype), like=like)


def write_image(path: Path, array: NDArray[Any], *, like: Volume) -> None:
    """Write any array (i, j, k) on the grid of an image; see ``write_mask``.

    Args:
        path: As in ``write_mask``.
        array: Values (i, j, k), written in their own dtype.
        like: The image whose grid it shares.

    Raises:
        VolumeError: Another shape than the image, or an unknown file ending.
        OutputError: The file cannot be written, or does not read back equal.
    """
    if array.shape != like.grid.shape:
        raise VolumeError(
            f"{path} must have the shape of its image {like.grid.shape}, got {array.shape}. "
            "Bring the result back with volumes.grid.back_to_grid first."
        )
    ending = image_ending(path)
    if ending not in NIFTI_ENDINGS + ITK_ENDINGS:
        raise VolumeError(f"{path} must end in one of {', '.join(NIFTI_ENDINGS + ITK_ENDINGS)}, got `{path.name}`.")

    def write(temporary: Path) -> None:
        if ending in NIFTI_ENDINGS:
            _write_nifti(temporary, array, like)
        else:
            _write_itk(temporary, array, like)
        _require_equal(temporary, array, like, final=path)

    write_atomically(path, write)


def _write_nifti(path: Path, array: NDArray[Any], like: Volume) -> None:
    header = nib.Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    if like.header:
        for name, value in like.header.items():
            header[name] = value
        header["pixdim"][4:] = 0
        image = nib.Nifti1Image(array, None, header)  # type: ignore[no-untyped-call]
    else:
        header.set_xyzt_units("mm")
        image = nib.Nifti1Image(array, like.grid.affine, header)  # type: ignore[no-untyped-call]
        image.set_sform(like.grid.affine, code=1)
        image.set_qform(like.grid.affine, code=1, strip_shears=True)
    image.header["descrip"] = b"segsuite"
    content = image.to_bytes()
    if path.name.endswith(".gz"):
        content = igzip.compress(content, GZIP_LEVEL, mtime=0)
    path.write_bytes(content)


def _write_itk(path: Path, array: NDArray[Any], like: Volume) -> None:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    affine, spacing = like.grid.affine, np.asarray(like.spacing_mm)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((_RAS_TO_LPS @ (affine[:3, :3] / spacing)).ravel().tolist())
    image.SetOrigin((_RAS_TO_LPS @ affine[:3, 3]).tolist())
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise OSError(str(error).strip().splitlines()[-1]) from error


def _require_equal(path: Path, array: NDArray[Any], like: Volume, *, final: Path) -> None:
    """The read-back check: shape, affine and voxels as meant."""
    voxels, grid = read_stored(path)
    apart = float(np.abs(grid.affine - like.grid.affine).max())
    same = np.array_equal(voxels, array, equal_nan=np.issubdtype(array.dtype, np.floating))
    if grid.shape != like.grid.shape or apart > AFFINE_TOLERANCE or not same:
        raise OutputError(
            f"{final} must read back as written, got shape {grid.shape} (meant {like.grid.shape}), affine "
            f"{apart:.2g} off, voxels {'equal' if same else 'changed'}. Check the disk, then run again."
        )
