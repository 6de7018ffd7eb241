"""Folders below a folder: links are followed, loops end, and what cannot be listed is kept, for the caller to tell."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["SYSTEM_FOLDERS", "Entries", "FolderWalk"]

SYSTEM_FOLDERS = ("lost+found", "__MACOSX")
"""Folders that systems put there."""
MOST_LINKS_TO_A_FOLDER = 50
"""Folders that all link to each other would be walked for ever."""


@dataclass
class Entries:
    """What lies directly in a folder, each in order of the names; hidden is what begins with a dot.

    Attributes:
        folder: Which.
        files: Whatever is no folder: also pipes, and links to nothing.
        folders: Where the walk goes on; the caller takes out those that it does not want.
        hidden_files: Not in ``files``.
        hidden_folders: Not in ``folders``; the walk does not enter them.
    """

    folder: Path
    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    hidden_files: list[Path] = field(default_factory=list)
    hidden_folders: list[Path] = field(default_factory=list)


class FolderWalk:
    """A folder and all below it, those nearer to the top first.

    Attributes:
        unlistable: Folders that cannot be listed, with what the system says; complete once the walk is.
        n_repeats: Folders that were not entered again, since a link leads back to them, or has led to them.
    """

    def __init__(self, top: Path, *, once: bool = False, pass_over: Collection[str] = ()) -> None:
        """Set up.

        Args:
            top: Where to begin.
            once: Walk what several links lead to once, not once by each of its names; loops end in any case.
            pass_over: Names of folders that are not entered and not listed.
        """
        self.top, self.once, self.pass_over = top, once, pass_over
        self.unlistable: dict[Path, OSError] = {}
        self.n_repeats = 0

    def __iter__(self) -> Iterator[Entries]:
        """Each folder that can be listed."""
        real_top = os.path.realpath(self.top)
        visits = Counter([real_top])
        waiting: list[tuple[Path, tuple[str, ...]]] = [(self.top, (real_top,))]
        for here, chain in waiting:
            try:
                entries = self._entries(here)
            except OSError as error:
                self.unlistable[here] = error
                continue
            yield entries
            for folder in entries.folders:
                real = os.path.realpath(folder)
                if self._is_repeat(folder, real, chain, visits):
                    self.n_repeats += 1
                    continue
                visits[real] += 1
                waiting.append((folder, (*chain, real)))

    def _entries(self, here: Path) -> Entries:
        entries = Entries(here)
        with os.scandir(here) as found:
            names = sorted(entry.name for entry in found)
        for name in names:
            path, is_hidden = here / name, name.startswith(".")
            if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a link leads to what may not be seen
                (entries.hidden_files if is_hidden else entries.files).append(path)
            elif name not in self.pass_over:
                (entries.hidden_folders if is_hidden else entries.folders).append(path)
        return entries

    def _is_repeat(self, folder: Path, real: str, chain: tuple[str, ...], visits: Counter[str]) -> bool:
        is_link = folder.is_symlink()
        if self.once:
            return real in visits or (is_link and _is_within(real, chain[0]))
        return real in chain or (is_link and visits[real] >= MOST_LINKS_TO_A_FOLDER)


def _is_within(place: str, top: str) -> bool:
    return place == top or place.startswith(top.rstrip(os.sep) + os.sep)
