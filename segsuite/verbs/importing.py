"""`manifest import`: a manifest of what people have; nothing that is there already is lost by it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segsuite.data.importing.found import Imported, ImportFinding, ImportOptions
from segsuite.data.importing.layouts import import_folder
from segsuite.data.locate import label_path
from segsuite.data.manifest import Case, Manifest, read_manifest, write_manifest
from segsuite.errors import InputError, ManifestError, OutputError, closest_hint
from segsuite.files import hash_of_json, make_folder
from segsuite.outputs import require_outputs_apart
from segsuite.shipped import find_manifest
from segsuite.verbs.masks import Combining, Watch, combine_cases, each_case, relative_to
from segsuite.volumes.labels import labels_present
from segsuite.volumes.reading import read_labels

__all__ = ["import_data"]

MARK = "imported_sha256"
"""Key under ``meta``: the hash of what was imported. While it holds, nobody has worked on the manifest."""
FROM_LIKE = ("labels", "channels", "licence", "source", "label_mapping", "ignore_label", "regions", "regions_class_order")


def import_data(
    folder: Path,
    out: Path,
    *,
    like: str | None = None,
    layout: str = "auto",
    order: Sequence[str] = (),
    overwrite: bool = False,
    on_finding: Callable[[ImportFinding], None] | None = None,
    watch: Watch | None = None,
    **options: Any,
) -> Manifest:
    """Make a manifest of a folder; see ``data.importing.layouts.import_folder``.

    Where the layout does not name the labels, they are taken from the manifest ``like``, else the integers found in the
    masks are named ``label_<n>``. Masks of one structure each are combined into ``<out>_labels/``, beside the manifest.

    Args:
        folder: The data.
        out: The manifest to write.
        like: A manifest, by file or shipped name, whose labels, channels, licence and source hold here too.
        layout: One of ``LAYOUTS``, or ``auto``.
        order: Where structures of one file each overlap: who wins; what is named later overwrites.
        overwrite: Whether another manifest may be replaced, with its folds and whatever else was done to it.
        on_finding: Called with everything that a person should know: what was left out, which case is not whole.
        watch: Threads that read masks, and who is told of each.
        options: Fields of ``ImportOptions``.

    Returns:
        The manifest, as written.

    Raises:
        ManifestError: Nothing to import, or a question that only a person can answer.
        OutputError: ``out`` is read, or holds something that is not to be lost.
    """
    known = None if like is None else read_manifest(find_manifest(like))
    if known is not None:
        options.setdefault("n_channels", known.n_channels)
    imported = import_folder(folder, ImportOptions(**options), layout=layout)
    root = folder if folder.is_dir() else folder.parent
    before = _replaceable(out, overwrite)
    _require_apart(imported, root, out)
    make_folder(out.resolve().parent)
    watch = watch or Watch()
    update: dict[str, Any] = {"data_root": relative_to(root.resolve(), out.resolve().parent)}
    findings = list(imported.findings)
    if known is not None:
        update |= {key: getattr(known, key) for key in FROM_LIKE}
    if imported.structures:
        rows, told = _combined(
            imported, root, out, values=_values(imported, known), combining=Combining(tuple(order), overwrite, watch)
        )
        update |= rows
    elif known is None and not imported.manifest.structures and any(case.label for case in imported.manifest.cases):
        update["labels"], told = _labels_found(imported.manifest, root, watch)
    else:
        told = []
    written = imported.manifest.model_copy(update=update)
    written = written.model_copy(update={"meta": {**written.meta, MARK: _content_hash(written)}})
    if before is None or _content_hash(before) != _content_hash(written):
        write_manifest(out, written)
    for finding in [*findings, *told]:
        if on_finding is not None:
            on_finding(finding)
    return written


def _replaceable(out: Path, overwrite: bool) -> Manifest | None:
    """What an import may write over: nothing, an import that nobody has touched since, or whatever the user gave free."""
    if not os.path.lexists(out) or (overwrite and out.is_file()):
        return None
    if not out.is_file():
        raise OutputError(f"{out} must be a file, got a folder or device. Choose another --out.")
    try:
        before = read_manifest(out)
    except InputError as error:
        raise OutputError(f"{out} is no manifest, and would be lost. Choose another --out.") from error
    if before.meta.get(MARK) == _content_hash(before):
        return before
    why = (
        f"it has folds {before.folds}, which would be lost"
        if before.folds
        else (
            "it was changed since it was imported" if MARK in before.meta else "it was not written by `segsuite manifest import`"
        )
    )
    raise OutputError(f"{out} is there already, and {why}. Choose another --out, or give --overwrite to replace it.")


def _content_hash(manifest: Manifest) -> str:
    content = manifest.model_dump(exclude_defaults=True)
    content["meta"] = {key: value for key, value in manifest.meta.items() if key != MARK}
    return hash_of_json(content)


def _require_apart(imported: Imported, root: Path, out: Path) -> None:
    files = [name for case in imported.manifest.cases for name in (*case.images, case.label) if name is not None]
    files += [name for parts in imported.structures.values() for name in parts.values()]
    require_outputs_apart({out: "the manifest"}, [root / name for name in (*files, *imported.read)])


def _values(imported: Imported, known: Manifest | None) -> dict[str, int]:
    """The integer of each structure: that of the manifest that the user named, else by the alphabet."""
    if mixed := [case.case_id for case in imported.manifest.cases if case.label and case.case_id not in imported.structures]:
        raise ManifestError(
            f"Each case must have one mask, or each one file per structure, got {len(mixed)} with one mask (first {mixed[0]}) "
            f"and {len(imported.structures)} with one file per structure. Import them apart, or pass over some by --leave-out."
        )
    names = sorted({name for parts in imported.structures.values() for name in parts})
    if known is None:
        return {name: value for value, name in enumerate(names, start=1)}
    if unknown := [name for name in names if name not in known.labels]:
        raise ManifestError(
            f"{known.name} must have an integer for each structure, got none for {unknown[:3]}. "
            f"{closest_hint(unknown[0], known.labels)}"
        )
    return {name: value for value, name in known.structures.items()}


def _combined(
    imported: Imported, root: Path, out: Path, *, values: Mapping[str, int], combining: Combining
) -> tuple[dict[str, Any], list[ImportFinding]]:
    """Rows whose labels are the structures in one map each."""
    folder = out.resolve().parent / f"{out.name.removesuffix('.json')}_labels"
    files = {case_id: {name: root / path for name, path in parts.items()} for case_id, parts in imported.structures.items()}
    made, findings = combine_cases(files, folder, values=values, combining=combining)

    def row(case: Case) -> Case:
        if case.case_id not in made:
            return case
        shown = sorted(imported.structures[case.case_id], key=lambda name: values[name])
        label = relative_to(made[case.case_id], root.resolve())
        return case.model_copy(update={"label": label, "labelled": None if len(shown) == len(values) else shown})

    rows: dict[str, Any] = {part: [row(case) for case in getattr(imported.manifest, part)] for part in ("training", "test")}
    if partly := tuple(case.case_id for part in rows.values() for case in part if case.labelled is not None):
        message = "Structures without a file are taken as not looked at (`labelled` names those that are there)."
        findings.append(ImportFinding("note", "cases without a file for every structure", partly, message))
    return {**rows, "labels": {"background": 0, **values}}, findings


def _labels_found(manifest: Manifest, root: Path, watch: Watch) -> tuple[dict[str, int], list[ImportFinding]]:
    cases = {case.case_id: case for case in manifest.cases if case.label}
    found, findings = each_case(
        cases, lambda name: labels_present(read_labels(label_path(cases[name], root)).array), "masks that cannot be read", watch
    )
    values = {value for labels in found.values() for value in labels} - {0}
    return {"background": 0, **{f"label_{value}": value for value in sorted(values)}}, findings
