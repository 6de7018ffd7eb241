"""A folder per case with a file per structure (TotalSegmentator): told from folders that hold several scans or raters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from segsuite.volumes.formats.endings import without_ending
from segsuite.volumes.labels import labels_present
from segsuite.volumes.reading import read_labels

__all__ = ["by_folder", "common_name", "files_of", "structure_folders"]

LEAST_SHARED = 0.5
"""Share of the names that must occur in more than one folder: cases share structures, not scans."""
N_LOOKED_INTO = 3
"""Folders whose masks are read to see whether each holds one structure; the others are checked when they are measured."""
MOST_EXCEPTIONS = 0.5
"""Share of the masks that must have one label each; more of several labels are whole cases."""
MASK_FOLDERS = ("segmentations", "segmentation", "masks", "labels")
"""Folders inside a case's folder that belong to the layout and not to the case's name."""


def by_folder(files: Sequence[Path], root: Path) -> dict[str, dict[str, Path]]:
    """Files by the folder of their case, and there by name.

    Args:
        files: Masks below ``root``.
        root: Where the cases' folders lie.

    Returns:
        Folder relative to ``root``, without a last ``segmentations``, to name without ending, to file. Files of ``root`` itself
        are left out, and images beside a ``segmentations`` folder too.
    """
    inside = {path.parent.parent for path in files if path.parent.name.lower() in MASK_FOLDERS and path.parent != root}
    folders: dict[str, dict[str, Path]] = {}
    for path in files:
        folder = path.parent
        if folder in inside or folder == root:
            continue
        case = folder.parent if folder.name.lower() in MASK_FOLDERS else folder
        if case != root:
            folders.setdefault(case.relative_to(root).as_posix(), {})[without_ending(path.name)] = path
    return folders


def structure_folders(files: Sequence[Path], root: Path) -> dict[str, dict[str, Path]]:
    """Cases of which each structure has a file of its own, if that is what a folder holds.

    Args:
        files: All masks below ``root``.
        root: The folder.

    Returns:
        As ``by_folder``; empty where files are whole cases: names that only number scans or raters, that folders do not share,
        masks of several labels, or masks on different grids.
    """
    folders = by_folder(files, root)
    if max(map(len, folders.values()), default=0) < 2 or any(path.parent == root for path in files):
        return {}
    counts = Counter(name for names in folders.values() for name in names)
    in_mask_folders = all(path.parent.name.lower() in MASK_FOLDERS for names in folders.values() for path in names.values())
    shared = sum(count > 1 for count in counts.values()) / len(counts)
    if len({re.sub(r"\d+", "#", name) for name in counts}) == 1 or (shared < LEAST_SHARED and not in_mask_folders):
        return {}
    looked_into = sorted(folders.values(), key=len, reverse=True)[:N_LOOKED_INTO]
    return folders if _one_structure_each([list(names.values()) for names in looked_into]) else {}


def common_name(name: str) -> str:
    """A structure's name as it is compared: case, spaces, dashes and underscores do not matter.

    Args:
        name: As somebody wrote it.

    Returns:
        For example ``kidney_left`` for ``Kidney left``.
    """
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def _one_structure_each(folders: Sequence[Sequence[Path]]) -> bool:
    """Whether files have one label each, with few exceptions, and those of a folder one grid.

    The exceptions, like files that cannot be read, fail their cases when they are measured.
    """
    n_read = n_single = 0
    for files in folders:
        grids = set()
        for path in files:
            try:
                mask = read_labels(path)
            except Exception:  # noqa: S112 - a damaged file tells nothing of the layout
                continue
            grids.add((mask.grid.shape, tuple(np.round(mask.grid.affine, 3).ravel())))
            n_read += 1
            n_single += len(set(labels_present(mask.array)) - {0}) <= 1
        if len(grids) > 1:
            return False
    return n_single > MOST_EXCEPTIONS * n_read


def files_of(folders: Mapping[str, Mapping[str, Path]], name: str) -> Mapping[str, Path]:
    """The files of a case, by its name or by the last part of it that only one folder has.

    Args:
        folders: From ``by_folder``.
        name: Of the case.

    Returns:
        Structure to file; empty if no folder, or more than one, bears the name.
    """
    if name in folders:
        return folders[name]
    last = name.rsplit("/", 1)[-1]
    fitting = [folder for folder in folders if folder.rsplit("/", 1)[-1] == last]
    return folders[fitting[0]] if len(fitting) == 1 else {}
