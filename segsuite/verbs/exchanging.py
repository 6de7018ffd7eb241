"""The word dicomseg: masks as DICOM segmentations for an archive, and back."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from segsuite.data.label_table import label_table, read_label_table
from segsuite.engines.inputs import SearchOptions, search_inputs
from segsuite.errors import InputError, OutputError, VolumeError
from segsuite.files import make_folder, write_text
from segsuite.outputs import require_outputs_apart
from segsuite.volumes.archives import WorkFolder
from segsuite.volumes.dicom_segmentation import read_dicom_segmentation, write_dicom_segmentation
from segsuite.volumes.dicom_series import series_at
from segsuite.volumes.finding import SeriesChoice
from segsuite.volumes.formats.endings import without_ending
from segsuite.volumes.mask_files import list_masks
from segsuite.volumes.packed import image_at, is_packed
from segsuite.volumes.reading import read_labels
from segsuite.volumes.writing import write_mask

__all__ = ["export_masks", "import_segmentation"]


def export_masks(
    masks: Path,
    series: Path,
    labels: Path,
    out: Path,
    *,
    made_by: str,
    series_uid: str | None = None,
    on_file: Callable[[str, str], None] = lambda *_: None,
) -> dict[str, str]:
    """Masks as DICOM segmentations that refer to the series they were made from.

    Args:
        masks: A mask, or a folder of masks that bear the names of their series, as ``predict`` writes them.
        series: The series' folder, one of its files, or an archive of it; for a folder of masks what ``predict`` was given.
        labels: Label table; ``labels.tsv`` beside the masks is one.
        out: A ``.dcm`` file, or a folder.
        made_by: The model, for the objects' algorithm.
        series_uid: Of the series, only this one.
        on_file: Called with name and ``done`` or the reason of a failure.

    Returns:
        Name to reason of those that failed.

    Raises:
        FileNotFoundError: Nothing is there.
        VolumeError: A folder without masks; or, of a single mask, what is wrong with it.
        OutputError: A segmentation would be written over what is read, over another file, or into a series.
    """
    structures = read_label_table(labels)
    if masks.is_file():
        require_outputs_apart({out: "the segmentation"}, [masks, labels, *_slices(series)])
        with image_at(series, series_uid=series_uid) as place:
            notes = write_dicom_segmentation(out, read_labels(masks), place, structures, made_by=made_by, series_uid=series_uid)
        on_file(out.name, _done(notes))
        return {}
    found = list_masks(masks).masks
    if not found:
        raise VolumeError(f"{masks} must hold masks, got none.")
    failures = {}
    with WorkFolder(out) as work:
        where = SearchOptions(SeriesChoice(series_uid), out, work)
        known = {without_ending(case.output): case.images[0] for case in search_inputs([series], n_channels=1, where=where).cases}
        named = {path: without_ending(path.relative_to(masks).as_posix()) for path in found}
        outputs = {out / f"{name}.dcm": f"of {name}" for name in named.values()}
        require_outputs_apart(outputs, [*found, labels, *known.values()], inside=out)
        for path, name in named.items():
            said = ""
            try:
                place = _place(name, known, series)
                make_folder((out / name).parent)
                said = _done(write_dicom_segmentation(out / f"{name}.dcm", read_labels(path), place, structures, made_by=made_by))
            except (InputError, FileNotFoundError) as error:
                said = failures[name] = str(error)
            on_file(name, said)
    return failures


def _slices(series: Path) -> tuple[Path, ...]:
    """What is read of a series: its folder, its archive, or all files of the one that a file belongs to."""
    return (series,) if series.is_dir() or not series.exists() or is_packed(series) else (series, *series_at(series).files)


def _place(name: str, known: Mapping[str, Path], series: Path) -> Path:
    if name not in known:
        raise VolumeError(f"{series} must hold a series {name}, got: {', '.join(sorted(known)[:5])}.")
    return known[name]


def _done(notes: Sequence[str]) -> str:
    return f"done ({'; '.join(notes)})" if notes else "done"


def import_segmentation(segmentation: Path, out: Path) -> dict[int, str]:
    """A DICOM segmentation as a mask, with ``<name>_labels.tsv`` beside it.

    Args:
        segmentation: ``.dcm``.
        out: ``.nii.gz`` or another image ending.

    Returns:
        Integer to name.

    Raises:
        VolumeError: No DICOM segmentation.
        OutputError: The mask, or its labels, would be written over it or over another file.
    """
    names_file = out.with_name(f"{without_ending(out.name)}_labels.tsv")
    require_outputs_apart({out: "the mask", names_file: "names of the labels"}, [segmentation])
    for path in (out, names_file):
        if os.path.lexists(path):
            raise OutputError(f"{path} must not be there yet, got another file. Move it away, or choose another --out.")
    volume, names = read_dicom_segmentation(segmentation)
    make_folder(out.parent)
    write_mask(out, np.ascontiguousarray(volume.labels), like=volume)
    write_text(names_file, label_table(names))
    return names
