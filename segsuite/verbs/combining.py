"""`manifest combine`: masks with a channel or a file per structure, as one label map per case in new files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segsuite.data.importing.found import ImportFinding
from segsuite.data.importing.structures import is_in_mask_folder, structure_files
from segsuite.data.importing.tree import axes_of, list_tree
from segsuite.data.importing.words import is_label_word, read_name
from segsuite.data.label_table import LABELS_FILE
from segsuite.data.locate import find_data_root, image_paths, label_path
from segsuite.data.manifest import Case, Manifest, read_manifest, write_manifest
from segsuite.errors import ManifestError, VolumeError, closest_hint
from segsuite.files import make_folder
from segsuite.outputs import require_outputs_apart
from segsuite.shipped import find_manifest
from segsuite.verbs.masks import Combining, claim_folder, combine_cases, each_case, relative_to
from segsuite.verbs.segmentations import join_segments
from segsuite.volumes.combining import combine_channels
from segsuite.volumes.reading import read_segments, read_volume
from segsuite.volumes.writing import write_mask

__all__ = ["combine_folder", "combine_manifest"]

Tell = Callable[[ImportFinding], None]


def combine_folder(
    folder: Path,
    out: Path,
    *,
    structures: str | None = None,
    like: str | None = None,
    combining: Combining | None = None,
    on_finding: Tell | None = None,
) -> dict[str, Path]:
    """One label map per case of a folder with one file per structure, and ``labels.tsv`` beside them.

    Args:
        folder: Masks called after their structure, in a folder per case (``s1/liver``, ``s1/segmentations/liver``).
        out: Where to.
        structures: Pattern with ``{case}`` and ``{structure}`` for any other place.
        like: Manifest, by file or shipped name, whose integers hold; else they are given by the alphabet.
        combining: Order, threads, and whether to overwrite.
        on_finding: Called with what a person should know.

    Returns:
        Case to its map.

    Raises:
        ManifestError: No such masks, or a structure that ``like`` does not know.
        OutputError: An output is an input, or the folder holds something else.
    """
    tree = list_tree(folder)
    groups = structure_files(structures, tree.paths) if structures is not None else _by_folder(folder, tree.paths)
    names = sorted({name for files in groups.values() for name in files})
    if not names:
        raise ManifestError(
            f"{folder} must hold masks called after their structures, a folder per case, got none. Give --structures."
        )
    known = None if like is None else read_manifest(find_manifest(like))
    if known is not None and (unknown := [name for name in names if name not in known.labels]):
        raise ManifestError(
            f"{known.name} must have an integer for each structure, got none for {unknown[:3]}. "
            f"{closest_hint(unknown[0], known.labels)}"
        )
    values = {name: n for n, name in enumerate(names, start=1)} if known is None else {n: v for v, n in known.structures.items()}
    files = {case_id: {name: folder / path for name, path in group.items()} for case_id, group in groups.items()}
    outputs = {out / f"{case_id}.nii.gz": f"case {case_id}" for case_id in files} | {out / LABELS_FILE: "the table of labels"}
    require_outputs_apart(outputs, [path for group in files.values() for path in group.values()], inside=out)
    made, findings = combine_cases(files, out, values=values, combining=combining or Combining())
    for finding in [*tree.findings, *findings]:
        if on_finding is not None:
            on_finding(finding)
    return made


def _by_folder(folder: Path, paths: Sequence[str]) -> dict[str, dict[str, str]]:
    """Case to structure to file, where each case has a folder of its own."""
    in_mask_folders = [path for path in paths if is_in_mask_folder(path)]
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for path in in_mask_folders or paths:
        parts = [part for part in path.split("/")[:-1] if not all(is_label_word(word) for word in re.split(r"[_\-. ]+", part))]
        name = read_name(path)
        groups["/".join(parts) or folder.resolve().name][name.mask_form or name.stem] = path
    return dict(groups)


def combine_manifest(
    manifest_path: Path,
    out: Path,
    *,
    data_root: Path | None = None,
    threshold: float = 0.5,
    combining: Combining | None = None,
    on_finding: Tell | None = None,
) -> Manifest:
    """A manifest whose masks with a channel per structure (one-hot, probabilities) are label maps.

    The channels are the labels of the manifest in order of their integers, with or without the background in front; the
    structures of a segmentation (``.seg.nrrd``) are those of their names.

    Args:
        manifest_path: The manifest.
        out: Folder for ``manifest.json`` and ``masks/``.
        data_root: Where the manifest's paths start.
        threshold: Probability from which a voxel is of a structure, where the background has no channel.
        combining: Order (names of structures), threads, and whether to overwrite.
        on_finding: Called with what a person should know.

    Returns:
        The new manifest, as written.

    Raises:
        ManifestError: No manifest, no structures, or no data root.
        OutputError: An output is an input, or the folder holds something else.
    """
    manifest = read_manifest(manifest_path)
    how = combining or Combining()
    if not manifest.structures:
        raise ManifestError(f"{manifest_path} must name its `labels`, one per channel in order, got {manifest.labels}.")
    if unknown := [name for name in how.order if name not in manifest.labels]:
        raise ManifestError(f"The order must name labels, got `{unknown[0]}`. {closest_hint(unknown[0], manifest.labels)}")
    root = find_data_root(manifest, manifest_path, data_root).resolve()
    cases = {case.case_id: case for case in manifest.cases if case.label}
    targets = {case_id: out / "masks" / f"{case_id}.nii.gz" for case_id in cases}
    outputs = {path: f"case {case_id}" for case_id, path in targets.items()} | {out / "manifest.json": "the manifest"}
    read = [
        path for case in manifest.cases for path in (*image_paths(case, root), *([label_path(case, root)] if case.label else []))
    ]
    require_outputs_apart(outputs, [manifest_path, *read], inside=out)
    claim_folder(out, {"combined": manifest.name}, overwrite=how.overwrite)

    def combine(case_id: str) -> Path:
        source = label_path(cases[case_id], root)
        _combine(source, targets[case_id], manifest, threshold=threshold, order=how.order)
        return targets[case_id]

    made, findings = each_case(cases, combine, "masks that cannot be combined", how.watch)
    message = f"Written to {out / 'masks'} for {len(made)} of {len(cases)} cases."
    findings.append(ImportFinding("note", "structures", tuple(manifest.structures.values()), message))
    written = _with_labels(manifest, made, root, out)
    write_manifest(out / "manifest.json", written)
    for finding in findings:
        if on_finding is not None:
            on_finding(finding)
    return written


def _combine(source: Path, target: Path, manifest: Manifest, *, threshold: float, order: Sequence[str]) -> None:
    if not source.exists():
        raise FileNotFoundError(f"{source} must be a mask, but nothing is there.")
    if read_segments(source):  # names before the order of the layers
        joined, _ = join_segments(source, {name: value for value, name in manifest.structures.items()}, order=order)
        make_folder(target.parent)
        write_mask(target, joined.labels, like=joined)
        return
    axes, values = axes_of(source), list(manifest.structures)
    n_channels = axes[3] if len(axes) == 4 else 1
    if n_channels not in (len(values), len(values) + 1):
        raise VolumeError(
            f"{source} must have a channel for each of the {len(values)} structures, or these and the background, got "
            f"{n_channels} (shape {' x '.join(map(str, axes)) or 'unknown'}): {', '.join(manifest.structures.values())}."
        )
    volume = read_volume(source, n_channels=n_channels)
    labels = combine_channels(
        volume,
        values,
        with_background=n_channels == len(values) + 1,
        threshold=threshold,
        order=[manifest.labels[name] for name in order],
    )
    make_folder(target.parent)
    write_mask(target, labels, like=volume)


def _with_labels(manifest: Manifest, made: Mapping[str, Path], root: Path, out: Path) -> Manifest:
    def row(case: Case) -> Case:
        place = relative_to(made[case.case_id].resolve(), root) if case.case_id in made else case.label
        return case.model_copy(update={"label": place})

    update: dict[str, Any] = {part: [row(case) for case in getattr(manifest, part)] for part in ("training", "test")}
    return manifest.model_copy(update={**update, "data_root": relative_to(root, out.resolve())})
