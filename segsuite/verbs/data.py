"""Words about data: import, check, split, mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from segsuite.data.checking import Finding, check_manifest, labels_per_case
from segsuite.data.label_table import LABELS_FILE, read_label_table
from segsuite.data.locate import find_data_root
from segsuite.data.manifest import Case, Manifest, read_manifest, write_manifest
from segsuite.data.splits import fold_table, split_by_patient, split_by_site
from segsuite.engines.inputs import find_inputs
from segsuite.errors import InputError, ManifestError, OutputError
from segsuite.files import make_folder
from segsuite.outputs import require_outputs_apart
from segsuite.verbs.importing import import_data
from segsuite.verbs.masks import relative_to

__all__ = ["check", "import_data", "mask", "split"]


def check(
    manifest_path: Path, *, data_root: Path | None, workers: int, on_case: Callable[[str], None] | None = None
) -> list[Finding]:
    """All findings about a manifest and its files.

    Args:
        manifest_path: The manifest.
        data_root: Where its paths start.
        workers: Threads.
        on_case: Called with each case id.

    Returns:
        Findings, errors first.
    """
    manifest = read_manifest(manifest_path)
    root = find_data_root(manifest, manifest_path, data_root)
    return check_manifest(manifest, root, workers=workers, on_case=on_case)[0]


def split(
    manifest_path: Path,
    *,
    n_folds: int,
    seed: int,
    data_root: Path | None,
    workers: int,
    out: Path | None = None,
    by_site: bool = False,
    overwrite: bool = False,
    on_case: Callable[[str], None] | None = None,
) -> tuple[list[dict[str, int]], bool]:
    """Give every training case a fold and write the manifest back.

    Args:
        manifest_path: The manifest.
        n_folds: Number of folds.
        seed: Of the draw.
        data_root: Where its paths start.
        workers: Threads that read the labels.
        out: Another file to write to.
        by_site: Make every site a fold instead; ``n_folds`` and ``seed`` do not matter then.
        overwrite: Whether other folds than these, or another file at ``out``, may be lost.
        on_case: Called with each case id.

    Returns:
        One row of counts per fold, and whether the labels could be read for stratification.

    Raises:
        OutputError: The file has other folds already, or is no manifest.
    """
    manifest = read_manifest(manifest_path)
    try:
        root = find_data_root(manifest, manifest_path, data_root)
        found = labels_per_case(manifest, root, workers=workers, on_case=on_case)
    except (InputError, FileNotFoundError):
        found = {}  # without the data the split still is by patient, site and group
    present = {case_id: tuple(value for value in values if value in manifest.structures) for case_id, values in found.items()}
    if by_site:
        cases = split_by_site(manifest.training)
    else:
        cases = split_by_patient(manifest.training, n_folds=n_folds, seed=seed, labels_present=present)
    if not overwrite:
        _require_replaceable(out or manifest_path, cases)
    _write_changed(manifest, manifest_path, out or manifest_path, overwrite=overwrite, training=cases)
    return fold_table(cases, present), bool(present)


def mask(
    manifest_path: Path,
    masks: Path,
    out: Path,
    *,
    data_root: Path | None = None,
    labels: Path | None = None,
    overwrite: bool = False,
) -> Manifest:
    """A manifest whose labels are masks that a model made of its images: to train within an organ, or to look at.

    Args:
        manifest_path: The manifest.
        masks: What `segsuite predict MODEL MANIFEST --out MASKS` wrote.
        out: The manifest to write.
        data_root: Where the manifest's paths start.
        labels: Table of the masks' integers; default ``labels.tsv`` beside the masks.
        overwrite: Whether another manifest at ``out`` may be lost.

    Returns:
        The new manifest.

    Raises:
        ManifestError: Cases without a mask.
        OutputError: The old manifest, or another file, would be written over.
    """
    manifest = read_manifest(manifest_path)
    require_outputs_apart({out: "the new manifest"}, [manifest_path, masks / LABELS_FILE, *([labels] if labels else [])])
    if not overwrite:
        _require_replaceable(out, manifest.training)
    root = find_data_root(manifest, manifest_path, data_root).resolve()
    made = {
        case.case_id: masks / case.output
        for case in find_inputs([manifest_path], n_channels=manifest.n_channels, data_root=data_root)
    }
    if missing := [case_id for case_id, path in made.items() if not path.is_file()]:
        raise ManifestError(
            f"{masks} must hold a mask for every case of {manifest_path}, got none for {len(missing)} of {len(made)}, first "
            f"{made[missing[0]].name}. Make them: segsuite predict MODEL {manifest_path} --out {masks}"
        )
    names = read_label_table(labels or masks / LABELS_FILE)
    rows = {
        part: [
            case.model_copy(update={"label": relative_to(made[case.case_id].resolve(), root), "labelled": None})
            for case in getattr(manifest, part)
        ]
        for part in ("training", "test")
    }
    update = {"labels": {"background": 0, **{name: value for value, name in names.items()}}, "label_mapping": {}}
    plain = manifest.without_regions()
    return _write_changed(plain, manifest_path, out, overwrite=overwrite, **rows, **update, ignore_label=None)


def _require_replaceable(target: Path, cases: Sequence[Case]) -> None:
    """Check that only a manifest without folds, or with just these, is written over."""
    if not target.exists():
        return
    try:
        before = {case.case_id: case.fold for case in read_manifest(target).training}
    except InputError as error:
        raise OutputError(f"{target} is no manifest, and would be lost. Choose another --out.") from error
    lost = [case.case_id for case in cases if before.get(case.case_id) not in (None, case.fold)]
    if lost or set(before) - {case.case_id for case in cases}:
        raise OutputError(
            f"{target} has folds already, and {len(lost)} of {len(before)} cases would get another one. Models trained on them "
            "could not be scored any more. Choose another --out, or give --overwrite to replace them."
        )


def _write_changed(manifest: Manifest, source: Path, target: Path, *, overwrite: bool, **update: Any) -> Manifest:
    """Write a changed manifest, perhaps elsewhere: then its data root is told from there."""
    updated = manifest.model_copy(update=update)
    if target.resolve().parent != source.resolve().parent:
        root = (source.parent / (manifest.data_root or ".")).resolve()
        updated = updated.model_copy(update={"data_root": relative_to(root, target.resolve().parent)})
    is_other = target.exists() and not target.samefile(source)
    if is_other and not overwrite and _but_for_folds(read_manifest(target)) != _but_for_folds(updated):
        raise OutputError(
            f"{target} is another manifest, which differs in more than folds from what would be written, and would be lost. "
            "Choose another --out, or give --overwrite to replace it."
        )
    make_folder(target.resolve().parent)
    write_manifest(target, updated)
    return updated


def _but_for_folds(manifest: Manifest) -> dict[str, Any]:
    """What a manifest says beside folds and its history."""
    content = manifest.model_dump(exclude={"meta"})
    return content | {"training": [{**row, "fold": None} for row in content["training"]]}
