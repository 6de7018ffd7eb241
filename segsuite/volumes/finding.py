"""Which images a folder holds, at any depth, by content where names do not tell; and what else is there, to be said."""

from __future__ import annotations

import fnmatch
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segsuite.errors import VolumeError
from segsuite.failures import Step, reason_of
from segsuite.volumes.dicom_series import FolderOfSeries, Series, look_into, series_by_place, why_spread
from segsuite.volumes.folders import FolderWalk
from segsuite.volumes.formats.endings import header_of_pair, is_image

__all__ = ["Found", "Search", "SeriesChoice", "find_images", "left_out_text"]


@dataclass(frozen=True)
class Found:
    """One image.

    Attributes:
        path: As ``read_volume`` takes it: a file, a folder with one series, or a file of a series.
        relative: Its name below the folder that was searched; empty for a series that is that folder.
        is_series: Whether it is DICOM.
        problem: Why it cannot be read, where that is known already.
    """

    path: Path
    relative: str
    is_series: bool = False
    problem: str = ""


@dataclass
class Search:
    """What was found.

    Attributes:
        images: In the order of their names.
        left_out: What else is there, by kind (``file ending in .doc``).
        archives: Files whose names say that they are archives.
    """

    images: list[Found] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    archives: list[Found] = field(default_factory=list)


@dataclass(frozen=True)
class SeriesChoice:
    """Which DICOM series are taken; with neither, all but survey pictures.

    Attributes:
        uid: SeriesInstanceUID.
        description: Pattern of SeriesDescription, ``*t2*``; capitals do not matter.
    """

    uid: str | None = None
    description: str | None = None

    @property
    def is_made(self) -> bool:
        """Whether anything was chosen."""
        return self.uid is not None or self.description is not None

    def takes(self, series: Series) -> bool:
        """Whether a series is taken.

        Args:
            series: Any.

        Returns:
            True if it fits.
        """
        if not self.is_made:
            return not series.localiser
        fits = self.uid is None or series.uid == self.uid
        return fits and (self.description is None or fnmatch.fnmatch(series.description.lower(), self.description.lower()))


def left_out_text(left_out: Counter[str]) -> str:
    """What was left out, for people.

    Args:
        left_out: Kind to number.

    Returns:
        ``left out: 12 files ending in .doc, 1 folder that cannot be listed``; empty if nothing was.
    """
    parts = [f"{count} {kind if count == 1 else _plural(kind)}" for kind, count in sorted(left_out.items()) if count]
    return f"left out: {', '.join(parts)}" if parts else ""


def _plural(kind: str) -> str:
    return re.sub(r"\b(file|folder|link|archive|mask|image)\b", r"\1s", kind, count=1)


def find_images(
    folder: Path,
    *,
    choice: SeriesChoice = SeriesChoice(),
    leave_out: Callable[[Path], str] = lambda _: "",
    archive_endings: Sequence[str] = (),
) -> Search:
    """Look through a folder and all below it. Links to folders are followed, each folder is looked through once.

    Args:
        folder: Where to look.
        choice: Which DICOM series.
        leave_out: Says of a file or folder what it is, if it is to be left out: ``mask of an earlier run``.
        archive_endings: Endings of files to list as archives.

    Returns:
        Images, and what else is there.

    Raises:
        VolumeError: The folder itself cannot be listed.
    """
    search = Search()
    series: list[Series] = []
    walk = FolderWalk(folder, once=True)
    for here in walk:
        content = _looked_into(here.folder, folder, search)
        search.left_out += content.left_out
        series += content.series
        n_hidden = sum(str(path) not in content.files for path in here.hidden_files)
        search.left_out += Counter({"hidden file": n_hidden, "hidden folder": len(here.hidden_folders)})
        for path in here.files:
            if str(path) not in content.files:
                _put(path, folder, search, leave_out, archive_endings)
        said = {path: leave_out(path) for path in here.folders}
        search.left_out.update(f"folder ({what})" for what in said.values() if what)
        here.folders = [path for path, what in said.items() if not what]
    search.left_out += _unseen(walk)
    search.images += _series_found(series, folder, choice, search.left_out)
    search.images.sort(key=lambda image: image.relative)
    return search


def _looked_into(here: Path, folder: Path, search: Search) -> FolderOfSeries:
    """The series of a folder; what its files make a reader raise is a problem of an image that bears the folder's name."""
    try:
        try:
            return look_into(here)
        except FileNotFoundError:  # a file that went away meanwhile
            return look_into(here)
    except Exception as error:
        name = here.relative_to(folder).as_posix() if here != folder else ""
        search.images.append(Found(here, name, is_series=True, problem=reason_of(error, Step.LOOKING)))
        return FolderOfSeries()


def _put(path: Path, folder: Path, search: Search, leave_out: Callable[[Path], str], archive_endings: Sequence[str]) -> None:
    relative = path.relative_to(folder).as_posix()
    if what := leave_out(path):
        search.left_out[what] += 1
    elif header_of_pair(path) is not None:
        return  # the voxels of a pair; its header is the image
    elif is_image(path):
        search.images.append(Found(path, relative))
    elif path.name.lower().endswith(tuple(archive_endings)):
        search.archives.append(Found(path, relative))
    elif not os.access(path, os.R_OK):  # what it is, nobody can tell: a slice without ending, perhaps
        search.left_out["file that cannot be read"] += 1
    else:
        search.left_out[f"file ending in {path.suffix}" if path.suffix else "file without ending"] += 1


def _unseen(walk: FolderWalk) -> Counter[str]:
    if error := walk.unlistable.get(walk.top):
        reason = (error.strerror or str(error)).lower()
        raise VolumeError(f"{walk.top} must be a folder that can be listed, got: {reason}. Change its permissions.") from error
    kinds = {"folder that cannot be listed": len(walk.unlistable), "link to a folder that is searched anyway": walk.n_repeats}
    return Counter(kinds)


def _series_found(parts: Sequence[Series], folder: Path, choice: SeriesChoice, left_out: Counter[str]) -> list[Found]:
    """A name and a path for each series that is taken."""
    found = []
    for here, several in series_by_place(parts).items():
        base = here.relative_to(folder).as_posix() if here != folder else ""
        scans = [one for one in several if not one.localiser]
        labels = Counter[str]()
        for one in several:
            labels[one.label] += 1
            label = one.label if labels[one.label] == 1 else f"{one.label}_{labels[one.label]}"
            if not choice.takes(one):
                left_out["localiser series" if not choice.is_made else "series not chosen"] += 1
            elif one in scans and len(scans) == 1:
                found.append(Found(here, base, is_series=True))
            else:
                found.append(Found(one.files[0], f"{base}/{label}".strip("/"), is_series=True, problem=why_spread(one, here)))
    return found
