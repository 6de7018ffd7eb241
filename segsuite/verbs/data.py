"""Words about data: import, check, split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from segsuite.data.checking import Finding, check_manifest, labels_per_case
from segsuite.data.importers import import_folder
from segsuite.data.locate import find_data_root
from segsuite.data.manifest import Manifest, read_manifest, write_manifest
from segsuite.data.splits import fold_table, split_by_patient
from segsuite.errors import InputError
from segsuite.files import make_folder
from segsuite.shipped import find_manifest

__all__ = ["check", "import_data", "split"]


def import_data(folder: Path, out: Path, *, like: str | None = None, workers: int = 1, **options: Any) -> Manifest:
    """Make a manifest of a folder; see ``data.importers.import_folder``.

    Where the layout does not name the labels, they are taken from the manifest ``like``, else the integers found in the
    masks are named ``label_<n>``.

    Args:
        folder: The data.
        out: The manifest to write.
        like: A manifest, by file or shipped name, whose labels, channels, licence and source hold here too.
        workers: Threads that read masks for their integers.
        options: Of ``import_folder``.

    Returns:
        The manifest, as written.
    """
    manifest = import_folder(folder, **options)
    root = folder if folder.is_dir() else folder.parent
    make_folder(out.resolve().parent)
    update: dict[str, Any] = {"data_root": _relative_to(root.resolve(), out.resolve().parent)}
    if like is not None:
        known = read_manifest(find_manifest(like))
        update |= {key: getattr(known, key) for key in ("labels", "channels", "licence", "source", "label_mapping")}
    elif not manifest.structures and any(case.label for case in manifest.cases):
        found = {value for values in labels_per_case(manifest, root, workers=workers).values() for value in values}
        update["labels"] = {"background": 0, **{f"label_{value}": value for value in sorted(found - {0})}}
    written = manifest.model_copy(update=update)
    write_manifest(out, written)
    return written


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
        on_case: Called with each case id.

    Returns:
        One row of counts per fold, and whether the labels could be read for stratification.
    """
    manifest = read_manifest(manifest_path)
    try:
        root = find_data_root(manifest, manifest_path, data_root)
        found = labels_per_case(manifest, root, workers=workers, on_case=on_case)
    except (InputError, FileNotFoundError):
        found = {}  # without the data the split still is by patient, site and group
    present = {case_id: tuple(value for value in values if value in manifest.structures) for case_id, values in found.items()}
    cases = split_by_patient(manifest.training, n_folds=n_folds, seed=seed, labels_present=present)
    target = out or manifest_path
    updated = manifest.model_copy(update={"training": cases})
    if out is not None and manifest.data_root is not None:
        root = (manifest_path.parent / manifest.data_root).resolve()
        updated = updated.model_copy(update={"data_root": _relative_to(root, out.resolve().parent)})
    write_manifest(target, updated)
    return fold_table(cases, present), bool(present)


def _relative_to(path: Path, start: Path) -> str:
    """The path from a folder, through ``..`` where needed; absolute where nothing is shared but the root."""
    shared = [a for a, b in zip(path.parts, start.parts, strict=False) if a == b]
    common = Path(*shared) if shared else Path()
    if len(common.parts) <= 1 or not path.is_relative_to(common) or not start.is_relative_to(common):
        return path.as_posix()
    up = [".."] * len(start.relative_to(common).parts)
    return Path(*up, path.relative_to(common)).as_posix() or "."
