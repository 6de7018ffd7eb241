"""Which masks lie below a folder: links are followed, loops end, and what cannot be looked into is named, never passed over."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from segsuite.volumes.archive_names import is_archive
from segsuite.volumes.folders import SYSTEM_FOLDERS, FolderWalk
from segsuite.volumes.formats.endings import is_image
from segsuite.volumes.writing import is_side_volume

__all__ = ["MaskFiles", "list_masks", "why_absent"]


@dataclass(frozen=True)
class MaskFiles:
    """What lies below a folder.

    Attributes:
        masks: Files by their paths; a link to a file that is not there is one too.
        side_volumes: Probabilities and maps that belong to one of the masks.
        unseen: Folders that cannot be listed and links to nothing that may have been folders, with the reason.
    """

    masks: list[Path]
    side_volumes: list[Path] = field(default_factory=list)
    unseen: dict[Path, str] = field(default_factory=dict)


def list_masks(folder: Path) -> MaskFiles:
    """Find the masks below a folder, in order of their paths; hidden files and folders are passed over.

    Archives are masks, one each, where there is no mask that is not packed.

    Args:
        folder: Where to look, at any depth.

    Returns:
        Masks, what belongs to them, and what could not be looked into.
    """
    found: list[Path] = []
    packed: list[Path] = []
    unseen: dict[Path, str] = {}
    walk = FolderWalk(folder, pass_over=SYSTEM_FOLDERS)
    for here in walk:
        for path in here.files:
            if is_image(path):
                found.append(path)
            elif is_archive(path):
                packed.append(path)
            elif path.is_symlink() and not path.exists() and not path.suffix:
                unseen[path] = f"the link points to {path.readlink()}, where nothing is"
    for path, error in walk.unlistable.items():
        unseen[path] = f"the folder cannot be listed ({error.strerror or error})"
    found = sorted(found or packed)
    side = {path for path in found if is_side_volume(path)}
    return MaskFiles([path for path in found if path not in side], sorted(side), dict(sorted(unseen.items())))


def why_absent(path: Path) -> str:
    """What is wrong with a path at which nothing can be read, as a sentence; empty if there is a file.

    Args:
        path: Of a mask.

    Returns:
        For example that a link points to nothing.
    """
    if path.is_symlink() and not path.exists():
        return f"{path} is a link to {path.readlink()}, where nothing is. Fetch its content or correct the link."
    if not path.exists():
        return f"{path} must be a mask, but nothing is there. Check the path and --data-root."
    if path.is_dir():
        return "" if os.access(path, os.R_OK | os.X_OK) else f"The folder {path} cannot be listed. Change its permissions."
    return "" if path.is_file() else f"{path} must be a file, got a device, a pipe or a socket."
