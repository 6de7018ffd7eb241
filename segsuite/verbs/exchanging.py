"""The word dicomseg: masks as DICOM segmentations for an archive, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from segsuite.data.label_table import read_label_table
from segsuite.errors import InputError, VolumeError
from segsuite.files import make_folder, write_text
from segsuite.volumes.dicom_segmentation import read_dicom_segmentation, write_dicom_segmentation
from segsuite.volumes.formats.endings import without_ending
from segsuite.volumes.mask_files import list_masks
from segsuite.volumes.reading import read_labels
from segsuite.volumes.writing import write_mask

__all__ = ["export_masks", "import_segmentation"]


def export_masks(
    masks: Path, series: Path, labels: Path, out: Path, *, made_by: str, on_file: Callable[[str, str], None] = lambda *_: None
) -> dict[str, str]:
    """Masks as DICOM segmentations that refer to the series they were made from.

    Args:
        masks: A mask, or a folder of masks that bear the names of their series' folders, as ``predict`` writes them.
        series: The series' folder, or the folder of the series' folders.
        labels: Label table; ``labels.tsv`` beside the masks is one.
        out: A ``.dcm`` file, or a folder.
        made_by: The model, for the objects' algorithm.
        on_file: Called with name and ``done`` or the reason of a failure.

    Returns:
        Name to reason of those that failed.

    Raises:
        FileNotFoundError: Nothing is there.
        VolumeError: A folder without masks; or, of a single mask, what is wrong with it.
    """
    structures = read_label_table(labels)
    if masks.is_file():
        write_dicom_segmentation(out, read_labels(masks), series, structures, made_by=made_by)
        return {}
    found = list_masks(masks).masks
    if not found:
        raise VolumeError(f"{masks} must hold masks, got none.")
    failures = {}
    for path in found:
        name = without_ending(path.relative_to(masks).as_posix())
        try:
            make_folder((out / name).parent)
            write_dicom_segmentation(out / f"{name}.dcm", read_labels(path), series / name, structures, made_by=made_by)
        except (InputError, FileNotFoundError) as error:
            failures[name] = str(error)
        on_file(name, failures.get(name, "done"))
    return failures


def import_segmentation(segmentation: Path, out: Path) -> dict[int, str]:
    """A DICOM segmentation as a mask, with ``<name>_labels.tsv`` beside it.

    Args:
        segmentation: ``.dcm``.
        out: ``.nii.gz`` or another image ending.

    Returns:
        Integer to name.

    Raises:
        VolumeError: No DICOM segmentation.
    """
    volume, names = read_dicom_segmentation(segmentation)
    make_folder(out.parent)
    write_mask(out, np.ascontiguousarray(volume.labels), like=volume)
    table = "".join(f"{number}\t{name}\n" for number, name in names.items())
    write_text(out.with_name(f"{without_ending(out.name)}_labels.tsv"), f"index\tname\n0\tbackground\n{table}")
    return names
