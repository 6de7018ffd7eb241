"""Which names say archive, and what stays of a name without that."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["ARCHIVE_ENDINGS", "archive_ending", "archive_name", "is_archive"]

ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def is_archive(path: Path) -> bool:
    """Whether a name says archive.

    Args:
        path: Any path.

    Returns:
        True for ``.zip``, ``.tar``, ``.tar.gz`` and their kin.
    """
    return path.name.lower().endswith(ARCHIVE_ENDINGS) and not os.path.isdir(path)  # noqa: PTH112 - raises nothing


def archive_name(path: Path) -> str:
    """The name without the ending, ``.tar.gz`` counted as one."""
    return path.name[: len(path.name) - len(archive_ending(path.name))]


def archive_ending(name: str) -> str:
    """The ending that tells an archive, in small letters, ``.tar.gz`` counted as one; empty if there is none.

    Args:
        name: Of a file.
    """
    return next((ending for ending in sorted(ARCHIVE_ENDINGS, key=len, reverse=True) if name.lower().endswith(ending)), "")
