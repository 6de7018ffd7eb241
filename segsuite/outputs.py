"""What a command will write, known before it begins: nothing of it is an input, and nothing lies outside its folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from segsuite.errors import OutputError
from segsuite.files import real_path

__all__ = ["require_outputs_apart"]


def require_outputs_apart(outputs: Mapping[Path, str], inputs: Iterable[Path], *, inside: Path | None = None) -> None:
    """Check that nothing that is read will be written over; links are followed on both sides.

    Args:
        outputs: What will be written, and for whom (a case, a table), for the message.
        inputs: Files and folders that are read; nothing is written into such a folder.
        inside: The folder that all outputs must lie in; ``None``: anywhere.

    Raises:
        OutputError: An output is an input, lies inside an input folder or outside its own, or two outputs are one file.
    """
    resolve = cache(real_path)
    read = {_resolved(path, resolve): path for path in inputs}
    folders = {place: path for place, path in read.items() if os.path.isdir(path)}  # noqa: PTH112 - raises nothing
    known_files = {identity: path for path in read.values() if (identity := _identity(path)) is not None}
    root = None if inside is None else Path(os.path.realpath(inside))
    taken: dict[str, str] = {}
    for output, owner in outputs.items():
        place = _resolved(output, resolve)
        over = read.get(place) or known_files.get(_identity(output) or (-1, -1))
        if over is not None:
            raise OutputError(f"The output {output} ({owner}) must not be an input, but {over} is read. Choose another --out.")
        within = next((folders[str(parent)] for parent in Path(place).parents if str(parent) in folders), None)
        if within is not None:
            raise OutputError(
                f"The output {output} ({owner}) must not lie in a folder that is read as one image, but {within} is. "
                "Choose another --out."
            )
        if root is not None and not Path(place).is_relative_to(root):
            raise OutputError(
                f"The output {output} ({owner}) must lie in {inside}, but it would be written to {place}. "
                "Give the case another name, or take away the link."
            )
        if place in taken:
            raise OutputError(
                f"Each output must be a file of its own, got {output} twice: for {taken[place]} and for {owner}. "
                "Give the cases different names."
            )
        taken[place] = owner


def _resolved(path: Path, resolve: object) -> str:
    """The real path; folders are looked up once, so that 100,000 files in one folder cost little."""
    folder = resolve(path.parent)  # type: ignore[operator]
    place = os.path.join(folder, path.name)  # noqa: PTH118 - strings: there are many
    return real_path(place) if path.name in ("", "..") or os.path.islink(place) else place  # noqa: PTH114


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and number of an existing file: one for all its hard links and spellings."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # what is wrong with a case's file is told when it is read
        return None
    return found.st_dev, found.st_ino
