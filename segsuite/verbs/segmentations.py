"""`manifest combine` of 3D Slicer's segmentations: structures that overlap become one label map by an order the user gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from segsuite.data.importing.found import ImportFinding
from segsuite.data.manifest import read_manifest
from segsuite.errors import InputError, ManifestError, VolumeError, closest_hint
from segsuite.files import make_folder, write_text
from segsuite.outputs import require_outputs_apart
from segsuite.shipped import find_manifest
from segsuite.verbs.masks import Combining, claim_folder, each_case
from segsuite.volumes.formats.endings import image_ending, without_ending
from segsuite.volumes.mask_files import list_masks
from segsuite.volumes.reading import read_labels, read_segments
from segsuite.volumes.volume import Volume
from segsuite.volumes.writing import write_mask

__all__ = ["combine_segmentations", "join_segments", "segmentations_at"]

SEGMENTATION_ENDING = ".seg.nrrd"


def segmentations_at(source: Path) -> dict[str, Path]:
    """The segmentations that a user means, where a path means such.

    Args:
        source: An image file, or a folder in which all masks are segmentations, some with several structures.

    Returns:
        Name to file; empty for a manifest, and for a folder of anything else (a file per structure, for one).
    """
    if source.is_file():
        return {without_ending(source.name): source} if image_ending(source) else {}
    masks = list_masks(source).masks if source.is_dir() else []
    if not masks or any(image_ending(path) != SEGMENTATION_ENDING for path in masks):
        return {}
    if not any(_n_segments(path) > 1 for path in masks):
        return {}
    return {without_ending(path.relative_to(source).as_posix()): path for path in masks}


def _n_segments(path: Path) -> int:
    try:
        return len(read_segments(path))
    except (InputError, OSError):
        return 0


def combine_segmentations(
    files: Mapping[str, Path],
    out: Path,
    *,
    like: str | None = None,
    combining: Combining | None = None,
    on_finding: Callable[[ImportFinding], None] | None = None,
) -> dict[str, Path]:
    """One label map per segmentation, and ``labels.tsv`` beside them.

    Args:
        files: Name to segmentation.
        out: Where to.
        like: Manifest, by file or shipped name, whose integers hold. Else those of the files; where these give one structure
            two integers, or two structures one, they are given by the alphabet.
        combining: Order, threads, and whether to overwrite.
        on_finding: Called with what a person should know.

    Returns:
        Name to map.

    Raises:
        VolumeError: A single file that cannot be read or names no structures.
        ManifestError: A structure that ``like`` does not know, or an order of structures that no file has.
        OutputError: An output is an input, or the folder holds something else.
    """
    how = combining or Combining()
    found = {name: _segments(path) for name, path in files.items()} if len(files) == 1 else _readable(files)
    values = _values(found, like)
    if unknown := [name for name in how.order if name not in {own for segments in found.values() for own in segments}]:
        raise ManifestError(
            f"The order must name structures of the masks, got `{unknown[0]}`. {closest_hint(unknown[0], values)}"
        )
    targets = {name: out / f"{name}.nii.gz" for name in files}
    outputs = {path: f"case {name}" for name, path in targets.items()} | {out / "labels.tsv": "the table of labels"}
    require_outputs_apart(outputs, list(files.values()), inside=out)
    claim_folder(out, {"labels": values, "order": list(how.order)}, overwrite=how.overwrite)
    rows = "".join(f"{value}\t{name}\n" for name, value in sorted(values.items(), key=lambda item: item[1]))
    write_text(out / "labels.tsv", f"index\tname\n0\tbackground\n{rows}")

    def combine(name: str) -> tuple[Path, tuple[str, ...]]:
        volume, overlaps = join_segments(files[name], values, order=how.order)
        make_folder(targets[name].parent)
        write_mask(targets[name], volume.labels, like=volume)
        return targets[name], overlaps

    done, findings = each_case(files, combine, "segmentations that cannot be combined", how.watch)
    if decided := tuple(f"{name}: {', '.join(overlaps)}" for name, (_, overlaps) in done.items() if overlaps):
        findings.append(ImportFinding("note", "overlapping structures", decided, f"Decided by the order {', '.join(how.order)}."))
    message = f"Combined for {len(done)} of {len(files)} cases into {out}."
    findings.append(ImportFinding("note", "structures", tuple(values), message))
    for finding in findings:
        if on_finding is not None:
            on_finding(finding)
    return {name: target for name, (target, _) in done.items()}


def join_segments(path: Path, values: Mapping[str, int], *, order: Sequence[str]) -> tuple[Volume, tuple[str, ...]]:
    """A segmentation as one label map with given integers.

    Args:
        path: A file that names its structures.
        values: Structure to integer.
        order: Structures that may overlap, the one that wins last; those that the file has not are passed over.

    Returns:
        Integers (1, i, j, k), and what the order decided, such as ``prostate (12 voxels to tumour)``.

    Raises:
        VolumeError: Structures overlap that are not in the order, the file draws what it does not name, or a structure has no
            integer.
    """
    segments = _segments(path)
    if strangers := [name for name in segments if name not in values]:
        raise VolumeError(
            f"{path} must have structures with an integer, got `{strangers[0]}`. {closest_hint(strangers[0], values)}"
        )
    own = [name for name in order if name in segments]
    volume = read_labels(path, segment_order=own)
    present = np.unique(volume.array)
    if unnamed := sorted({int(value) for value in present} - {0, *segments.values()}):
        raise VolumeError(f"{path} must name what it draws, got voxels of {len(unnamed)} structures that have no name.")
    names = {value: name for name, value in segments.items()}
    overlaps = _decided(volume, read_labels(path, segment_order=own[::-1]), names) if own else ()
    table = np.zeros(int(present.max(initial=0)) + 1, dtype=np.uint16)
    for name, value in segments.items():
        if value < len(table):
            table[value] = values[name]
    return Volume(table[volume.array], volume.grid, path, volume.header, volume.notes, volume.sides_known), overlaps


def _decided(kept: Volume, other: Volume, names: Mapping[int, str]) -> tuple[str, ...]:
    """Where the opposite order gives another structure, the order has decided."""
    differ = kept.array != other.array
    pairs = Counter(zip(other.array[differ].tolist(), kept.array[differ].tolist(), strict=True))
    return tuple(f"{names[lost]} ({count} voxels to {names[won]})" for (lost, won), count in sorted(pairs.items()))


def _segments(path: Path) -> dict[str, int]:
    segments = {one.name: one.value for one in read_segments(path)}
    if not segments:
        raise VolumeError(
            f"{path} must be a segmentation that names its structures ({SEGMENTATION_ENDING}), got none. Give a folder with "
            "a file per structure, or a manifest of masks with a channel per structure."
        )
    return segments


def _readable(files: Mapping[str, Path]) -> dict[str, dict[str, int]]:
    """The structures of many files; one that cannot be read fails later, alone."""
    found = {}
    for name, path in files.items():
        try:
            found[name] = _segments(path)
        except (InputError, OSError):
            found[name] = {}
    return found


def _values(found: Mapping[str, Mapping[str, int]], like: str | None) -> dict[str, int]:
    names = sorted({name for segments in found.values() for name in segments})
    if like is not None:
        known = read_manifest(find_manifest(like))
        if unknown := [name for name in names if name not in known.labels]:
            raise ManifestError(
                f"{known.name} must have an integer for each structure, got none for {unknown[:3]}. "
                f"{closest_hint(unknown[0], known.labels)}"
            )
        return {name: value for value, name in known.structures.items()}
    given = {(name, value) for segments in found.values() for name, value in segments.items()}
    if len(given) == len(names) == len({value for _, value in given}):
        return dict(sorted(given, key=lambda pair: pair[1]))
    return {name: number for number, name in enumerate(names, start=1)}
