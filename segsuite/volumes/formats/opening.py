"""Which format a file has, by its content; its name only helps where that is silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from segsuite.errors import InputError, VolumeError
from segsuite.failures import first_line
from segsuite.volumes.archives import is_archive
from segsuite.volumes.formats.content import Content, open_content
from segsuite.volumes.formats.description import Description
from segsuite.volumes.formats.endings import ENDINGS, header_of_pair, image_ending
from segsuite.volumes.formats.freesurfer import describe_mgh, is_mgh
from segsuite.volumes.formats.metaimage import describe_metaimage, is_metaimage
from segsuite.volumes.formats.nifti import describe_nifti, is_nifti
from segsuite.volumes.formats.nrrd import describe_nrrd, is_nrrd

__all__ = ["described"]

_FORMATS = (
    (is_nrrd, describe_nrrd),
    (is_nifti, describe_nifti),
    (is_metaimage, describe_metaimage),
    (is_mgh, describe_mgh),
)
_OTHERS = (
    (b"<", "text such as a web page"), (b"\x89PNG", "a PNG picture"), (b"\xff\xd8\xff", "a JPEG picture"),
    (b"PK", "a zip archive"),
    (b"II*\0", "a TIFF picture"), (b"MM\0*", "a TIFF picture"), (b"\x89HDF", "an HDF5 file"), (b"{", "a JSON file"),
    (b"CDF", "a NetCDF file (MINC 1)"), (b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself"),
)  # fmt: skip


@contextmanager
def described(path: Path) -> Iterator[Description]:
    """What a file's header says, and the file open to read its voxels.

    Args:
        path: An image file of any format; of a pair, either file.

    Raises:
        FileNotFoundError: Nothing is there.
        VolumeError: No image, unreadable, damaged or cut short; also what reading its voxels meets.
        GridError: Sizes or placements that cannot be.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} must be an image file, but nothing is there. Check the path and --data-root.")
    try:
        with open_content(_with_header(path)) as content, np.errstate(all="ignore"):
            yield _describe(content)
    except (InputError, FileNotFoundError):
        raise
    except MemoryError as error:
        raise VolumeError(f"{path} must fit into memory, but it does not. Close other programs or crop it.") from error
    except (ValueError, ArithmeticError, LookupError, TypeError) as error:
        reason = first_line(error)
        raise VolumeError(f"{path} must have a readable header, got: {reason}. Export it again.") from error


def _describe(content: Content) -> Description:
    start, path = content.start(), content.path
    for is_format, describe in _FORMATS:
        if is_format(start):
            return describe(content)
    if is_archive(path):
        raise VolumeError(f"{path} must be unpacked first, got an archive: only `segsuite predict` looks into archives.")
    if not image_ending(path):
        raise VolumeError(
            f"{path} must end in one of {', '.join(ENDINGS)}, or be a folder with a DICOM series, got `{path.name}`."
        )
    what = next((name for mark, name in _OTHERS if start.startswith(mark)), "")
    what = "a DICOM file: give the folder with the series" if start[128:132] == b"DICM" else what
    raise content.damaged(f"it begins like {what or 'no image: NIfTI, NRRD, MetaImage and MGH are read'}")


def _with_header(path: Path) -> Path:
    """The file to begin with: of a pair, the header."""
    if not image_ending(path).startswith(".img"):
        return path
    header = header_of_pair(path)
    if header is None:
        with open_content(path) as content:
            if is_nifti(content.start()):
                return path
        wanted = path.with_suffix(".hdr").name
        raise VolumeError(f"{path} must have its header beside it, but there is no {wanted}. Copy both files of the pair.")
    return header
