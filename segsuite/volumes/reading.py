"""Read NIfTI by nibabel (exact headers), NRRD and MHA by SimpleITK, a DICOM folder by its own room; check as we go."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from isal import igzip, isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from segsuite.errors import GridError, VolumeError
from segsuite.shapes import Affine, Image
from segsuite.volumes.dicom_files import holds_dicom, may_be_slice
from segsuite.volumes.grid import Grid
from segsuite.volumes.orders import reordered
from segsuite.volumes.volume import Volume

__all__ = [
    "ITK_ENDINGS",
    "NIFTI_ENDINGS",
    "image_ending",
    "is_image",
    "read_channels",
    "read_grid",
    "read_labels",
    "read_stored",
    "read_volume",
]

NIFTI_ENDINGS = (".nii.gz", ".nii")
ITK_ENDINGS = (".nrrd", ".mha", ".mhd")
GEOMETRY_FIELDS = (
    "pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
    "srow_x", "srow_y", "srow_z", "xyzt_units",
)  # fmt: skip
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
NIFTI_2_HEADER_BYTES = (540, int.from_bytes((540).to_bytes(4, "little"), "big"))
"""Size of its header as the file says it, in either byte order."""
_ISAL_ERROR: Any = isal_zlib.error  # its stub calls the class an instance
_UNREADABLE = (
    EOFError, OSError, _ISAL_ERROR, ValueError, ImageFileError, HeaderDataError, WrapStructError, RuntimeError,
)  # fmt: skip


def image_ending(path: Path) -> str:
    """The ending that tells the format, ``.nii.gz`` counted as one; empty if it is none of ours."""
    name = path.name.lower()
    return next((ending for ending in NIFTI_ENDINGS + ITK_ENDINGS if name.endswith(ending)), "")


def is_image(path: Path) -> bool:
    """Whether a path looks like an image file, or like a folder that holds a DICOM series directly."""
    if path.is_dir():
        return holds_dicom(path)
    return bool(image_ending(path)) and not path.name.startswith(".")


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
        channels = _as_channels(stack.voxels, path, n_channels)
        return Volume(channels, _grid(stack.voxels.shape, stack.affine, path), path, notes=stack.notes)
    raw, affine, header = _read_raw(path)
    channels = _as_channels(raw, path, n_channels).astype(np.float32, copy=False)
    return Volume(channels, _grid(raw.shape[:3], affine, path), path, header)


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
    raw, affine, _ = _read_raw(path)
    return _as_channels(raw, path, 1)[0], _grid(raw.shape[:3], affine, path)


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
    return Volume(np.concatenate([volume.array for volume in alike]), first.grid, first.path, first.header)


def read_labels(path: Path, *, mapping: dict[int, int] | None = None) -> Volume:
    """A label map with its integers as stored.

    Args:
        path: File with one label map.
        mapping: Source value to target value, applied after reading; values that are not named stay.

    Returns:
        Integers (1, i, j, k), uint8 where they fit, else uint16.

    Raises:
        FileNotFoundError: Nothing is there.
        VolumeError: Unreadable, not 3-D, or values that are no whole numbers in [0, 65535].
        GridError: Zero spacing or a broken affine.
    """
    raw, affine, header = _read_raw(path)
    array = _as_channels(raw, path, 1)
    if not np.issubdtype(array.dtype, np.integer):
        rounded = np.round(array)
        if not np.array_equal(rounded, array):
            odd = np.unique(array[rounded != array])[:5]
            raise VolumeError(
                f"{path} must hold whole numbers (labels), got values such as {[round(float(v), 4) for v in odd]}. "
                "It may be a probability map: threshold it, or point to the label file."
            )
        array = rounded
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65535:
        raise VolumeError(f"{path} must hold labels between 0 and 65535, got {low} to {high}. Map them first.")
    labels = array.astype(np.int32)
    if mapping:
        labels = _mapped(labels, mapping)
    dtype = np.uint8 if int(labels.max()) <= 255 else np.uint16
    stored: NDArray[Any] = labels.astype(dtype)
    return Volume(stored, _grid(raw.shape[:3], affine, path), path, header)


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
    ending = image_ending(path)
    if path.is_file() and ending in NIFTI_ENDINGS:
        try:
            image: Any = nib.load(path)  # type: ignore[attr-defined]
            shape, affine = tuple(image.shape[:3]), np.asarray(image.affine, dtype=np.float64)
        except _UNREADABLE as error:
            raise VolumeError(f"{path} must have a readable NIfTI header, got: {error}. Export it again.") from error
        return _grid(shape, affine, path)
    if path.is_file() and ending:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise VolumeError(f"{path} must have a readable header, got: {error}. Export it again.") from error
        affine = np.eye(4)
        affine[:3, :3] = np.asarray(reader.GetDirection()).reshape(3, 3) * np.asarray(reader.GetSpacing())
        affine[:3, 3] = reader.GetOrigin()
        return _grid(tuple(reader.GetSize()), _LPS_TO_RAS @ affine, path)
    if _is_series(path):
        from segsuite.volumes.dicom import grid_of_series

        return _grid(*grid_of_series(path), path)
    return read_volume(path).grid


def _is_series(path: Path) -> bool:
    return path.is_dir() or (may_be_slice(path, image_ending(path)))


def _mapped(labels: NDArray[np.int32], mapping: dict[int, int]) -> NDArray[np.int32]:
    table = np.arange(max(int(labels.max()), *mapping) + 1, dtype=np.int32)
    for source, target in mapping.items():
        table[source] = target
    mapped: NDArray[np.int32] = table[labels]
    return mapped


def _read_raw(path: Path) -> tuple[NDArray[Any], Affine, dict[str, Any]]:
    if not path.exists():
        raise FileNotFoundError(f"{path} must be an image file, but nothing is there. Check the path and --data-root.")
    ending = image_ending(path)
    if not ending:
        known = ", ".join(NIFTI_ENDINGS + ITK_ENDINGS)
        raise VolumeError(f"{path} must end in one of {known}, or be a folder with a DICOM series, got `{path.name}`.")
    try:
        return _read_nifti(path) if ending in NIFTI_ENDINGS else _read_itk(path)
    except GridError:
        raise
    except MemoryError as error:
        raise VolumeError(f"{path} must fit into memory, got: {error}. Close other programs or crop it.") from error
    except _UNREADABLE as error:
        if isinstance(error, PermissionError):
            raise VolumeError(f"{path} must be readable, got: permission denied. Change its permissions.") from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise VolumeError(
            f"{path} must be a complete image file, got {path.stat().st_size} bytes that cannot be read ({reason}). "
            "It may be truncated: copy or export it again."
        ) from error


def _read_nifti(path: Path) -> tuple[NDArray[Any], Affine, dict[str, Any]]:
    image = _opened(path)
    zooms = _stored_pixdim(image)
    if min(zooms) <= 0:
        raise GridError(
            f"{path} must have voxel sizes above zero, got pixdim {tuple(float(z) for z in zooms)} mm. "
            "Correct the header before using this image."
        )
    header = {name: np.array(image.header[name]) for name in GEOMETRY_FIELDS if name in image.header}
    scaling = (getattr(image.dataobj, "slope", 1.0), getattr(image.dataobj, "inter", 0.0))
    # nibabel scales in double precision otherwise: 1.3 GB for a CT of 512x512x600
    data = np.asanyarray(image.dataobj) if scaling == (1.0, 0.0) else np.asanyarray(image.dataobj, dtype=np.float32)
    if data.dtype.names:
        raise VolumeError(f"{path} must be a grey-scale image, got colour voxels ({data.dtype}). Convert it to grey.")
    return data, np.asarray(image.affine, dtype=np.float64), header


def _opened(path: Path) -> Any:
    """A NIfTI-1 or -2 image; gzip is undone by isal, which is faster than zlib."""
    if not path.name.lower().endswith(".gz"):
        return nib.load(path)  # type: ignore[attr-defined]
    content = igzip.decompress(path.read_bytes())
    second = int.from_bytes(content[:4], sys.byteorder) in NIFTI_2_HEADER_BYTES
    return (nib.Nifti2Image if second else nib.Nifti1Image).from_bytes(content)  # type: ignore[no-untyped-call]


def _stored_pixdim(image: Any) -> tuple[float, ...]:
    """Voxel sizes as the file has them: nibabel itself silently turns zeros into ones."""
    if not hasattr(image.header, "structarr") or "pixdim" not in image.header:
        return tuple(abs(float(zoom)) for zoom in image.header.get_zooms()[:3])
    with image.file_map["header" if "header" in image.file_map else "image"].get_prepare_fileobj("rb") as stream:
        stored = type(image.header).from_fileobj(stream, check=False)
    return tuple(abs(float(size)) for size in stored["pixdim"][1:4])


def _read_itk(path: Path) -> tuple[NDArray[Any], Affine, dict[str, Any]]:
    image = sitk.ReadImage(str(path))
    if image.GetDimension() != 3:
        raise VolumeError(f"{path} must be 3-D, got {image.GetDimension()}-D of size {image.GetSize()}.")
    data = sitk.GetArrayFromImage(image)
    spatial = (2, 1, 0) if data.ndim == 3 else (2, 1, 0, 3)
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(image.GetDirection()).reshape(3, 3) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return np.transpose(data, spatial), _LPS_TO_RAS @ affine, {}


def _as_channels(raw: NDArray[Any], path: Path, n_channels: int) -> Image:
    shape = raw.shape
    while raw.ndim > 3 and raw.shape[-1] == 1:
        raw = raw[..., 0]
    if raw.size == 0 or raw.ndim < 3:
        raise VolumeError(f"{path} must be a 3-D image, got {raw.ndim}-D of shape {shape}. Stack the slices first.")
    found = raw.shape[3] if raw.ndim == 4 else 1
    if raw.ndim > 4 or found != n_channels:
        raise VolumeError(
            f"{path} must be one 3-D image{f' with {n_channels} channels' if n_channels > 1 else ''}, got "
            f"{len(shape)}-D of shape {shape}. Split the time points or channels into files, or declare "
            f"`channels` in the manifest if they are input channels."
        )
    moved = np.moveaxis(raw, 3, 0) if raw.ndim == 4 else raw[None]
    return np.ascontiguousarray(moved)


def _grid(shape: tuple[int, ...], affine: Affine, path: Path) -> Grid:
    try:
        return Grid(shape, affine)
    except GridError as error:
        raise GridError(f"{path}: {error}") from error
