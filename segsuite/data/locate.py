"""Where the files of a manifest are: the data root that the user gives, or the one the manifest was imported from."""

from __future__ import annotations

from pathlib import Path

from segsuite.data.manifest import Case, Manifest
from segsuite.errors import ManifestError

__all__ = ["find_data_root", "image_paths", "label_path"]


def find_data_root(manifest: Manifest, manifest_path: Path, data_root: Path | None) -> Path:
    """The folder that the rows' paths are relative to.

    Args:
        manifest: The manifest.
        manifest_path: Its file.
        data_root: What the user gave; it wins.

    Returns:
        An existing folder.

    Raises:
        ManifestError: No such folder, with what to give.
    """
    root = data_root or (manifest_path.parent / (manifest.data_root or ".")).resolve()
    if not root.is_dir():
        raise ManifestError(
            f"The data root of {manifest.name} must be a folder, got {root}. Give the folder that the paths of "
            f"{manifest_path} start from with --data-root."
            + (f" Get the data from: {manifest.source}" if manifest.source else "")
        )
    return root


def image_paths(case: Case, data_root: Path) -> list[Path]:
    """The image files of a case, one per channel or one for all."""
    return [data_root / name for name in case.images]


def label_path(case: Case, data_root: Path) -> Path:
    """The label file of a case.

    Args:
        case: A labelled case.
        data_root: Where paths start.

    Returns:
        The path.

    Raises:
        ManifestError: The case has none.
    """
    if case.label is None:
        raise ManifestError(f"Case {case.case_id} must have a `label`, got none. Add it or leave the case out.")
    return data_root / case.label
