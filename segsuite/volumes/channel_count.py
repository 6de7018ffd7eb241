"""How many channels a file holds, from its header alone."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib
import SimpleITK as sitk

from segsuite.volumes.reading import NIFTI_ENDINGS, image_ending

__all__ = ["channels_in_file"]


def channels_in_file(path: Path) -> int:
    """Volumes beyond the three axes of space.

    Args:
        path: An image file.

    Returns:
        1 for an ordinary image, and where the header cannot be read: reading says why.
    """
    try:
        if not path.is_file():
            return 1
        if image_ending(path) in NIFTI_ENDINGS:
            return max(1, math.prod(nib.load(path).shape[3:]))  # type: ignore[attr-defined]
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        return max(1, math.prod(reader.GetSize()[3:]) * int(reader.GetNumberOfComponents()))
    except Exception:
        return 1
